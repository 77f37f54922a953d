"""How much one direction of a security association may carry (RFC 4301 section 4.4.2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from control.ipsec.errors import IpsecBackendError


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """Soft limits, at which an association is to be replaced, and hard ones, at which it carries nothing any more.

    Attributes:
        soft_packets: packets protected or opened.
        hard_packets: the same.
        soft_bytes: bytes in them; whether of ESP or of the upper layer is the back end's matter.
        hard_bytes: the same.
    """

    soft_packets: int
    hard_packets: int
    soft_bytes: int
    hard_bytes: int

    def __post_init__(self) -> None:
        """Refuse limits that leave no room to replace an association.

        Raises:
            IpsecBackendError: ``bad-limits``: a soft limit is not below the hard one, or not above 0.
        """
        for what, soft, hard in (
            ("packets", self.soft_packets, self.hard_packets),
            ("bytes", self.soft_bytes, self.hard_bytes),
        ):
            if not 0 < soft < hard:
                raise IpsecBackendError("bad-limits", f"{soft} {what} are not between 0 and the hard limit of {hard}")

    def soft_reached(self, packets: int, byte_count: int) -> bool:
        """Whether an association that has carried so much is to be replaced."""
        return packets >= self.soft_packets or byte_count >= self.soft_bytes

    def hard_reached(self, packets: int, byte_count: int) -> bool:
        """Whether it must not carry more."""
        return packets >= self.hard_packets or byte_count >= self.hard_bytes


DEFAULT_USAGE_LIMITS = UsageLimits(2**31, 2**32 - 1, 2**40, 2**41)
"""Sequence numbers of 32 bits end at 2^32 - 1 (RFC 4303 section 3.3.3). 2^41 bytes are 2^37 blocks of AES, of which
two are alike under CBC with a chance of 2^-55; under GCM counters never repeat before the sequence numbers do."""


@dataclass(frozen=True, slots=True)
class UsageExpiry:
    """An association has reached a limit.

    Attributes:
        inbound_spi: of the pair it belongs to.
        hard: it carries nothing any more; else it is to be replaced.
    """

    inbound_spi: int
    hard: bool
