"""The userspace back end keeps the contract of all back ends."""

from __future__ import annotations

import random
from ipaddress import IPv6Address

import pytest

from control.ipsec.errors import EspError, NoSecurityAssociation
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY
from control.ipsec.userspace import UserspaceIpsec
from tests.control.ipsec.back_end_contract import *  # noqa: F403 (the tests)


class UserspaceSide:
    home_agent, home_address = IPv6Address("2001:db8:a1::1"), IPv6Address("2001:db8:a1::17")

    def __init__(self) -> None:
        self.ipsec = UserspaceIpsec(random.Random(1).randbytes)
        self.node = UserspaceIpsec(random.Random(2).randbytes)

    def arrive(self, packet: bytes) -> tuple[SecurityAssociation, bytes] | None:
        try:
            opened = self.ipsec.unprotect(self.home_address, self.home_agent, packet, 0.0)
        except EspError:
            return None
        return opened.security_association, opened.payload

    def leave(self, message: bytes) -> bytes | None:
        try:
            return self.ipsec.protect(self.home_agent, self.home_address, PROTOCOL_MOBILITY, message, 0.0)
        except NoSecurityAssociation:
            return None


@pytest.fixture
def side() -> UserspaceSide:
    return UserspaceSide()
