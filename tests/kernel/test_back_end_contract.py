"""The kernel back end keeps the contract of all back ends, in the kernel."""

from __future__ import annotations

import select
import time

import pytest

from control.ipsec.errors import NoSecurityAssociation
from control.ipsec.security_association import SecurityAssociation
from tests.control.ipsec.back_end_contract import *  # noqa: F403 (the tests)
from tests.kernel.ipsec_wire import AGENT, HOME, STRANGER, UNKNOWN, Wire, mobility_header

pytestmark = pytest.mark.kernel

PATIENCE_S = 20.0


class KernelSide:
    home_agent, home_address = AGENT, HOME

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.ipsec = wire.ipsec
        self.node = wire.node

    def arrive(self, packet: bytes) -> tuple[SecurityAssociation, bytes] | None:
        refused = self.wire.refused()
        self.wire.send_esp(packet)
        # A stranger's message arrives in any case. It may overtake: the kernel may decrypt when it finds the time.
        self.wire.clear[STRANGER].sendto(mobility_header(STRANGER, AGENT, UNKNOWN, 99), (str(AGENT), 0))
        opened, stranger_came, deadline = None, False, time.monotonic() + PATIENCE_S
        while not stranger_came or (opened is None and self.wire.refused() == refused and time.monotonic() < deadline):
            if select.select([self.wire.mobility], [], [], 0.05)[0]:
                payload, association = self.wire.receive_whole()
                stranger_came = stranger_came or association is None
                opened = opened if association is None else (association, payload)
        return opened

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
