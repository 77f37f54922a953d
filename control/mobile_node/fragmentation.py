"""IPv6 fragmentation (RFC 8200 section 4.5) for nodes without a kernel: certificates make IKE messages large."""

from __future__ import annotations

from dataclasses import dataclass, field

from control.mobility.extension_headers import IPV6_HEADER_SIZE, PROTOCOL_FRAGMENT

SMALLEST_MTU = 1280
_HEADER_SIZE = 8
_BLOCK = 8
_MORE = 1
_LARGEST_PAYLOAD = 0xFFFF
_DEFAULT_LIMIT = 1024
_DEFAULT_TIMEOUT_S = 60.0
_LARGEST_FRAGMENT_COUNT = 64


def fragment(packet: bytes, identification: int, mtu: int = SMALLEST_MTU) -> list[bytes]:
    """Packets of at most ``mtu`` bytes that carry a packet without extension headers; itself if it is small enough.

    Args:
        packet: a whole IPv6 packet.
        identification: 32 bits that no other packet between these addresses has at the same time.
        mtu: largest packet, at least 1280 bytes.
    """
    if len(packet) <= mtu:
        return [packet]
    payload = packet[IPV6_HEADER_SIZE:]
    size = (mtu - IPV6_HEADER_SIZE - _HEADER_SIZE) // _BLOCK * _BLOCK
    fragments = []
    for offset in range(0, len(payload), size):
        part = payload[offset : offset + size]
        more = _MORE if offset + size < len(payload) else 0
        header = bytes((packet[6], 0)) + (offset | more).to_bytes(2, "big") + identification.to_bytes(4, "big")
        length = (_HEADER_SIZE + len(part)).to_bytes(2, "big")
        fragments.append(packet[:4] + length + bytes((PROTOCOL_FRAGMENT,)) + packet[7:40] + header + part)
    return fragments


@dataclass(slots=True)
class _Incomplete:
    """Fragments of one packet so far.

    Attributes:
        give_up_at: monotonic seconds.
        first: IPv6 header of the fragment at offset 0 with the next header put in, None before it came.
        size: bytes of the whole payload, None before the last fragment came.
        parts: payload by offset.
    """

    give_up_at: float
    first: bytes | None = None
    size: int | None = None
    parts: dict[int, bytes] = field(default_factory=dict)

    def add(self, packet: bytes, offset: int, more: bool) -> bool:
        """Take a fragment. Returns whether it fits those that are there: overlaps are an attack (RFC 5722)."""
        part = packet[IPV6_HEADER_SIZE + _HEADER_SIZE :]
        end = offset + len(part)
        if self.parts.get(offset) == part:
            return True
        overlaps = any(offset < other + len(data) and other < end for other, data in self.parts.items())
        beyond = self.size is not None and end > self.size
        if not part or overlaps or beyond or (more and len(part) % _BLOCK) or end > _LARGEST_PAYLOAD:
            return False
        if not more:
            if self.size is not None or any(other + len(data) > end for other, data in self.parts.items()):
                return False
            self.size = end
        if offset == 0:
            self.first = packet[:6] + packet[IPV6_HEADER_SIZE : IPV6_HEADER_SIZE + 1] + packet[7:IPV6_HEADER_SIZE]
        self.parts[offset] = part
        return len(self.parts) <= _LARGEST_FRAGMENT_COUNT

    def whole(self) -> bytes | None:
        """The packet, None while something is missing."""
        if self.first is None or self.size is None or sum(map(len, self.parts.values())) != self.size:
            return None
        payload = b"".join(self.parts[offset] for offset in sorted(self.parts))
        return self.first[:4] + len(payload).to_bytes(2, "big") + self.first[6:] + payload


class Reassembler:
    """Puts fragments together, in bounded memory."""

    def __init__(self, limit: int = _DEFAULT_LIMIT, timeout_s: float = _DEFAULT_TIMEOUT_S) -> None:
        """Start empty.

        Args:
            limit: most incomplete packets kept; the oldest go first.
            timeout_s: how long a packet may stay incomplete.
        """
        self._limit = limit
        self._timeout_s = timeout_s
        self._incomplete: dict[bytes, _Incomplete] = {}

    def __len__(self) -> int:
        return len(self._incomplete)

    def add(self, packet: bytes, now: float) -> bytes | None:
        """Take a packet whose first extension header is a Fragment header.

        Returns:
            The whole packet without that header once it is complete, else None; also for what is malformed.
        """
        if len(packet) < IPV6_HEADER_SIZE + _HEADER_SIZE:
            return None
        packet = packet[: IPV6_HEADER_SIZE + int.from_bytes(packet[4:6], "big")]
        self._forget_old(now)
        key = packet[8:IPV6_HEADER_SIZE] + packet[IPV6_HEADER_SIZE + 4 : IPV6_HEADER_SIZE + 8]
        incomplete = self._incomplete.get(key)
        if incomplete is None:
            while len(self._incomplete) >= self._limit:
                del self._incomplete[next(iter(self._incomplete))]
            incomplete = self._incomplete[key] = _Incomplete(now + self._timeout_s)
        field_value = int.from_bytes(packet[IPV6_HEADER_SIZE + 2 : IPV6_HEADER_SIZE + 4], "big")
        if not incomplete.add(packet, field_value & ~(_BLOCK - 1), bool(field_value & _MORE)):
            del self._incomplete[key]
            return None
        whole = incomplete.whole()
        if whole is not None:
            del self._incomplete[key]
        return whole

    def _forget_old(self, now: float) -> None:
        while self._incomplete:
            key = next(iter(self._incomplete))
            if self._incomplete[key].give_up_at > now:
                return
            del self._incomplete[key]
