"""strongSwan and NATs: real ones, by nftables in a namespace between us, and encapsulation that is only wished for.

Each test function makes all it needs. The NAT translates addresses and UDP ports; nothing but UDP gets back through it.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from os import getpid
from pathlib import Path

import pytest

from bench.lab.entering import inside
from bench.lab.ike_peers import OUR_NAME, SHARED_KEY, THEIR_NAME, Ours, Policy, run, wire
from bench.lab.strongswan import StrongSwan
from control.ikev2.address import NAT_TRAVERSAL_PORT, IpAddress, SocketAddress
from control.ikev2.child import ChildRequest
from control.ikev2.events import PeerAddressChanged, PeerAlive
from control.ikev2.nat import NatDetection, NatTraversal
from control.ikev2.payloads import Identity
from control.ikev2.sa import IkeSa
from control.ikev2.states import Role
from control.ipsec.traffic_selector import TrafficSelector

pytestmark = pytest.mark.namespaces

_NETLINK_NETFILTER = 12
# linux/netfilter/nfnetlink.h: delete whatever connection there is (IPCTNL_MSG_CT_DELETE), and acknowledge.
_FORGET_CONNECTIONS = struct.pack("=IHHIIBBH", 20, 0x102, 0x5, 1, 0, 0, 0, 0)


@dataclass(frozen=True)
class Plan:
    """Addresses: the NAT's inside has one prefix, its outside another.

    Attributes:
        hidden: the end behind the NAT.
        inside: the NAT's address there.
        outside: the NAT's other address, which the hidden end has for the open one.
        open: the other end.
        family: of nftables.
        length: of both prefixes.
    """

    hidden: IpAddress
    inside: IpAddress
    outside: IpAddress
    open: IpAddress
    family: str
    length: int


PLANS = {
    6: Plan(
        *(IPv6Address(each) for each in ("fd00:5::2", "fd00:5::1", "2001:db8:5::1", "2001:db8:5::2")),
        family="ip6",
        length=64,
    ),
    4: Plan(
        *(IPv4Address(each) for each in ("10.0.5.2", "10.0.5.1", "192.0.2.1", "192.0.2.2")), family="ip", length=24
    ),
}
CONNECTIONS = """
connections {{ ha {{
  local_addrs = {local}
  remote_addrs = {remote}
  proposals = aes128gcm16-prfsha256-x25519
  encap = {encap}
  mobike = no
  local {{ auth = psk
 id = {their_name} }}
  remote {{ auth = psk
 id = {our_name} }}
  children {{ c {{ mode = tunnel
 esp_proposals = aes128gcm16 }} }}
}} }}
secrets {{ ike {{ id = {our_name}
 secret = {secret} }} }}
"""


def connections(local: IpAddress, remote: IpAddress, *, encap: bool = False) -> str:
    return CONNECTIONS.format(
        local=local,
        remote=remote,
        encap="yes" if encap else "no",
        our_name=OUR_NAME,
        their_name=THEIR_NAME,
        secret=SHARED_KEY.decode(),
    )


class Nat:
    """A namespace that hides one end, and lets it be reached from outside at the ports of IKE.

    Args:
        plan: addresses.
        name: of the namespace.
        rules: a file for them.
    """

    def __init__(self, plan: Plan, name: str, rules: Path) -> None:
        self._plan = plan
        self._rules = rules
        self.name = name

    def translate(self, first_port: int, *, forward: bool) -> None:
        """(Re)start: every mapping is forgotten, new ones get ports from ``first_port`` on.

        Args:
            first_port: of a hundred.
            forward: whether ports 500 and 4500 of the outside address lead to the hidden end.
        """
        plan = self._plan
        ports = "{ 500, 4500 }"
        inwards = f"{plan.family} daddr {plan.outside} udp dport {ports} dnat to {plan.hidden}" if forward else ""
        source = f"[{plan.outside}]" if plan.family == "ip6" else str(plan.outside)
        outwards = (
            f"{plan.family} saddr {plan.hidden} udp sport {ports} snat to {source}:{first_port}-{first_port + 99}"
        )
        rules = f"""
