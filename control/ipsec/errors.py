"""What can go wrong with IPsec, typed: one family for packets, one for the handling of security associations."""

from __future__ import annotations


class EspError(Exception):
    """A packet that ESP processing refuses (RFC 4303 section 3.4, RFC 4301 section 5); the packet is to be dropped.

    Attributes:
        reason: a short stable slug, fit for a metric label: ``truncated``, ``unknown-spi``, ``replay``, ``too-old``,
            ``bad-length``, ``bad-icv``, ``bad-padding``, ``dummy-packet``, ``selector-mismatch``,
            ``sequence-exhausted``, ``usage-exceeded`` or ``no-security-association``.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class NoSecurityAssociation(EspError):
    """No outbound security association covers the packet: it must not leave in the clear."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("no-security-association", detail)


class IpsecBackendError(Exception):
    """A back end refuses to install a security association.

    Attributes:
        reason: a short stable slug: ``spi-in-use``, ``tunnel-mode``, ``bad-suite``, ``bad-key``, ``bad-spi`` or
            ``bad-limits``.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
