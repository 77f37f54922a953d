"""Name constraints of certification authorities (RFC 5280 section 4.2.1.10).

An authority's constraints hold for every certificate below it. Of each kind of name that they permit something of, a
certificate may only have names that are permitted; names that they exclude it may not have at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network

from cryptography import x509
from cryptography.x509.oid import NameOID

from control.ikev2.certificate_extensions import Extensions, authority
from control.ikev2.errors import CertificateError

_MOST_COMPARISONS = 20_000
"""Names times constraints of one chain: beyond that it is an attack on the processor."""


def check_name_constraints(path: Sequence[x509.Certificate]) -> None:
    """Check every certificate of a path against the constraints of those above it.

    Args:
        path: from the peer's certificate to the trust anchor, whose constraints hold as well.

    Raises:
        CertificateError: ``name-not-permitted``, or ``too-many-names`` to compare.
    """
    constraints_of = [None, *(authority(issuer).name_constraints for issuer in path[1:])]
    if not any(constraints_of):
        return  # most authorities have none, and the names take long to read
    comparisons = 0
    names: list[x509.GeneralName] = []
    for position, (certificate, constraints) in enumerate(zip(path, constraints_of, strict=True)):
        if constraints is not None:
            permitted = tuple(constraints.permitted_subtrees or ())
            excluded = tuple(constraints.excluded_subtrees or ())
            comparisons += len(names) * (len(permitted) + len(excluded))
            if comparisons > _MOST_COMPARISONS:
                raise CertificateError("too-many-names", f"more than {_MOST_COMPARISONS} comparisons")
            for name in names:
                _check(name, permitted, excluded)
        # An authority that has certified itself anew is not bound by the constraints above it.
        if position == 0 or certificate.subject != certificate.issuer:
            names += _names(certificate)


def _names(certificate: x509.Certificate) -> Iterator[x509.GeneralName]:
    """The subject, if there is one, and all alternative names; mailboxes in the subject where there are no others."""
    alternatives = list(Extensions(certificate).get(x509.SubjectAlternativeName) or ())
    yield from alternatives
    if certificate.subject.rdns:
        yield x509.DirectoryName(certificate.subject)
    if not any(isinstance(name, x509.RFC822Name) for name in alternatives):
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
            yield x509.RFC822Name(str(attribute.value))


def _check(name: x509.GeneralName, permitted: Sequence[x509.GeneralName], excluded: Sequence[x509.GeneralName]) -> None:
    if any(_lies_within(name, subtree) for subtree in excluded if type(subtree) is type(name)):
        raise CertificateError("name-not-permitted", f"{_text(name)} is excluded")
    same_kind = [subtree for subtree in permitted if type(subtree) is type(name)]
    if same_kind and not any(_lies_within(name, subtree) for subtree in same_kind):
        raise CertificateError("name-not-permitted", f"{_text(name)} is not among those permitted")


def _lies_within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    """Whether ``name`` lies within ``subtree``, a constraint of the same kind."""
    if isinstance(name, x509.DNSName) and isinstance(subtree, x509.DNSName):
        return _is_host_in(name.value, subtree.value)
    if isinstance(name, x509.RFC822Name) and isinstance(subtree, x509.RFC822Name):
        return _is_mailbox_in(name.value, subtree.value)
    if isinstance(name, x509.IPAddress) and isinstance(subtree, x509.IPAddress):
        network = subtree.value
        # A name that is itself a network is no name of a host.
        return isinstance(network, IPv4Network | IPv6Network) and (
            not isinstance(name.value, IPv4Network | IPv6Network) and name.value in network
        )
    if isinstance(name, x509.DirectoryName) and isinstance(subtree, x509.DirectoryName):
        ours, theirs = _folded(name.value), _folded(subtree.value)
        return ours[: len(theirs)] == theirs
    # Constraints on kinds of names that are not understood: nothing of that kind is known to be permitted, and what is
    # excluded must be assumed to be everything.
    raise CertificateError("name-not-permitted", f"constraints on names of the kind {type(name).__name__}")


def _is_host_in(host: str, domain: str) -> bool:
    """Whether a host name is a domain or lies below it; a domain with a leading dot does not count itself."""
    host, domain = host.lower(), domain.lower()
    if domain.startswith("."):
        return host.endswith(domain)
    return not domain or host == domain or host.endswith("." + domain)


def _is_mailbox_in(mailbox: str, constraint: str) -> bool:
    """Whether a mailbox is the one named, at the host named, or, with a leading dot, at a host of the domain."""
    local, _, host = mailbox.rpartition("@")
    wanted_local, at, wanted_host = constraint.rpartition("@")
    if at:
        return (local, host.lower()) == (wanted_local, wanted_host.lower())
    if wanted_host.startswith("."):
        return host.lower().endswith(wanted_host.lower())
    return not wanted_host or host.lower() == wanted_host.lower()


def _folded(name: x509.Name) -> list[frozenset[tuple[str, str]]]:
    """Relative distinguished names with case and runs of blanks folded (RFC 5280 section 7.1)."""
    return [
        frozenset((attribute.oid.dotted_string, " ".join(str(attribute.value).casefold().split())) for attribute in rdn)
        for rdn in name.rdns
    ]


def _text(name: x509.GeneralName) -> str:
    value = name.value
    return value.rfc4514_string() if isinstance(value, x509.Name) else str(value)
