"""Revocation lists: what they revoke, what their absence means, and which of them do not count."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from control.ikev2.certificates import CertificateValidator
from control.ikev2.errors import CertificateError
from control.ikev2.events import IkeEstablished, IkeFailed
from control.ikev2.payloads import Identity
from control.ikev2.revocation import RevocationLists, RevocationPolicy, UnusableRevocationList

WALL_CLOCK = datetime.datetime(2030, 6, 1, tzinfo=datetime.UTC).timestamp()
NODE = "mn1@example.org"
DAY = 86400.0
SHA256_WITH_RSA = bytes.fromhex("2a864886f70d01010b")
SHA1_WITH_RSA = bytes.fromhex("2a864886f70d010105")
SOFT, HARD = RevocationPolicy.SOFT, RevocationPolicy.HARD


def instant(offset):
    return datetime.datetime.fromtimestamp(WALL_CLOCK + offset, datetime.UTC)


def revocation_list(authority, *revoked, starts=-DAY, ends=DAY, extensions=(), key=None):
    """A list of ``authority``; ``key`` signs it in place of the authority's."""
    builder = x509.CertificateRevocationListBuilder(
        authority.certificate.subject, last_update=instant(starts), next_update=instant(ends)
    )
    for certificate in revoked:
        entry = x509.RevokedCertificateBuilder(certificate.serial_number, instant(-DAY)).build()
        builder = builder.add_revoked_certificate(entry)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    key = key or authority.key
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


class Trial:
    """The chain root, intermediate, leaf, checked with some lists."""

    def __init__(self, pki, kind="p256"):
        self.root = pki.authority("root of trial", kind=kind)
        self.middle = pki.authority("middle of trial", self.root, kind=kind)
        self.credentials = pki.credentials(NODE, issuer=self.middle, intermediates=(self.middle.certificate,))
        self.leaf = self.credentials.certificates[0]
        self.now = WALL_CLOCK

    def validator(self, policy, *lists):
        self.lists = RevocationLists(policy, lists)
        return CertificateValidator([self.root.certificate], lambda: self.now, revocation=self.lists)

    def outcome(self, validator):
        """The reason of the refusal, None if the chain is good."""
        chain = [certificate.public_bytes(Encoding.DER) for certificate in self.credentials.certificates]
        try:
            validator.validate(chain, Identity.from_text(NODE))
        except CertificateError as error:
            return error.reason
        return None

    def check(self, policy, *lists):
        return self.outcome(self.validator(policy, *lists))


@pytest.fixture
def trial(pki):
    return Trial(pki)


@pytest.mark.parametrize("policy", [SOFT, HARD])
def test_the_unrevoked_pass_and_the_revoked_do_not(trial, policy):
    roots = revocation_list(trial.root)
    assert trial.check(policy, roots, revocation_list(trial.middle, trial.root.certificate)) is None
    assert trial.check(policy, roots, revocation_list(trial.middle, trial.leaf)) == "revoked-certificate"


@pytest.mark.parametrize("policy", [SOFT, HARD])
def test_a_revoked_intermediate_takes_all_below_with_it(trial, policy):
    lists = (revocation_list(trial.root, trial.middle.certificate), revocation_list(trial.middle))
    assert trial.check(policy, *lists) == "revoked-certificate"


@pytest.mark.parametrize("kind", ["rsa", "p384", "ed25519"])
def test_lists_are_signed_with_every_kind_of_key(pki, kind):
    trial = Trial(pki, kind)
    roots = revocation_list(trial.root)
    assert trial.check(HARD, roots, revocation_list(trial.middle)) is None
    assert trial.check(HARD, roots, revocation_list(trial.middle, trial.leaf)) == "revoked-certificate"


def test_without_a_list_only_the_hard_policy_refuses(trial):
    assert trial.check(SOFT) is None
    assert trial.check(HARD) == "no-revocation-list"
    assert trial.check(HARD, revocation_list(trial.middle)) == "no-revocation-list"
    assert trial.check(HARD, revocation_list(trial.root)) == "no-revocation-list"


@pytest.mark.parametrize("dates", [{"starts": -2 * DAY, "ends": -1.0}, {"starts": 1.0}])
def test_a_list_that_is_not_current_still_revokes(trial, dates):
    roots = revocation_list(trial.root)
    assert trial.check(SOFT, roots, revocation_list(trial.middle, **dates)) is None
    assert trial.check(HARD, roots, revocation_list(trial.middle, **dates)) == "expired-revocation-list"
    for policy in (SOFT, HARD):
        assert trial.check(policy, roots, revocation_list(trial.middle, trial.leaf, **dates)) == "revoked-certificate"


