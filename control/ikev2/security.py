"""Putting the keys of an IKE SA to use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.ikev2.cipher import make_cipher
from control.ikev2.key_log import DECRYPTABLE, log_row
from control.ikev2.keys import IkeKeys

if TYPE_CHECKING:
    from control.ikev2.handshake import Handshake
    from control.ikev2.proposals import IkeSuite
    from control.ikev2.sa import IkeSa


def use_shared_secret(sa: IkeSa, handshake: Handshake, suite: IkeSuite, secret: bytes) -> None:
    """Derive the keys of ``sa``, whose SPIs and nonces are known, and protect its messages from now on."""
    handshake.key_pair = None
    keys = handshake.keys = IkeKeys.derive(
        suite, secret, handshake.initiator_nonce, handshake.responder_nonce, sa.initiator_spi + sa.responder_spi
    )
    use_keys(sa, suite, keys)


def use_keys(sa: IkeSa, suite: IkeSuite, keys: IkeKeys) -> None:
    """Protect the messages of ``sa`` with these keys from now on."""
    environment = sa.environment
    sa.suite = suite
    sa.sk_d = keys.sk_d
    send, receive = (keys.sk_ei, keys.sk_ai), (keys.sk_er, keys.sk_ar)
    if not sa.is_initiator:
        send, receive = receive, send
    sa.cipher = make_cipher(suite.cipher, send, receive, environment.random, environment.kept_states)
    if environment.configuration.key_log is not None and suite.cipher.encryption in DECRYPTABLE:
        environment.configuration.key_log(*log_row(sa.initiator_spi, sa.responder_spi, suite, keys))
