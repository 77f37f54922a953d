"""A netlink socket that hears what the kernel tells of its own accord."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from datapath.xfrm.errors import XfrmMalformed, XfrmUnavailable
from datapath.xfrm.events import Event, parse_event
from datapath.xfrm.messages import messages
from datapath.xfrm.numbers import NETLINK_XFRM, Group

_LARGEST_DATAGRAM = 64 * 1024
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_AT_ONCE = 256


class XfrmEvents:
    """Hears of the IPsec of the network namespace it was opened in, from its opening on.

    Attributes:
        lost: something is missing, mostly for want of buffer; the caller sets it back.
    """

    def __init__(self) -> None:
        """Open.

        Raises:
            XfrmUnavailable: this kernel has no XFRM over netlink, or this user may not listen.
        """
        self.lost = False
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, NETLINK_XFRM
            )
        except OSError as error:
            raise XfrmUnavailable(f"this kernel has no IPsec to listen to ({error.strerror})") from error
        try:
            self._socket.bind((0, 0))
            for group in Group:
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except OSError as error:
            self._socket.close()
            raise XfrmUnavailable(f"listening to the kernel's IPsec is not permitted ({error.strerror})") from error

    def close(self) -> None:
        """Close."""
        self._socket.close()

    def fileno(self) -> int:
        """For waiting."""
        return self._socket.fileno()

    def receive(self) -> list[Event]:
        """What has been told; of much, a part."""
        events: list[Event] = []
        for _ in range(_AT_ONCE):
            try:
                data, (port, _) = self._socket.recvfrom(_LARGEST_DATAGRAM)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS
                self.lost = True
                continue
            if port == 0:  # the kernel itself
                events += self._parse(data)
        return events

    def _parse(self, data: bytes) -> Iterator[Event]:
        try:
            for kind, _, _, body in messages(data):
                event = parse_event(kind, body)
                if event is not None:
                    yield event
        except XfrmMalformed:
            self.lost = True
