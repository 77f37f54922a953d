"""Whether the kernel can protect signalling, found out by trying."""

from __future__ import annotations

import errno
import secrets
import socket
from ipaddress import IPv6Address

from datapath.xfrm.channel import Request, XfrmChannel
from datapath.xfrm.errors import XfrmLost, XfrmUnavailable
from datapath.xfrm.numbers import MessageType
from datapath.xfrm.selectors import Selector
from datapath.xfrm.states import Algorithm, State, state_key

SO_RCVMARK = 75
"""Socket option of Linux 5.19: received packets come with their mark."""

_FROM, _TO = IPv6Address("100::1"), IPv6Address("100::2")  # the discard prefix, RFC 6666
_NO_ESP = "this kernel lacks ESP for IPv6 or the AES-GCM for it (CONFIG_INET6_ESP, CONFIG_CRYPTO_GCM)"
_REASONS = {
    errno.EPERM: "configuring IPsec is not permitted: run as root, or with CAP_NET_ADMIN",
    errno.EPROTONOSUPPORT: _NO_ESP,
    errno.ENOSYS: _NO_ESP,  # algorithms are looked for before the protocol
}


def kernel_ipsec_available() -> str | None:
    """None if the kernel can; else why not, in a sentence without a full stop.

    Adds a security association nobody uses in this network namespace, and removes it.
    """
    try:
        _try_association()
        _try_marks()
    except (XfrmUnavailable, XfrmLost) as error:
        return str(error)
    return None


def _try_association() -> None:
    spi = 0x100 + secrets.randbelow(2**31)
    throwaway = State(
        source=_FROM,
        destination=_TO,
        spi=spi,
        reqid=0,
        selector=Selector(_FROM, _TO),
        replay_window=64,
        aead=Algorithm("rfc4106(gcm(aes))", secrets.token_bytes(20), 128),
    )
    with XfrmChannel() as channel:
        (refused,) = channel.execute([Request(MessageType.NEWSA, throwaway.to_wire(), "add a security association")])
        if refused is not None:
            raise XfrmUnavailable(_REASONS.get(refused.errno, f"this kernel refuses to {refused}"))
        channel.execute([Request(MessageType.DELSA, state_key(_TO, spi), "remove a security association")])


def _try_marks() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, SO_RCVMARK, 1)
        except OSError as error:
            raise XfrmUnavailable(
                "this kernel does not show the marks of received packets: it is older than 5.19"
            ) from error
