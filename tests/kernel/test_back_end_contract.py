"""The kernel back end keeps the contract of all back ends, in the kernel."""

from __future__ import annotations

import pytest

from control.ipsec.errors import NoSecurityAssociation
from control.ipsec.security_association import SecurityAssociation
from tests.control.ipsec.back_end_contract import *  # noqa: F403 (the tests)
from tests.kernel.test_ipsec import AGENT, HOME, STRANGER, UNKNOWN, Wire, mobility_header, shared_wire, wire

pytestmark = pytest.mark.kernel

__all__ = ["shared_wire", "wire"]


class KernelSide:
    home_agent, home_address = AGENT, HOME

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.ipsec = wire.ipsec
        self.node = wire.node

    def arrive(self, packet: bytes) -> tuple[SecurityAssociation, bytes] | None:
        self.wire.send_esp(packet)
        # A stranger's message, which arrives in any case, tells when one that is dropped will not come any more.
        self.wire.clear[STRANGER].sendto(mobility_header(STRANGER, AGENT, UNKNOWN, 99), (str(AGENT), 0))
        first = self.wire.receive_whole()
        if first[1] is None:
            return None
        assert self.wire.receive_whole()[1] is None
        payload, association = first
        return association, payload

    def leave(self, message: bytes) -> bytes | None:
        try:
            self.ipsec.outbound_for(HOME, 135, message[2] << 8)
        except NoSecurityAssociation:
            return None
        self.wire.mobility.sendto(message, (str(HOME), 0))
        return self.wire.esp.recvmsg(2000)[0]


@pytest.fixture
def side(wire: Wire) -> KernelSide:
    return KernelSide(wire)