def test_a_list_may_expire_after_the_chain_was_first_checked(trial):
    validator = trial.validator(HARD, revocation_list(trial.root), revocation_list(trial.middle, ends=600.0))
    assert trial.outcome(validator) is None
    trial.now += 600.0
    assert trial.outcome(validator) is None
    trial.now += 1.0
    assert trial.outcome(validator) == "expired-revocation-list"
    assert len(validator) == 1


def test_lists_are_replaced_also_for_chains_checked_before(trial):
    validator = trial.validator(SOFT)
    assert trial.outcome(validator) is None
    trial.lists.replace([revocation_list(trial.middle, trial.leaf)])
    assert trial.outcome(validator) == "revoked-certificate"
    trial.lists.replace([])
    assert trial.outcome(validator) is None


def test_of_several_lists_the_latest_counts(trial):
    older = revocation_list(trial.middle, trial.leaf, starts=-2 * DAY)
    newer = revocation_list(trial.middle, starts=-DAY)
    for lists in ((older, newer), (newer, older)):
        assert trial.check(SOFT, *lists) is None


def test_a_list_signed_by_another_does_not_count(trial, pki):
    forged = revocation_list(trial.middle, trial.leaf, starts=-60.0, key=pki.key("p256", "somebody"))
    other_kind = revocation_list(trial.middle, trial.leaf, key=pki.key("ed25519", "somebody"))
    assert trial.check(SOFT, forged, other_kind) is None
    genuine = revocation_list(trial.middle, trial.leaf)
    # A later forged one does not hide it.
    assert trial.check(SOFT, forged, genuine) == "revoked-certificate"


def test_an_authority_that_may_not_sign_lists_signs_none(pki):
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    trial = Trial(pki)
    extensions = [(x509.BasicConstraints(True, None), True), (usage, True)]
    trial.middle.certificate = pki._sign("no lists", trial.middle.key.public_key(), trial.root, extensions)
    trial.credentials = pki.credentials(NODE, issuer=trial.middle, intermediates=(trial.middle.certificate,))
    trial.leaf = trial.credentials.certificates[0]
    lists = revocation_list(trial.root), revocation_list(trial.middle, trial.leaf)
    assert trial.check(SOFT, *lists) is None
    assert trial.check(HARD, *lists) == "no-revocation-list"


def test_lists_that_say_less_than_they_seem_to_are_not_taken(trial):
    point = x509.IssuingDistributionPoint(None, None, False, True, None, False, False)
    partial = revocation_list(trial.middle, extensions=[(point, True)])
    delta = revocation_list(trial.middle, extensions=[(x509.DeltaCRLIndicator(1), True)])
    for unusable in (partial, delta):
        with pytest.raises(UnusableRevocationList, match="critical"):
            RevocationLists(SOFT, [unusable])
    numbered = revocation_list(trial.middle, trial.leaf, extensions=[(x509.CRLNumber(7), False)])
    assert trial.check(SOFT, numbered) == "revoked-certificate"


def test_a_list_signed_with_a_broken_hash_is_not_taken(pki):
    signed = revocation_list(Trial(pki, "rsa").middle).public_bytes(Encoding.DER)
    assert signed.count(SHA256_WITH_RSA) == 2
    broken = x509.load_der_x509_crl(signed.replace(SHA256_WITH_RSA, SHA1_WITH_RSA))
    with pytest.raises(UnusableRevocationList, match="sha1"):
        RevocationLists(SOFT, [broken])


def test_an_unusable_list_leaves_the_old_ones(trial):
    validator = trial.validator(SOFT, revocation_list(trial.middle, trial.leaf))
    with pytest.raises(UnusableRevocationList):
        trial.lists.replace([revocation_list(trial.middle, extensions=[(x509.DeltaCRLIndicator(1), True)])])
    assert trial.outcome(validator) == "revoked-certificate"


@pytest.mark.parametrize("revoked", [True, False])
def test_a_revoked_node_is_not_served(pair, pki, revoked):
    for peer in (pair.agent, pair.node):
        peer.policy.key = None
        credentials = pki.credentials(str(peer.identity))
        peer.configure(credentials=credentials, trust_anchors=(pki.root.certificate,))
    leaf = pair.node.configuration.credentials.certificates[0]
    lists = RevocationLists(HARD, [revocation_list(pki.root, *((leaf,) if revoked else ()))])
    pair.agent.configure(revocation=lists)
    pair.connect(pair.node)
    pair.network.run()
    assert bool(pair.agent.events(IkeEstablished)) is not revoked
    assert [event.reason for event in pair.agent.events(IkeFailed)] == ["authentication-failed"] * revoked
    assert pair.agent.endpoint.statistics["authentication-revoked-certificate"] == revoked
