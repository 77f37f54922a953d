"""What can go wrong between us and the kernel's IPsec."""

from __future__ import annotations

import os

from datapath.errors import DatapathError


class XfrmUnavailable(DatapathError):
    """This kernel, or this user, cannot do IPsec; the message is a sentence for the operator."""

    reason = "xfrm-unavailable"


class XfrmRefused(DatapathError):
    """The kernel refused a request.

    Attributes:
        errno: the system's error number.
    """

    reason = "xfrm-refused"

    def __init__(self, errno: int, what: str) -> None:
        super().__init__(f"{what}: {os.strerror(errno)}")
        self.errno = errno


class XfrmLost(DatapathError):
    """Answers were lost for want of buffer: what the kernel holds has to be read again."""

    reason = "xfrm-lost"


class XfrmMalformed(DatapathError):
    """The kernel sent what this code does not understand."""

    reason = "xfrm-malformed"