flush ruleset
table {plan.family} hatest {{
  chain from_outside {{ type nat hook prerouting priority -100; {inwards}
  }}
  chain from_inside {{ type nat hook postrouting priority 100; {"" if forward else outwards}
  }}
}}
"""
        self._rules.write_text(rules)
        run("ip", "netns", "exec", self.name, "nft", "-f", str(self._rules))
        with inside(self.name), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
            netlink.send(_FORGET_CONNECTIONS)
            assert int.from_bytes(netlink.recv(4096)[16:20], "little", signed=True) == 0


@contextlib.contextmanager
def nat_between(plan: Plan, hidden: str, open_: str, rules: Path, *, forward: bool) -> Iterator[Nat]:
    """Two namespaces, one of them behind a NAT in a third."""
    name = f"hatest-nat-{getpid()}"
    with contextlib.ExitStack() as stack:
        for each in (hidden, open_, name):
            run("ip", "netns", "add", each)
            stack.callback(run, "ip", "netns", "delete", each)
        ends = ((hidden, plan.hidden, "inside", plan.inside), (open_, plan.open, "outside", plan.outside))
        for namespace, address, device, nats in ends:
            link = ("ip", "-n", name, "link", "add", device, "type", "veth", "peer", "name", "wire", "netns", namespace)
            run(*link)
            for where, what, at in ((namespace, "wire", address), (name, device, nats)):
                nodad = ("nodad",) if plan.family == "ip6" else ()
                run("ip", "-n", where, "link", "set", "lo", "up")
                run("ip", "-n", where, "address", "add", f"{at}/{plan.length}", "dev", what, *nodad)
                run("ip", "-n", where, "link", "set", what, "up")
        run("ip", "-n", hidden, "route", "add", "default", "via", str(plan.inside))
        run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        nat = Nat(plan, name, rules)
        nat.translate(20_000, forward=forward)
        yield nat


def begin(ours: Ours, theirs: IpAddress) -> IkeSa:
    sa = ours.endpoint.connect(
        ours.local,
        SocketAddress(theirs),
        time.monotonic(),
        remote_identity=Identity.from_text(THEIR_NAME),
        first_child=ChildRequest(
            (TrafficSelector.host(IPv6Address("2001:db8:100::1")),),
            (TrafficSelector.host(IPv6Address("2001:db8:200::1")),),
            transport_mode=False,
        ),
    )
    ours.wait(ours.established)
    return sa


def begun_by_strongswan(ours: Ours, charon: StrongSwan) -> IkeSa:
    process = charon.begin("--initiate", "--ike", "ha")
    ours.wait(lambda: process.poll() is not None)
    (sa,) = ours.established()
    assert sa.role is Role.RESPONDER
    return sa


def both_ways(ours: Ours, charon: StrongSwan, sa: IkeSa) -> IkeSa:
    """Either side asks the other, and rekeys; the SA that is left."""
    sa.probe_liveness(time.monotonic())
    ours.wait(lambda: ours.happened(PeerAlive))
    charon.swanctl("--rekey", "--ike", "ha")
    ours.wait(lambda: [each for each in ours.established() if each is not sa])
    ours.wait(lambda: len(charon.established()) == 1)
    (new,) = ours.established()
    return new


@pytest.mark.interop("NAT before strongSwan, IPv{version}", role="responder", authentication="shared key")
@pytest.mark.parametrize("version", [6, 4])
def test_strongswan_nat_traversal_it_is_behind_the_nat_and_begins(tmp_path: Path, version: int) -> None:
    plan, names = PLANS[version], (f"hatest-swan-{getpid()}", f"hatest-ours-{getpid()}")
    with nat_between(plan, *names, tmp_path / "rules", forward=False) as nat, contextlib.ExitStack() as stack:
        ours = Ours(names[1], plan.open, Policy())
        stack.callback(ours.close)
        charon = stack.enter_context(StrongSwan(tmp_path, names[0], options="keep_alive = 1s"))
        charon.load(connections(plan.hidden, plan.open))
        sa = begun_by_strongswan(ours, charon)
        assert sa.nat == NatDetection(local_behind=False, remote_behind=True)
        assert (sa.local.port, sa.remote.address) == (NAT_TRAVERSAL_PORT, plan.outside)
        assert 20_000 <= sa.remote.port < 20_100
        (seen,) = charon.established()
        assert (seen["nat-local"], seen["local-port"], seen["remote-port"]) == ("yes", "4500", "4500")
        assert "nat-remote" not in seen
        ours.wait(lambda: ours.nat_traversal.statistics["nat-keepalives"])
        sa = both_ways(ours, charon, sa)
        # The NAT starts anew: what strongSwan says next comes from another port, and is followed.
        nat.translate(30_000, forward=False)
        charon.swanctl("--rekey", "--ike", "ha")
        ours.wait(lambda: ours.happened(PeerAddressChanged))
        assert 30_000 <= ours.established()[0].remote.port < 30_100


@pytest.mark.interop("NAT before strongSwan, IPv{version}", role="initiator", authentication="shared key")
@pytest.mark.parametrize("version", [6, 4])
def test_strongswan_nat_traversal_it_is_behind_the_nat_and_we_begin(tmp_path: Path, version: int) -> None:
    plan, names = PLANS[version], (f"hatest-swan-{getpid()}", f"hatest-ours-{getpid()}")
    with nat_between(plan, *names, tmp_path / "rules", forward=True), contextlib.ExitStack() as stack:
        ours = Ours(names[1], plan.open, Policy())
        stack.callback(ours.close)
        charon = stack.enter_context(StrongSwan(tmp_path, names[0]))
        charon.load(connections(plan.hidden, plan.open))
        sa = begin(ours, plan.outside)
        assert sa.nat == NatDetection(local_behind=False, remote_behind=True)
        assert (sa.local.port, sa.remote) == (NAT_TRAVERSAL_PORT, SocketAddress(plan.outside, NAT_TRAVERSAL_PORT))
        (seen,) = charon.established()
        assert (seen["nat-local"], seen["local-port"], seen["remote-port"]) == ("yes", "4500", "4500")
        both_ways(ours, charon, sa)


@pytest.mark.interop("NAT before us, IPv{version}", role="initiator", authentication="shared key")
@pytest.mark.parametrize("version", [6, 4])
def test_strongswan_nat_traversal_we_are_behind_the_nat_and_begin(tmp_path: Path, version: int) -> None:
    plan, names = PLANS[version], (f"hatest-ours-{getpid()}", f"hatest-swan-{getpid()}")
    with nat_between(plan, *names, tmp_path / "rules", forward=False), contextlib.ExitStack() as stack:
        ours = Ours(names[0], plan.hidden, Policy(), nat_keepalive_s=1.0)
        stack.callback(ours.close)
        charon = stack.enter_context(StrongSwan(tmp_path, names[1]))
        charon.load(connections(plan.open, IPv6Address("::") if version == 6 else IPv4Address("0.0.0.0")))
        sa = begin(ours, plan.open)
        assert sa.nat == NatDetection(local_behind=True, remote_behind=False)
        (seen,) = charon.established()
        assert (seen["nat-remote"], seen["remote-host"]) == ("yes", str(plan.outside))
        assert 20_000 <= int(seen["remote-port"]) < 20_100
        assert "nat-local" not in seen
        ours.wait(lambda: ours.endpoint.statistics["nat-keepalives-sent"] >= 2)
        both_ways(ours, charon, sa)


@pytest.mark.interop("NAT traversal wished for by {wished_by}", role="{begun_by}", authentication="shared key")
@pytest.mark.parametrize("wished_by", ["us", "strongSwan"])
@pytest.mark.parametrize("begun_by", ["us", "strongSwan"])
def test_strongswan_nat_traversal_wished_for_without_a_nat(tmp_path: Path, wished_by: str, begun_by: str) -> None:
    names = (f"hatest-ours-{getpid()}", f"hatest-swan-{getpid()}")
    mine, their = IPv6Address("2001:db8:5::1"), IPv6Address("2001:db8:5::2")
    with wire((names[0], mine), (names[1], their)), contextlib.ExitStack() as stack:
        wish = NatTraversal.FORCE if wished_by == "us" else NatTraversal.AUTO
        ours = Ours(names[0], mine, Policy(), nat_traversal=wish)
        stack.callback(ours.close)
        charon = stack.enter_context(StrongSwan(tmp_path, names[1]))
        charon.load(connections(their, mine, encap=wished_by == "strongSwan"))
        sa = begin(ours, their) if begun_by == "us" else begun_by_strongswan(ours, charon)
        assert sa.nat is not None
        assert sa.nat.encapsulates
        assert (sa.local.port, sa.remote.port) == (NAT_TRAVERSAL_PORT, NAT_TRAVERSAL_PORT)
        (seen,) = charon.established()
        assert (seen["local-port"], seen["remote-port"]) == ("4500", "4500")
        both_ways(ours, charon, sa)
