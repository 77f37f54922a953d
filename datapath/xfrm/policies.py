"""What must be protected by which state (``xfrm_userpolicy_info``)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from datapath.xfrm.attributes import attribute, attributes
from datapath.xfrm.errors import XfrmMalformed
from datapath.xfrm.numbers import (
    EVERY_ALGORITHM,
    FAMILY_INET6,
    PROTOCOL_ESP,
    Action,
    AttributeType,
    Direction,
    Mode,
)
from datapath.xfrm.selectors import Selector
from datapath.xfrm.structs import LIFETIME, POLICY, POLICY_KEY, STATE_ID, TEMPLATE, UNLIMITED

_ANYWHERE = IPv6Address("::")


@dataclass(frozen=True, slots=True)
class Policy:
    """Packets of ``selector`` pass in ``direction`` only under an ESP state of ``reqid``.

    Attributes:
        priority: the policy of the lowest number decides.
        tunnel: outer source and destination of a tunnel-mode state, None for transport mode.
    """

    direction: Direction
    selector: Selector
    reqid: int
    priority: int
    tunnel: tuple[IPv6Address, IPv6Address] | None = None

    def to_wire(self) -> bytes:
        """The body of ``XFRM_MSG_NEWPOLICY`` and ``XFRM_MSG_UPDPOLICY``."""
        fixed = POLICY.pack(
            self.selector.to_wire(),
            UNLIMITED,
            bytes(LIFETIME.size),
            *(self.priority, 0, self.direction, Action.ALLOW, 0, 0),
        )
        source, destination = (_ANYWHERE, _ANYWHERE) if self.tunnel is None else self.tunnel
        mode = Mode.TRANSPORT if self.tunnel is None else Mode.TUNNEL
        template = TEMPLATE.pack(
            STATE_ID.pack(destination.packed, bytes(4), PROTOCOL_ESP),
            FAMILY_INET6,
            source.packed,
            *(self.reqid, mode, 0, 0),
            *(EVERY_ALGORITHM, EVERY_ALGORITHM, EVERY_ALGORITHM),
        )
        return fixed + attribute(AttributeType.TMPL, template)


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """What the kernel says about a policy.

    Attributes:
        reqids: of its templates, none for a plain one.
        tunnels: outer source and destination of its templates of tunnel mode.
    """

    direction: int
    selector: Selector | None
    reqids: tuple[int, ...]
    action: int
    tunnels: tuple[tuple[IPv6Address, IPv6Address], ...] = ()


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
    found = tuple(TEMPLATE.iter_unpack(templates))
    tunnels = tuple(
        (IPv6Address(source), IPv6Address(STATE_ID.unpack(identifier)[0]))
        for identifier, family, source, _, mode, *_ in found
        if (family, mode) == (FAMILY_INET6, Mode.TUNNEL)
    )
    return PolicyReport(direction, Selector.from_wire(selector), tuple(each[3] for each in found), action, tunnels)
