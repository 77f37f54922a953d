"""What the timeline is told of nodes that were refused, or that refused this home agent: who, where from and why.

Whoever can send a packet can be refused. So there is a bound on what is told; the counters have all of it.
"""

from __future__ import annotations

from ipaddress import IPv6Address

from control.home_agent.events import Happening, TimelineEvent
from control.home_agent.key_exchange import NodeIkeSa
from control.ikev2 import events as ike
from control.ikev2.rate_limit import TokenBucket
from control.ikev2.states import Role
from control.wire import address_text

REFUSALS_PER_S = 10.0
"""Told a second at most, and at once."""

_LONGEST_DETAIL = 300
# Half-open IKE SAs of strangers end so in every flood; of a node that this side has called the attempt tells.
_NOT_REFUSED = frozenset(("abandoned", "timeout"))
_ORDINARY_ENDS = frozenset(("abandoned", "deleted", "deleted-by-peer", "initial-contact", "redirected", "rekeyed"))

_REPETITION = "sequence-number-out-of-window"
"""An answer was lost, or a node has started again: it goes on with the number that it is told."""


class Refusals:
    """Entries of the timeline about refusals, so many a second at most.

    Attributes:
        happenings: the entries, for the engine to take.
    """

    def __init__(self, happenings: list[Happening]) -> None:
        self.happenings = happenings
        self._bucket = TokenBucket(REFUSALS_PER_S)
        self._untold = 0

    def ike_failed(self, sa: NodeIkeSa, event: ike.IkeFailed, node: str | None, now: float) -> None:
        """An IKE SA never came to be.

        Args:
            sa: the IKE SA.
            event: why.
            node: whom this side has called, None if the peer has begun.
            now: monotonic seconds.
        """
        if event.reason in _NOT_REFUSED:
            return
        claimed = {} if event.claimed is None else {"claimed": str(event.claimed)}
        self._tell(TimelineEvent.IKE_REFUSED, node, now, **_whence(sa), **claimed, **_why(event.reason, event.detail))

    def ike_closed(self, sa: NodeIkeSa, reason: str, now: float) -> None:
        """An IKE SA has ended."""
        if reason not in _ORDINARY_ENDS:
            self._tell(TimelineEvent.IKE_CLOSED, str(sa.remote_identity), now, **_whence(sa), reason=reason)

    def child_failed(self, sa: NodeIkeSa, event: ike.ChildFailed, now: float) -> None:
        """A child SA was not agreed."""
        node = str(sa.remote_identity)
        self._tell(TimelineEvent.CHILD_REFUSED, node, now, **_whence(sa), **_why(event.reason, event.detail))

    def binding_refused(
        self, node: str, home_address: IPv6Address, care_of_address: IPv6Address, reason: str, now: float
    ) -> None:
        """A Binding Update was refused, or passed over in silence."""
        if reason == _REPETITION:
            return
        addresses = {"home_address": address_text(home_address), "care_of_address": address_text(care_of_address)}
        self._tell(TimelineEvent.BINDING_REFUSED, node, now, **addresses, reason=reason)

    def _tell(self, event: TimelineEvent, node: str | None, now: float, **detail: object) -> None:
        if not self._bucket.take(now):
            self._untold += 1
            return
        if self._untold:
            detail["untold_before"] = self._untold
            self._untold = 0
        self.happenings.append(Happening(event, node, detail))


def _whence(sa: NodeIkeSa) -> dict[str, object]:
    return {"peer": str(sa.remote_address), "role": "initiator" if sa.role is Role.INITIATOR else "responder"}


def _why(reason: str, detail: str) -> dict[str, object]:
    return {"reason": reason, "detail": detail[:_LONGEST_DETAIL]} if detail else {"reason": reason}
