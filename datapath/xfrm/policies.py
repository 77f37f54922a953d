"""What must be protected by which state (``xfrm_userpolicy_info``)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from datapath.xfrm.attributes import attribute, attributes
from datapath.xfrm.errors import XfrmMalformed
from datapath.xfrm.numbers import (
    EVERY_ALGORITHM,
    FAMILY_INET6,
    MODE_TRANSPORT,
    PROTOCOL_ESP,
    Action,
    AttributeType,
    Direction,
)
from datapath.xfrm.selectors import Selector
from datapath.xfrm.structs import LIFETIME, POLICY, POLICY_KEY, STATE_ID, TEMPLATE, UNLIMITED

_ANYWHERE = IPv6Address("::").packed


@dataclass(frozen=True, slots=True)
class Policy:
    """Packets of ``selector`` pass in ``direction`` only under an ESP transport-mode state of ``reqid``.

    Attributes:
        priority: the policy of the lowest number decides.
    """

    direction: Direction
    selector: Selector
    reqid: int
    priority: int

    def to_wire(self) -> bytes:
        """The body of ``XFRM_MSG_NEWPOLICY`` and ``XFRM_MSG_UPDPOLICY``."""
        fixed = POLICY.pack(
            self.selector.to_wire(),
            UNLIMITED,
            bytes(LIFETIME.size),
            *(self.priority, 0, self.direction, Action.ALLOW, 0, 0),
        )
        template = TEMPLATE.pack(
            STATE_ID.pack(_ANYWHERE, bytes(4), PROTOCOL_ESP),
            FAMILY_INET6,
            _ANYWHERE,
            *(self.reqid, MODE_TRANSPORT, 0, 0),
            *(EVERY_ALGORITHM, EVERY_ALGORITHM, EVERY_ALGORITHM),
        )
        return fixed + attribute(AttributeType.TMPL, template)


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """What the kernel says about a policy; ``reqids`` are those of its templates, none for a plain one."""

    direction: int
    selector: Selector | None
    reqids: tuple[int, ...]
    action: int


def policy_key(direction: Direction, selector: Selector) -> bytes:
    """The body of ``XFRM_MSG_DELPOLICY``."""
    return POLICY_KEY.pack(selector.to_wire(), 0, direction)


def parse_policy(body: bytes) -> PolicyReport:
    """One policy of a dump.

    Raises:
        XfrmMalformed: lengths that do not fit.
    """
    if len(body) < POLICY.size:
        raise XfrmMalformed(f"a policy of {len(body)} bytes")
    selector, _, _, _, _, direction, action, _, _ = POLICY.unpack_from(body)
    templates = dict(attributes(body[POLICY.size :])).get(AttributeType.TMPL, b"")
    if len(templates) % TEMPLATE.size:
        raise XfrmMalformed(f"templates of {len(templates)} bytes")
    reqids = tuple(fields[3] for fields in TEMPLATE.iter_unpack(templates))
    return PolicyReport(direction, Selector.from_wire(selector), reqids, action)
