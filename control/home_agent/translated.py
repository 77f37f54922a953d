"""Mobile nodes behind NATs: they do not know the address at which they are reached."""

from __future__ import annotations

from msgspec.structs import replace

from control.home_agent.key_exchange import NodeIkeSa
from control.mobility.messages import BindingUpdate, MobilityMessage
from control.mobility.options import AlternateCareOfAddress


def as_reached(message: MobilityMessage, sa: NodeIkeSa) -> MobilityMessage:
    """A node's message without the care-of address that means nothing on this side of its NAT.

    What is left is the source address of the packet. ESP does not cover that; as with the address of the IKE SA, only a
    packet that is genuine and new is followed (RFC 7296 section 2.23).

    Args:
        message: what came under ESP.
        sa: the node's IKE SA.
    """
    if sa.nat is None or not sa.nat.remote_behind or not isinstance(message, BindingUpdate):
        return message
    known = tuple(option for option in message.options if not isinstance(option, AlternateCareOfAddress))
    return message if len(known) == len(message.options) else replace(message, options=known)
