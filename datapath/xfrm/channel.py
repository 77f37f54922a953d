"""The one netlink socket to the kernel's IPsec.

The kernel carries requests out while they are being sent, so their answers are there when sending returns: nothing
here ever waits. Many requests go out in one call and are answered one by one, matched by their sequence numbers.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from datapath.xfrm.errors import XfrmLost, XfrmRefused, XfrmUnavailable
from datapath.xfrm.messages import message, messages
from datapath.xfrm.numbers import NETLINK_XFRM, MessageType, NetlinkFlag, NetlinkType
from datapath.xfrm.policies import PolicyReport, parse_policy
from datapath.xfrm.states import State, StateReport, parse_state, spi_request
from datapath.xfrm.structs import ERROR, NETLINK_HEADER

_BUFFER_BYTES = 8 * 1024 * 1024
_LARGEST_DATAGRAM = 1024 * 1024
_BATCH_BYTES = 64 * 1024
_SOL_NETLINK, _CAP_ACK = 270, 10
_DUMP_TRIES = 10


@dataclass(frozen=True, slots=True)
class Request:
    """One request: ``what`` names it in errors."""

    type: int
    body: bytes
    what: str


class XfrmChannel:
    """Talks to the kernel's IPsec of the network namespace it was opened in."""

    def __init__(self) -> None:
        """Open.

        Raises:
            XfrmUnavailable: this kernel has no XFRM over netlink.
        """
        self._sequence = 0
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, NETLINK_XFRM
            )
        except OSError as error:
            raise XfrmUnavailable(
                f"this kernel has no IPsec to configure over netlink ({error.strerror}): it lacks CONFIG_XFRM_USER"
            ) from error
        for option, forced in ((socket.SO_RCVBUF, 33), (socket.SO_SNDBUF, 32)):  # SO_RCVBUFFORCE, SO_SNDBUFFORCE
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, forced, _BUFFER_BYTES)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)

    def close(self) -> None:
        """Close. What the kernel holds stays."""
        self._socket.close()

    def __enter__(self) -> XfrmChannel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, requests: Sequence[Request]) -> list[XfrmRefused | None]:
        """Carry out requests in order, whatever becomes of those before; what the kernel said to each.

        Raises:
            XfrmLost: not every answer arrived; any of the requests may have been carried out or not.
        """
        answers: list[XfrmRefused | None] = []
        for batch in _batches(requests):
            answers += self._execute_batch(batch)
        return answers

    def allocate_spi(self, state: State, lowest: int, highest: int) -> int:
        """An SPI that no state to the destination of ``state`` has, kept free for some seconds (``xfrm_acq_expires``).

        What the kernel keeps it with becomes the state by ``XFRM_MSG_UPDSA``.

        Raises:
            XfrmRefused: all between ``lowest`` and ``highest``, both included, are taken.
            XfrmLost: the answer is missing.
        """
        self._sequence += 1
        body = spi_request(state, lowest, highest)
        self._send(message(MessageType.ALLOCSPI, NetlinkFlag.REQUEST, self._sequence, body))
        spi = None
        for kind, _, sequence, answer in self._receive():
            if sequence == self._sequence and kind == NetlinkType.ERROR:
                raise XfrmRefused(-ERROR.unpack_from(answer)[0], "find an SPI")
            if sequence == self._sequence and (found := parse_state(answer)) is not None:
                spi = found.spi
        if spi is None:
            raise XfrmLost("the kernel named no SPI")
        return spi

    def states(self) -> list[StateReport]:
        """All ESP states over IPv6.

        Raises:
            XfrmLost: others changed them all the while.
        """
        found = (parse_state(body) for body in self._dump(MessageType.GETSA))
        return [state for state in found if state is not None]

    def policies(self) -> list[PolicyReport]:
        """All policies; raises XfrmLost like :meth:`states`."""
        return [parse_policy(body) for body in self._dump(MessageType.GETPOLICY)]

    def _execute_batch(self, batch: Sequence[Request]) -> list[XfrmRefused | None]:
        first = self._sequence + 1
        self._sequence += len(batch)
        flags = NetlinkFlag.REQUEST | NetlinkFlag.ACK
        self._send(b"".join(message(r.type, flags, first + index, r.body) for index, r in enumerate(batch)))
        errors: dict[int, int] = {}
        for kind, _, sequence, body in self._receive():
            if kind == NetlinkType.ERROR and first <= sequence < first + len(batch):
                errors[sequence - first] = -ERROR.unpack_from(body)[0]
        if len(errors) != len(batch):
            raise XfrmLost(f"the kernel answered {len(errors)} of {len(batch)} requests")
        return [
            XfrmRefused(errors[index], request.what) if errors[index] else None for index, request in enumerate(batch)
        ]

    def _dump(self, kind: MessageType) -> list[bytes]:
        for _ in range(_DUMP_TRIES):
            found = self._dump_once(kind)
            if found is not None:
                return found
        raise XfrmLost("states and policies change too fast to be read")

    def _dump_once(self, kind: MessageType) -> list[bytes] | None:
        """One attempt; None if something changed meanwhile, so that entries may be missing."""
        self._sequence += 1
        self._send(message(kind, NetlinkFlag.REQUEST | NetlinkFlag.DUMP, self._sequence, b""))
        found: list[bytes] = []
        interrupted = False
        for answer, flags, sequence, body in self._receive():
            if sequence != self._sequence:
                continue
            interrupted |= bool(flags & NetlinkFlag.DUMP_INTR)
            if answer == NetlinkType.DONE:
                return None if interrupted else found
            if answer == NetlinkType.ERROR:
                raise XfrmRefused(-ERROR.unpack_from(body)[0], "read what the kernel holds")
            found.append(body)
        raise XfrmLost("the kernel did not end its list")

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendto(data, (0, 0))
        except OSError as error:
            raise XfrmLost(f"requests cannot be sent ({error.strerror})") from error

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Type, flags, sequence number and body of every message that is there."""
        while True:
            try:
                data = self._socket.recv(_LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    continue  # what is missing is missed by the caller, who counts
                raise XfrmLost(f"answers cannot be read ({os.strerror(error.errno or 0)})") from error
            yield from messages(data)


def _batches(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Requests in parts that fit into one send."""
    batch: list[Request] = []
    size = 0
    for request in requests:
        if batch and size + len(request.body) + NETLINK_HEADER.size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += len(request.body) + NETLINK_HEADER.size + 4
    if batch:
        yield batch
