"""The agent follows its links: where it is attached, and where it was a moment ago."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address

from control.ikev2.address import Datagram
from control.mobile_daemon.attachment import Attachment
from control.mobile_daemon.iproute import NetworkError
from control.mobile_daemon.link_watch import LinkWatch, care_of_candidates
from control.mobile_daemon.network import TABLES
from control.mobile_node.care_of_selection import Candidate, CareOfSelector
from control.sockets.ike_udp import IkeSocket
from control.sockets.packet import CareOfPacketSocket

Reader = Callable[[Attachment], None]

_RETRY_S = 1.0
"""An attachment that could not be made is tried again after this long, if nothing happens before."""


class Roaming:
    """Holds the attachment in use, and the one before until the home agent knows of the new one.

    Attributes:
        current: None while there is no link.
        dropped: packets and datagrams that could not be sent.
    """

    def __init__(self, interfaces: tuple[str, ...], address: IPv6Address | None) -> None:
        """Watch the links.

        Args:
            interfaces: to the visited networks, the preferred one first.
            address: the only care-of address to use; None for any.

        Raises:
            OSError: the kernel refuses.
        """
        self.current: Attachment | None = None
        self.dropped = 0
        self._interfaces = interfaces
        self._address = address
        self._selector = CareOfSelector(interfaces)
        self._previous: Attachment | None = None
        self._retry_at: float | None = None
        self._events: tuple[selectors.BaseSelector, Reader, Reader] | None = None
        self._watch = LinkWatch()

    def start(self, now: float) -> Candidate:
        """Attach for the first time.

        Raises:
            NetworkError, OSError: there is no care-of address, or it cannot be used.
        """
        self._selector.observe(care_of_candidates(self._interfaces, self._address), now)
        # No patience with what was there before: nothing tells that a default route is still to come.
        link = self._selector.choose(now) or self._selector.choose(self._selector.next_timer(now) or now)
        if link is None:
            names = " or ".join(self._interfaces)
            wanted = "global IPv6 address" if self._address is None else f"address {self._address}"
            raise NetworkError(
                f"Interface {names} has no {wanted}, or is down: bring it up and give it one, or correct "
                "care_of_interface and care_of_address."
            )
        self.current = Attachment(link, TABLES[0])
        return link

    def register(
        self, selector: selectors.BaseSelector, changed: Callable[[], None], ike: Reader, packets: Reader
    ) -> None:
        """Have what arrives read by the event loop, now and after every movement."""
        self._events = (selector, ike, packets)
        selector.register(self._watch, selectors.EVENT_READ, lambda: self._read_watch(changed))
        if self.current is not None:
            self._listen(self.current)

    def update(self, now: float) -> bool:
        """See what has become of the links. Returns whether the node is somewhere else now, or nowhere."""
        self._retry_at = None
        self._selector.observe(care_of_candidates(self._interfaces, self._address), now)
        return self._follow(now)

    def handle_timer(self, now: float) -> bool:
        """The same, when the time for a decision has come; False before."""
        at = self.next_timer(now)
        return self.update(now) if at is not None and now >= at else self._follow(now)

    def next_timer(self, now: float) -> float | None:
        """When :meth:`handle_timer` wants to be called (monotonic seconds), None for never."""
        times = (self._retry_at, self._selector.next_timer(now))
        return min((at for at in times if at is not None), default=None)

    def settled(self) -> None:
        """The home agent knows where the node is: nothing comes to the address before any more."""
        if self._previous is not None:
            self._leave(self._previous)
            self._previous = None

    def send_ike(self, datagrams: list[Datagram]) -> None:
        """Send IKE messages, each from its own address if the node still has that."""
        for datagram in datagrams:
            for attachment in (self.current, self._previous):
                if attachment is not None and attachment.link.address == datagram.local.address:
                    attachment.ike.send((datagram,))
                    break
            else:
                self.dropped += 1

    def send(self, packet: bytes) -> None:
        """Send a whole packet from the care-of address."""
        if self.current is not None:
            self.current.sender.send(packet)
        else:
            self.dropped += 1

    def close(self) -> None:
        """Leave all links as they were."""
        self.settled()
        if self.current is not None:
            self._leave(self.current)
            self.current = None
        self._watch.close()

    def _read_watch(self, changed: Callable[[], None]) -> None:
        self._watch.drain()
        changed()

    def _follow(self, now: float) -> bool:
        link = self._selector.choose(now)
        current = self.current
        if current is not None and link is not None and link.key == current.link.key:
            with suppress(NetworkError):
                # The link may go while we look; then there is another notification.
                current.refresh_routes()
            return False
        if link is None:
            if current is not None:
                self._leave(current)
                self.current = None
            return current is not None
        return self._attach(link, now)

    def _attach(self, link: Candidate, now: float) -> bool:
        self.settled()
        table = next(each for each in TABLES if self.current is None or each != self.current.table)
        try:
            attachment = Attachment(link, table)
        except (NetworkError, OSError):
            self._retry_at = now + _RETRY_S
            return False
        self._previous, self.current = self.current, attachment
        self._listen(attachment)
        return True

    def _listen(self, attachment: Attachment) -> None:
        if self._events is not None:
            selector, ike, packets = self._events
            for sock in attachment.ike.sockets:
                selector.register(sock, selectors.EVENT_READ, lambda: ike(attachment))
            selector.register(attachment.packets, selectors.EVENT_READ, lambda: packets(attachment))

    def _leave(self, attachment: Attachment) -> None:
        if self._events is not None:
            parts: list[IkeSocket | CareOfPacketSocket] = [*attachment.ike.sockets, attachment.packets]
            for part in parts:
                with suppress(KeyError, ValueError):
                    self._events[0].unregister(part)
        attachment.close()
