"""Hosts in namespaces: a correspondent, a home agent with the data path, a router, and two mobile nodes behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path

from bench.lab import receiving_end
from bench.lab.entering import inside
from datapath.bindings import BindingMap
from datapath.counters import read_counters
from datapath.reasons import Reason
from tests.waiting import PATIENCE_S

LOAD = """
import json, sys
from ipaddress import IPv6Address
from pathlib import Path
from datapath.loader import LoaderOptions, load
mode, pin_path, *interfaces = sys.argv[1:]
report = load(LoaderOptions(interfaces, Path(pin_path), [IPv6Address("2001:db8:f::1")], 64, mode))
print(json.dumps(report.to_dict()))
"""

UNLOAD = """
import json, sys
from pathlib import Path
from datapath.unload import unload
print(json.dumps(unload(Path(sys.argv[1])).to_dict()))
"""

# The mobile node's end of the tunnel: a TUN device with the home address, and IPv6-in-IPv6 on a raw socket.
MOBILE_NODE = """
import fcntl, os, select, socket, struct, subprocess, sys
home, care_of, home_agent = sys.argv[1:]
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH14x", b"mip", 0x0001 | 0x1000))
for command in (f"ip link set mip mtu 1400 up", f"ip addr add {home}/128 dev mip",
                f"ip -6 rule add from {home} lookup 100", f"ip -6 route add default dev mip table 100"):
    subprocess.run(command.split(), check=True)
outer = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 41)
outer.bind((care_of, 0))
outer.connect((home_agent, 0))
print("ready", flush=True)
while True:
    for ready in select.select([tun, outer], [], [])[0]:
        if ready is tun:
            packet = os.read(tun, 2048)
            if packet[8:24] == socket.inet_pton(socket.AF_INET6, home):
                outer.send(packet)
        else:
            os.write(tun, outer.recv(65536))  # GRO merges what comes out of the tunnel
"""

HOME_AGENT = IPv6Address("2001:db8:f::1")


@dataclass
class Hosts:
    """The namespaces, and the processes running in them."""

    agent: object
    correspondent: object
    core: object
    pin_path: Path
    nodes: list = field(default_factory=list)
    homes: dict[IPv6Address, IPv6Address] = field(default_factory=dict)
    interfaces: tuple[str, ...] = ("cn0", "core0")

    def load(self, mode: str = "auto") -> dict:
        done = self.agent.python(LOAD, mode, str(self.pin_path), *self.interfaces)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def unload(self) -> dict:
        done = self.agent.python(UNLOAD, str(self.pin_path))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def install(self) -> None:
        with BindingMap.open(self.pin_path) as bindings:
            for home, care_of in self.homes.items():
                bindings.install(home, care_of, HOME_AGENT)

    def counted(self, before: dict[Reason, int]) -> dict[Reason, int]:
        after = read_counters(self.pin_path)
        return {reason: after[reason] - before[reason] for reason in Reason if after[reason] != before[reason]}


def connect(router, port: str, host, interface: str, prefix: str) -> None:
    """A link with address ::1 on the router's side and ::5 on the host's, which takes it for its default route."""
    router.run(f"ip link add {port} type veth peer name {interface} netns {host.name}")
    for namespace, end, address in ((router, port, f"{prefix}::1"), (host, interface, f"{prefix}::5")):
        namespace.sysctl(f"net.ipv6.conf.{end}.accept_dad", "0")
        namespace.run(f"ip link set {end} up")
        namespace.run(f"ip addr add {address}/64 dev {end}")
        # Native XDP sees what a local socket left of the checksum; only NAPI on the far end takes redirected frames.
        namespace.run(f"ethtool -K {end} tx off gro {'off' if port.startswith('mn') else 'on'}")
    host.run(f"ip -6 route add default via {prefix}::1")


@contextmanager
def mobile_node(host, home: IPv6Address, care_of: IPv6Address) -> Iterator[None]:
    process = host.start(MOBILE_NODE, str(home), str(care_of), str(HOME_AGENT))
    try:
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()


@contextmanager
def running_hosts(namespaces, pin_path, *, one_arm: bool = False) -> Iterator[Hosts]:
    """The correspondent on one interface of the home agent, a router with the mobile nodes on the other.

    With one arm the home agent has but that other interface, and the correspondent is behind the router as well.

    The kernel of a mobile node would merge what the home agent sends (GRO) and leave its checksums unfinished, which a
    raw socket cannot tell; the router in between forwards it as segments.
    """
    agent, correspondent, core, first, second = (namespaces(name) for name in ("ha", "cn", "core", "mn1", "mn2"))
    for router in (agent, core):
        router.sysctl("net.ipv6.conf.all.forwarding", "1")
    connect(core if one_arm else agent, "cn0", correspondent, "eth0", "2001:db8:c")
    connect(core, "ha", agent, "core0", "2001:db8:f:ff")
    for neighbour, end in ((correspondent, "eth0"), (core, "ha")):
        with inside(neighbour.name):
            receiving_end.main(end)
    connect(core, "mn1", first, "eth0", "2001:db8:f:1")
    connect(core, "mn2", second, "eth0", "2001:db8:f:2")
    agent.run(f"ip addr add {HOME_AGENT}/128 dev core0")
    agent.run("ip -6 route add unreachable 2001:db8:100::/64")
    core.run(f"ip -6 route add {HOME_AGENT} via 2001:db8:f:ff::5")
    core.run("ip -6 route add default via 2001:db8:f:ff::5")
    homes = {
        IPv6Address("2001:db8:100::5"): IPv6Address("2001:db8:f:1::5"),
        IPv6Address("2001:db8:100::6"): IPv6Address("2001:db8:f:2::5"),
    }
    (home, care_of), (other_home, other_care_of) = homes.items()
    with mobile_node(first, home, care_of), mobile_node(second, other_home, other_care_of):
        interfaces = ("core0",) if one_arm else Hosts.interfaces
        yield Hosts(agent, correspondent, core, pin_path, [first, second], homes, interfaces)


def ping(host, destination: object, *, count: int = 5, options: str = "", patience_s: int = 20) -> tuple[int, str]:
    """Answers received, and what ping said; it waits so long for the last one."""
    done = host.start(
        "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)",
        *f"ping -n -i 0.05 -W {patience_s} -c {count} {options} {destination}".split(),
    )
    said = done.communicate(timeout=PATIENCE_S)[0]
    return int(re.search(r"(\d+) received", said)[1]), said
