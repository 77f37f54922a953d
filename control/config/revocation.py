"""Certificate revocation lists from the files the configuration names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography import x509

from control.config.ike_settings import IkeSettings
from control.config.problems import ConfigurationError, Problem
from control.ikev2.revocation import RevocationLists, RevocationPolicy, UnusableRevocationList, check_usable

_PEM_BEGIN = b"-----BEGIN "


def load_revocation(ike: IkeSettings) -> RevocationLists | None:
    """The lists with the policy, None where revocation is not to be looked at.

    Raises:
        ConfigurationError: see :func:`read_revocation_lists`.
    """
    if ike.crl_policy == "off" or not ike.crls:
        return None
    return RevocationLists(RevocationPolicy(ike.crl_policy), read_revocation_lists(ike.crls))


def read_revocation_lists(files: Iterable[Path]) -> list[x509.CertificateRevocationList]:
    """The list in each file, PEM or DER.

    Raises:
        ConfigurationError: files that cannot be read, or that hold no list that can be used.
    """
    lists, problems = [], []
    for file in files:
        try:
            lists.append(_read(file))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            problems.append(Problem(file, None, "", reason, "Create it or name another one."))
        except UnusableRevocationList as error:
            wanted = "Use complete lists, one for each issuer, signed with SHA-256 or better."
            problems.append(Problem(file, None, "", f"a revocation list that cannot be used: {error}", wanted))
        except ValueError:
            wanted = "Write a certificate revocation list, as PEM or DER."
            problems.append(Problem(file, None, "", "holds no certificate revocation list", wanted))
    if problems:
        raise ConfigurationError(problems)
    return lists


def _read(file: Path) -> x509.CertificateRevocationList:
    data = file.read_bytes()
    is_pem = data.lstrip().startswith(_PEM_BEGIN)
    found = x509.load_pem_x509_crl(data) if is_pem else x509.load_der_x509_crl(data)
    check_usable(found)
    return found
