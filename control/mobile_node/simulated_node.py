"""One node of a simulation, with the times of what happened to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address

from control.mobile_node.events import (
    BindingUpdateSent,
    FirstTunnelledPacket,
    HomeAgentSwitched,
    IkeEstablished,
    IkeStarted,
    NodeEvent,
    Registered,
    RegistrationFailed,
)
from control.mobile_node.node import MobileNode

_TIMES = (
    "ike_started",
    "ike_established",
    "home_agent_switch",
    "binding_update_sent",
    "registered",
    "first_tunnelled_packet",
    "last_tunnelled_packet_before_switch",
)


@dataclass(slots=True)
class SimulatedNode:
    """A node and its history; times are seconds since the epoch.

    Attributes:
        node: the engine.
        times: of the latest bootstrap, by the names of the report.
        first_registered: when it was registered for the first time.
        last_tunnelled_packet: when the latest packet came through the tunnel.
        switches: Home Agent Switch messages obeyed.
        failures: attempts to register that came to nothing.
        awaits_acknowledgement: whether a Binding Update is under way.
        vanished: whether it was taken off the network.
        timer: when its engine wants to be woken (monotonic seconds), as noted in the simulation's heap.
    """

    node: MobileNode
    times: dict[str, float] = field(default_factory=dict)
    first_registered: float | None = None
    last_tunnelled_packet: float | None = None
    switches: int = 0
    failures: int = 0
    awaits_acknowledgement: bool = False
    vanished: bool = False
    timer: float | None = None

    @property
    def care_of_address(self) -> IPv6Address:
        """Where it is."""
        return self.node.care_of_address

    @property
    def state(self) -> str:
        """``registered``, ``registering`` or ``idle``."""
        if self.node.registered:
            return "registered"
        return "registering" if self.node.next_timer() is not None else "idle"

    def note(self, event: NodeEvent, time: float) -> None:
        """Keep the time of an event (seconds since the epoch)."""
        match event:
            case IkeStarted():
                self.times = {"ike_started": time}
            case IkeEstablished(initiated_here=initiated_here, handshake_s=handshake_s):
                if not initiated_here:
                    self.times = {"ike_started": time - handshake_s}
                self.times["ike_established"] = time
            case HomeAgentSwitched():
                self.switches += 1
                self.times["home_agent_switch"] = time
                if self.last_tunnelled_packet is not None:
                    self.times["last_tunnelled_packet_before_switch"] = self.last_tunnelled_packet
            case BindingUpdateSent():
                self.awaits_acknowledgement = True
                self.times.setdefault("binding_update_sent", time)
            case Registered(refresh=refresh):
                self.awaits_acknowledgement = False
                if not refresh:
                    self.times["registered"] = time
                if self.first_registered is None:
                    self.first_registered = time
            case FirstTunnelledPacket():
                self.times["first_tunnelled_packet"] = time
            case RegistrationFailed():
                self.awaits_acknowledgement = False
                self.failures += 1

    def report(self) -> dict[str, object]:
        """The node's row of the report."""
        home_agent = self.node.home_agent
        return {
            "identity": self.node.identity,
            "home_address": str(self.node.home_address),
            "care_of_address": str(self.care_of_address),
            "state": self.state,
            "home_agent": str(home_agent) if home_agent is not None else None,
            "times": {name: self.times.get(name) for name in _TIMES},
            "first_registered": self.first_registered,
            "switches": self.switches,
            "failures": self.failures,
        }
