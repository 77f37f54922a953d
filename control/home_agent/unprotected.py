"""Mobility Header messages that change nothing: without ESP, or of a type nobody knows (RFC 6275 section 9.2)."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address

from control.mobility.binding_error import BindingErrorResponder
from control.mobility.extension_headers import build_ipv6
from control.mobility.header import build_mobility_message, parse_mobility_message
from control.mobility.messages import UnknownMobilityMessage
from control.mobility.numbers import MOBILITY_HEADER_PROTOCOL
from control.wire import WireError


class UnprotectedSignalling:
    """Answers unknown message types with a Binding Error and drops everything else.

    Attributes:
        statistics: messages by what became of them.
    """

    def __init__(self, home_agent: IPv6Address, responder: BindingErrorResponder) -> None:
        self.statistics: Counter[str] = Counter()
        self._home_agent = home_agent
        self._responder = responder
        self._packets: list[bytes] = []

    def receive(self, payload: bytes, source: IPv6Address, care_of_address: IPv6Address | None, now: float) -> None:
        """A Mobility Header that came in the clear.

        Args:
            payload: from the Mobility Header on.
            source: the address its checksum is over: the home address where a Home Address option named one.
            care_of_address: the IPv6 source on the wire where ``source`` came from an option, else None.
            now: monotonic seconds.
        """
        try:
            message = parse_mobility_message(payload, source, self._home_agent)
        except WireError as error:
            self.statistics[error.reason] += 1
            return
        if not isinstance(message, UnknownMobilityMessage):
            self.statistics["not-protected"] += 1
            return
        self.answer_unknown_type(source, care_of_address, now)

    def answer_unknown_type(self, source: IPv6Address, care_of_address: IPv6Address | None, now: float) -> None:
        """A Mobility Header of unknown type has come, under ESP or not; addresses as for :meth:`receive`."""
        self.statistics["unrecognized-type"] += 1
        on_the_wire = care_of_address or source
        home_address_option = source if care_of_address is not None else None
        answer = self._responder.unrecognized_type(on_the_wire, home_address_option, now)
        if answer is None:
            self.statistics["binding-error-suppressed"] += 1
            return
        self.statistics["binding-error-sent"] += 1
        header = build_mobility_message(answer, self._home_agent, on_the_wire)
        self._packets.append(build_ipv6(self._home_agent, on_the_wire, MOBILITY_HEADER_PROTOCOL, header))

    def packets_to_send(self) -> list[bytes]:
        """Whole IPv6 packets to send, drained."""
        packets, self._packets = self._packets, []
        return packets
