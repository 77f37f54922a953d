"""IKE SAs and their child SAs as the control socket tells of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from control.control_socket import Row
from control.home_agent.directory import NodeDirectory
from control.home_agent.key_exchange import NodeIkeSa
from control.ikev2.child import ChildSa
from control.ikev2.lifetimes import Lifetime
from control.ipsec.security_association import SecurityAssociation, SecurityAssociationUsage

_Pair = tuple[SecurityAssociation, SecurityAssociation]


def security_association_rows(
    sas: Iterable[NodeIkeSa], pairs: Iterable[_Pair], directory: NodeDirectory, now: float
) -> Iterator[Row]:
    """A row for each IKE SA, its child SAs within.

    Args:
        sas: the IKE SAs.
        pairs: what the IPsec back end has, inbound before outbound.
        directory: says who authenticates by EAP.
        now: monotonic seconds.
    """
    installed = {inbound.spi: (inbound, outbound) for inbound, outbound in pairs}
    for sa in sas:
        identity = str(sa.remote_identity)
        node = directory.find(identity)
        yield {
            "identity": identity,
            "eap_identity": node.eap.identity if node is not None and node.eap is not None else None,
            "local_identity": str(sa.local_identity),
            "state": sa.state.value,
            "role": sa.role.value,
            "local": str(sa.local),
            "remote": str(sa.remote),
            "nat": _nat(sa),
            "mobike": sa.mobike is not None,
            "initiator_spi": sa.initiator_spi.hex(),
            "responder_spi": sa.responder_spi.hex(),
            "suite": str(sa.suite),
            "established_s": _ago(sa.established_at, now),
            "silent_s": _ago(sa.last_heard_at, now),
            "rekeying_in_s": _rekeying_in(sa.lifetimes.ike, now),
            "children": [_child(sa, child, installed.get(child.inbound_spi), now) for child in sa.children.values()],
        }


def _child(sa: NodeIkeSa, child: ChildSa, pair: _Pair | None, now: float) -> Row:
    lifetime = sa.lifetimes.children.get(child.inbound_spi)
    inbound, outbound = (pair[0].usage, pair[1].usage) if pair is not None else (None, None)
    return {
        "name": child.name,
        "inbound_spi": f"{child.inbound_spi:08x}",
        "outbound_spi": f"{child.outbound_spi:08x}",
        "suite": str(child.suite),
        "group": None if child.group is None else child.group.name,
        "mode": "transport" if child.transport_mode else "tunnel",
        "in_udp": child.encapsulation is not None,
        "installed": pair is not None,
        "installed_s": None if pair is None else _ago(pair[0].created_at, now),
        "local_selectors": [str(selector) for selector in child.local_selectors],
        "remote_selectors": [str(selector) for selector in child.remote_selectors],
        **_usage("in", inbound, now),
        **_usage("out", outbound, now),
        "replaced": child.inbound_spi in sa.superseded,
        "rekeying_in_s": _rekeying_in(lifetime, now),
        "expires_in_s": None if lifetime is None else round(max(0.0, lifetime.expires_at - now), 1),
    }


def _usage(direction: str, usage: SecurityAssociationUsage | None, now: float) -> Row:
    usage = usage or SecurityAssociationUsage()
    return {
        f"packets_{direction}": usage.packets,
        f"bytes_{direction}": usage.bytes,
        f"errors_{direction}": usage.errors,
        f"last_{direction}_s": _ago(usage.last_used_at, now),
    }


def _nat(sa: NodeIkeSa) -> Row | None:
    if sa.nat is None:
        return None
    return {"local": sa.nat.local_behind, "remote": sa.nat.remote_behind, "forced": sa.nat.forced}


def _ago(then: float | None, now: float) -> float | None:
    return None if then is None else round(now - then, 1)


def _rekeying_in(lifetime: Lifetime | None, now: float) -> float | None:
    return None if lifetime is None else round(lifetime.rekeying_in(now), 1)
