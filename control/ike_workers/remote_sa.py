"""An IKE SA that a worker has, as the daemon sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from control.ike_workers import messages as m
from control.ikev2.address import IpAddress, SocketAddress
from control.ikev2.child import ChildRequest, ChildSa
from control.ikev2.events import ChildClosed, IkeClosed, IkeFailed
from control.ikev2.lifetimes import Lifetime
from control.ikev2.nat import NatDetection
from control.ikev2.payloads.identification import Identity
from control.ikev2.states import Role, State

if TYPE_CHECKING:
    from control.ike_workers.remote_endpoint import RemoteEndpoint

_HEARD_EVERY_S = 1.0
"""A sign of life is passed on this often at most: what it is for takes minutes."""


@dataclass(slots=True)
class RemoteLifetimes:
    """When an IKE SA and its children are rekeyed, as of the last description."""

    ike: Lifetime | None = None
    children: dict[int, Lifetime] = field(default_factory=dict)


class RemoteIkeSa:
    """A :class:`control.home_agent.key_exchange.NodeIkeSa`.

    What the daemon decides holds here at once and goes to the worker as a command; the worker's word of it comes later
    and is passed over.

    Attributes:
        worker: which worker has it.
        number: what the two call it.
    """

    def __init__(
        self,
        endpoint: RemoteEndpoint,
        worker: int,
        number: int,
        local: SocketAddress,
        remote: SocketAddress,
        local_identity: Identity,
    ) -> None:
        """One that this side is about to begin; :meth:`show` makes it any other."""
        self.worker = worker
        self.number = number
        self.context: object = None
        self.role = Role.INITIATOR
        self.state = State.INIT_SENT
        self.initiator_spi = b""
        self.responder_spi = b""
        self.local = local
        self.remote = remote
        self.local_identity = local_identity
        self.remote_identity: Identity | None = None
        self.nat: NatDetection | None = None
        self.mobike: bool | None = None
        self.suite: str | None = None
        self.established_at: float | None = None
        self.last_heard_at: float | None = None
        self.lifetimes = RemoteLifetimes()
        self.superseded: dict[int, int] = {}
        self.children: dict[int, ChildSa] = {}
        self._endpoint = endpoint
        self._heard_passed_on_at = float("-inf")

    def __repr__(self) -> str:
        return f"<RemoteIkeSa {self.worker}/{self.number} {self.role.value} {self.state.value} {self.remote}>"

    @property
    def remote_address(self) -> IpAddress:
        """The peer's address."""
        return self.remote.address

    @property
    def is_established(self) -> bool:
        """Whether both sides are authenticated and neither has ended it, as far as is known here."""
        return self.state is State.ESTABLISHED

    # What the daemon asks for

    def create_child(self, request: ChildRequest, now: float) -> None:
        """Ask for a further child SA; ChildEstablished or ChildFailed follows, or the end of the IKE SA."""
        self._command(m.CreateChild(self.number, request))

    def delete_child(self, child: ChildSa, now: float) -> None:
        """Close a child SA; ChildClosed follows at once."""
        if self.drop_child(child.inbound_spi, "deleted"):
            self._command(m.DeleteChild(self.number, child.inbound_spi))

    def replace_child(self, child: ChildSa, now: float) -> None:
        """Rekey a child SA before its time; ChildEstablished with ``replaces`` follows."""
        self._command(m.ReplaceChild(self.number, child.inbound_spi))

    def heard(self, now: float) -> None:
        """Note a sign of life: an authentic packet on a child SA."""
        self.last_heard_at = now
        if now - self._heard_passed_on_at >= _HEARD_EVERY_S:
            self._heard_passed_on_at = now
            self._command(m.Heard(self.number, now))

    def heard_from(self, local: SocketAddress, remote: SocketAddress, now: float) -> None:
        """Note where an authentic and new packet on a child SA, in UDP, came to and from."""
        if (local, remote) != (self.local, self.remote):
            self._command(m.HeardFrom(self.number, m.pack_end(local), m.pack_end(remote)))

    def move(self, now: float, *, remote: SocketAddress) -> bool:
        """Send requests to another address from now on. Returns whether that is new."""
        if remote == self.remote:
            return False
        self.remote = remote
        self._command(m.Move(self.number, m.pack_end(remote)))
        return True

    def delete(self, now: float) -> None:
        """Close the IKE SA and its children; ChildClosed follows at once, IkeClosed when the peer knows."""
        if not self.is_established:
            self.abandon(now)
            return
        self.state = State.CLOSING
        self.drop_children()
        self._command(m.Delete(self.number))

    def abandon(self, now: float) -> None:
        """Forget the IKE SA and its children at once, without a word to the peer."""
        if self.state is not State.CLOSED:
            self._command(m.Abandon(self.number))
            self.end("abandoned")

    # What the worker tells, by way of the endpoint

    def show(self, view: m.View) -> None:
        """It is like this now."""
        self.role, self.state = Role(view.role), State(view.state)
        self.initiator_spi, self.responder_spi = view.initiator_spi, view.responder_spi
        self.local, self.remote = m.unpack_end(view.local), m.unpack_end(view.remote)
        self.local_identity, self.remote_identity = view.local_identity, view.remote_identity
        self.nat, self.mobike, self.suite = view.nat, view.mobike or None, view.suite
        self.established_at = view.established_at
        heard = [at for at in (view.last_heard_at, self.last_heard_at) if at is not None]
        self.last_heard_at = max(heard, default=None)

    def describe(self, description: m.Description) -> None:
        """It is like this, in detail."""
        if self.is_established:
            self.show(description.view)
        self.lifetimes = RemoteLifetimes(description.lifetime, description.child_lifetimes)
        self.superseded = description.superseded

    def reroute(self, encapsulation: m.PackedEncapsulation | None) -> None:
        """The packets of its children go another way."""
        flow = m.unpack_encapsulation(encapsulation)
        if flow is not None:
            self.children = {spi: replace(child, encapsulation=flow) for spi, child in self.children.items()}

    def drop_child(self, inbound_spi: int, reason: str) -> bool:
        """A child SA is over; returns whether there was one."""
        child = self.children.pop(inbound_spi, None)
        if child is None:
            return False
        self._endpoint.emit(self, ChildClosed(child, reason))
        return True

    def end(self, reason: str, detail: str = "") -> None:
        """It is over, or came to nothing."""
        was_established = self.established_at is not None
        self.drop_children()
        self.state = State.CLOSED
        self._endpoint.forget(self)
        self._endpoint.emit(self, IkeClosed(reason) if was_established else IkeFailed(reason, detail))

    def drop_children(self) -> None:
        """All child SAs are over."""
        for spi in list(self.children):
            self.drop_child(spi, "ike-closed")

    def _command(self, command: m.Command) -> None:
        self._endpoint.command(self.worker, command)
