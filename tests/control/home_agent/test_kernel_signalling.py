"""Signalling whose ESP the kernel does: what may leave, and what is believed."""

from __future__ import annotations

import random
from ipaddress import IPv6Address

import pytest

from control.home_agent.signalling import KernelSignalling, MessageToNode
from control.ipsec.algorithms import AES_128_GCM
from control.ipsec.errors import EspError, NoSecurityAssociation
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY, TrafficSelector
from control.mobility.header import build_mobility_message, parse_mobility_message
from control.mobility.messages import BindingUpdate, HomeAgentSwitch
from control.wire import WireError

AGENT, HOME, OTHER_HOME = IPv6Address("2001:db8:a1::1"), IPv6Address("2001:db8:100::5"), IPv6Address("2001:db8:100::6")
CARE_OF = IPv6Address("2001:db8:f::5")
SWITCH = HomeAgentSwitch(addresses=(AGENT,), bootstrap=True)


def association(source: IPv6Address, destination: IPv6Address, selectors: tuple[TrafficSelector, ...]):
    keys = random.Random(1).randbytes(AES_128_GCM.encryption_key_size)
    theirs = (TrafficSelector.host(destination, PROTOCOL_MOBILITY),)
    return SecurityAssociation(0x1234, source, destination, selectors, theirs, AES_128_GCM, keys, b"")


class Kernel:
    """Has one outbound association, or none."""

    def __init__(self, *outbound: SecurityAssociation) -> None:
        self.outbound = outbound

    def install(self, inbound, outbound, *, outbound_waits=False):
        raise AssertionError("nothing is to be installed")

    def outbound_for(self, destination, protocol, source_port):
        for one in self.outbound:
            if one.destination == destination and one.covers(protocol, source_port, None):
                return one
        raise NoSecurityAssociation("none")


def everything(address: IPv6Address) -> tuple[TrafficSelector, ...]:
    return (TrafficSelector.host(address, PROTOCOL_MOBILITY),)


def test_a_message_leaves_as_a_mobility_header_with_both_addresses():
    signalling = KernelSignalling(AGENT, Kernel(association(AGENT, HOME, everything(AGENT))))
    protect = signalling.protection_for(SWITCH.message_type, HOME, CARE_OF, 0.0)
    message = protect(signalling.encode(SWITCH, HOME))
    assert isinstance(message, MessageToNode)
    assert (message.home_address, message.care_of_address) == (HOME, CARE_OF)
    assert parse_mobility_message(message.payload, AGENT, HOME) == SWITCH


def test_nothing_leaves_that_the_kernel_would_not_protect():
    of_updates = (TrafficSelector(AGENT, AGENT, PROTOCOL_MOBILITY, 5 << 8, 5 << 8),)
    for kernel in (Kernel(), Kernel(association(AGENT, HOME, of_updates))):
        with pytest.raises(NoSecurityAssociation):
            KernelSignalling(AGENT, kernel).protection_for(SWITCH.message_type, HOME, CARE_OF, 0.0)


def update(source: IPv6Address) -> bytes:
    return build_mobility_message(BindingUpdate(sequence_number=7, lifetime_units=15), source, AGENT)


def test_what_an_association_is_for_is_read():
    signalling = KernelSignalling(AGENT, Kernel())
    message = signalling.read(update(HOME), association(HOME, AGENT, everything(HOME)), HOME)
    assert isinstance(message, BindingUpdate)
    assert message.sequence_number == 7


def test_a_message_for_another_node_or_of_another_type_is_not():
    signalling = KernelSignalling(AGENT, Kernel())
    acknowledgements = (TrafficSelector(HOME, HOME, PROTOCOL_MOBILITY, 6 << 8, 6 << 8),)
    for payload, selectors, source in (
        (update(OTHER_HOME), everything(HOME), OTHER_HOME),
        (update(HOME), acknowledgements, HOME),
        (b"\x3b", acknowledgements, HOME),
    ):
        with pytest.raises(EspError) as caught:
            signalling.read(payload, association(HOME, AGENT, selectors), source)
        assert caught.value.reason == "selector-mismatch"
    with pytest.raises(WireError):
        signalling.read(update(HOME)[:-1], association(HOME, AGENT, everything(HOME)), HOME)


def test_esp_that_the_kernel_has_not_opened_is_nobody_s():
    with pytest.raises(EspError) as caught:
        KernelSignalling(AGENT, Kernel()).open(bytes(64), HOME, 0.0)
    assert caught.value.reason == "unknown-spi"
