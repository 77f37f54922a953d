"""What can be wrong with an IKE message beyond being malformed, and with a peer's certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.wire import WireError

if TYPE_CHECKING:
    from control.ikev2.message import Header


class CertificateError(Exception):
    """A chain that does not prove the peer's identity.

    Attributes:
        reason: slug, such as ``untrusted-certificate`` or ``expired-certificate``.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class UnsupportedCriticalPayload(WireError):
    """A payload of unknown type whose sender forbids to skip it (RFC 7296 section 2.5).

    Attributes:
        payload_type: its type, which is the data of an UNSUPPORTED_CRITICAL_PAYLOAD notification.
    """

    def __init__(self, payload_type: int) -> None:
        super().__init__("unsupported-critical-payload", f"type {payload_type}")
        self.payload_type = payload_type


class UnsupportedMajorVersion(WireError):
    """A message of another major version of IKE (RFC 7296 section 2.5).

    A higher version than ours may be answered with INVALID_MAJOR_VERSION, a lower one is dropped.

    Attributes:
        major_version: the version found.
        header: the header read as if it were ours, so that an answer can repeat its SPIs and message identifier.
    """

    def __init__(self, major_version: int, header: Header) -> None:
        super().__init__("bad-version", f"major version {major_version}")
        self.major_version = major_version
        self.header = header
