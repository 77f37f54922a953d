"""Certificates of nodes that others serve: written once, read in pages, checked before they are needed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.lab.pki import CertificateAuthority, generate_key
from control.daemon.certificate_watch import PAGE, CertificateWatch
from control.ikev2.certificates import CertificateValidator
from control.ikev2.payloads.identification import Identity


def chain_of(authority, identity):
    return (authority.certify(identity, generate_key()).public_bytes(Encoding.DER),)


AUTHORITY, STRANGER = CertificateAuthority("Authority"), CertificateAuthority("Stranger")
CHAINS = {identity: chain_of(AUTHORITY, identity) for identity in ("mn1@example.org", "mn2@example.org")}
BAD = {
    "mn3@example.org": chain_of(STRANGER, "mn3@example.org"),
    "mn4@example.org": (b"no certificate",),
    "mn5@example.org": CHAINS["mn1@example.org"],
    "": CHAINS["mn1@example.org"],
}


@pytest.fixture
def validator():
    return CertificateValidator([AUTHORITY.certificate], time.time)


def show(validator, identity):
    return validator.validate(CHAINS[identity], Identity.from_text(identity))


def check_all(watch):
    for _ in range(50):
        watch.check_some()


def test_what_a_node_shows_is_written_once(validator):
    watch = CertificateWatch(validator)
    show(validator, "mn1@example.org")
    show(validator, "mn1@example.org")
    assert watch.to_write() == watch.to_write() == {"mn1@example.org": CHAINS["mn1@example.org"]}
    watch.written(watch.to_write())
    assert watch.to_write() == {}
    show(validator, "mn1@example.org")
    assert watch.to_write() == {}


def test_what_others_have_written_is_known_when_the_node_comes_and_is_not_written_again(validator, monkeypatch):
    watch = CertificateWatch(validator)
    assert watch.next_page(["ha2"], 0.0) == ("ha2", "")
    watch.read([*CHAINS.items(), ("mn9@example.org", ())])
    check_all(watch)
    assert len(validator) == len(CHAINS)
    assert watch.to_write() == {}
    monkeypatch.setattr(validator, "_check", None)
    for identity in CHAINS:
        show(validator, identity)


def test_what_is_wrong_is_neither_remembered_nor_fatal(validator):
    watch = CertificateWatch(validator)
    watch.next_page(["ha2"], 0.0)
    watch.read([*BAD.items(), *CHAINS.items()])
    check_all(watch)
    assert len(validator) == len(CHAINS)
    assert watch.to_write() == {}


def test_what_a_node_has_shown_meanwhile_stays_to_be_written(validator):
    watch = CertificateWatch(validator)
    show(validator, "mn1@example.org")
    watch.next_page(["ha2"], 0.0)
    older = chain_of(AUTHORITY, "mn1@example.org")
    watch.read([("mn1@example.org", older)])
    check_all(watch)
    assert watch.to_write() == {"mn1@example.org": CHAINS["mn1@example.org"]}


@dataclass
class NothingToCheck:
    """In the place of a validator."""

    cache_size: int = 1 << 20
    asked: list[str] = field(default_factory=list)

    def validate(self, chain, identity):
        self.asked.append(str(identity))


@settings(max_examples=20)
@given(st.dictionaries(st.sampled_from(["ha2", "ha3", "ha4"]), st.integers(0, 3 * PAGE)), st.integers(1, 2000))
def test_rounds_see_every_node_of_every_other_agent_but_no_more_than_fit(nodes, cache_size):
    validator = NothingToCheck(cache_size)
    watch = CertificateWatch(validator)
    known = {owner: [f"{owner}-{n:04}.example.org" for n in range(number)] for owner, number in nodes.items()}
    while (wanted := watch.next_page(list(known), 0.0)) is not None:
        owner, after = wanted
        watch.read([(each, (b"x",)) for each in known[owner] if each > after][:PAGE])
        while watch._page:
            watch.check_some()
    everybody = [each for of_one in known.values() for each in of_one]
    assert len(set(validator.asked)) == len(validator.asked)
    assert len(validator.asked) <= 0.75 * cache_size + PAGE
    if len(everybody) < 0.75 * cache_size:
        assert sorted(validator.asked) == sorted(everybody)
    assert watch.next_page(list(known), 9.0) is None
    assert (watch.next_page(list(known), 10.0) is None) is (not known)
