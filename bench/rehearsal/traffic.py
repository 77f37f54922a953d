"""Packets of a node that the failure does not concern: they pass a survivor all the time, and none may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Network

from bench.lab.addresses import HOME_PREFIX, home_address, own_home_prefix
from bench.lab.credentials import Credentials, Subscriber
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.probing import Delivery, NumberedPackets
from bench.lab.scene import Scene
from bench.rehearsal.options import FailoverOptions

_REGISTRATION_TIMEOUT_S = 60.0


def traffic_subscriber(options: FailoverOptions, credentials: Credentials, number: int) -> Subscriber:
    """The node whose packets they are, with this number, in the home prefix of ha2."""
    prefix = own_home_prefix(2) if options.new_home_address else HOME_PREFIX
    return credentials.subscriber(number, home_address(number, prefix))


class Traffic:
    """A real mobile node at ha2, on a link without losses, and numbered packets between it and the correspondent."""

    def __init__(
        self, laboratory: Laboratory, scene: Scene, credentials: Credentials, subscriber: Subscriber, rate_per_s: float
    ) -> None:
        """Not started yet.

        Args:
            laboratory: what the node belongs to.
            scene: whose ha2 it registers at.
            credentials: how it proves who it is.
            subscriber: the node.
            rate_per_s: packets a second, so many in each direction.
        """
        self.node = MobileNodeAgent(laboratory, scene.core, credentials, subscriber, scene.surviving)
        self._laboratory = laboratory
        self._scene = scene
        self._rate_per_s = rate_per_s
        self._packets: NumberedPackets | None = None
        # Until ha1 fails, the rest of the home prefix is its.
        scene.core.route(IPv6Network(subscriber.home_address), scene.surviving.host)

    def begin(self) -> None:
        """Register the node, and let packets flow.

        Raises:
            LabError: it could not be registered.
        """
        self.node.start()
        self.node.events.wait_for("registered", _REGISTRATION_TIMEOUT_S)
        scene = self._scene
        self._packets = NumberedPackets(
            self._laboratory,
            scene.correspondent,
            self.node.host,
            self.node.subscriber.home_address,
            scene.surviving.host.address,
            self._rate_per_s,
        )

    def end(self) -> Mapping[str, Delivery]:
        """Stop, and say what became of the packets, by what ha2 did to them."""
        return {} if self._packets is None else self._packets.deliveries()
