"""Revocation lists from files, at the start and when they have changed."""

from __future__ import annotations

import datetime
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from control.config.ike_settings import IkeSettings
from control.config.problems import ConfigurationError
from control.config.revocation import load_revocation, read_revocation_lists
from control.daemon.revocation_files import RevocationFiles
from control.ikev2.errors import CertificateError
from control.ikev2.revocation import IssuedCertificate, RevocationPolicy

START = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
NOW = START.timestamp() + 3600
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])


@pytest.fixture(scope="module")
def key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def authority(key):
    end = START + datetime.timedelta(days=9)
    return x509.CertificateBuilder(NAME, NAME, key.public_key(), 1, START, end).sign(key, hashes.SHA256())


@pytest.fixture
def encoded(key):
    def make(*serial_numbers, encoding=Encoding.PEM, extension=None):
        builder = x509.CertificateRevocationListBuilder(NAME, START, START + datetime.timedelta(days=1))
        for number in serial_numbers:
            entry = x509.RevokedCertificateBuilder(number, START).build()
            builder = builder.add_revoked_certificate(entry)
        if extension is not None:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(key, hashes.SHA256()).public_bytes(encoding)

    return make


def is_revoked(lists, authority, serial_number):
    try:
        lists.check([IssuedCertificate(lists.know(authority), serial_number)], NOW)
    except CertificateError as error:
        return error.reason == "revoked-certificate"
    return False


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("policy", ["soft", "hard"])
def test_lists_come_as_pem_or_der(tmp_path, encoded, authority, encoding, policy):
    file = tmp_path / "ca.crl"
    file.write_bytes(encoded(7, encoding=encoding))
    lists = load_revocation(IkeSettings(crls=(file,), crl_policy=policy))
    assert lists.policy is RevocationPolicy(policy)
    assert is_revoked(lists, authority, 7)
    assert not is_revoked(lists, authority, 8)


def test_off_reads_nothing(tmp_path):
    assert load_revocation(IkeSettings(crls=(tmp_path / "missing.crl",), crl_policy="off")) is None
    assert load_revocation(IkeSettings()) is None


def test_every_file_that_will_not_do_is_named(tmp_path, encoded):
    files = [tmp_path / name for name in ("good.crl", "missing.crl", "text.crl", "pem.crl", "delta.crl")]
    files[0].write_bytes(encoded())
    files[2].write_bytes(b"no list")
    files[3].write_text("-----BEGIN CERTIFICATE-----\n")
    files[4].write_bytes(encoded(extension=x509.DeltaCRLIndicator(1)))
    with pytest.raises(ConfigurationError) as caught:
        read_revocation_lists(files)
    problems = caught.value.problems
    assert [problem.file for problem in problems] == files[1:]
    assert ["no such file" in problems[0].wrong, "holds no" in problems[1].wrong, "holds no" in problems[2].wrong] == (
        [True] * 3
    )
    assert "2.5.29.27" in problems[3].wrong


def test_changed_files_are_read_again(tmp_path, encoded, authority):
    file = tmp_path / "ca.crl"
    file.write_bytes(encoded(7))
    lists = load_revocation(IkeSettings(crls=(file,)))
    files = RevocationFiles(lists, (file,))
    assert not files.refresh()
    renewed = tmp_path / "renewed"
    renewed.write_bytes(encoded(8))
    renewed.replace(file)
    assert files.refresh()
    assert is_revoked(lists, authority, 8)
    assert not is_revoked(lists, authority, 7)
    assert not files.refresh()


def test_what_cannot_be_read_changes_nothing_and_is_said_once(tmp_path, encoded, authority, caplog):
    file = tmp_path / "ca.crl"
    file.write_bytes(encoded(7))
    lists = load_revocation(IkeSettings(crls=(file,)))
    files = RevocationFiles(lists, (file,))
    file.write_bytes(b"half a file")
    os.utime(file, ns=(1, 1))
    assert not files.refresh()
    assert not files.refresh()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert str(file) in caplog.text
    file.unlink()
    assert not files.refresh()
    assert is_revoked(lists, authority, 7)
    file.write_bytes(encoded(9))
    assert files.refresh()
    assert is_revoked(lists, authority, 9)
