"""A network namespace with a loaded data path, and a way to run its program on single frames."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from bench.lab.entering import own_network
from datapath import netlink
from datapath.bindings import BindingMap
from datapath.bpf_syscall import Map, object_get, program_test_run
from datapath.counters import Counters
from datapath.layout import PROGRAM_NAME, pin_directory
from datapath.loader import LoaderOptions, LoadReport, load
from datapath.reasons import Reason
from datapath.route_control import RouteControl
from datapath.stranger_limits import StrangerLimits
from datapath.unload import unload
from tests.datapath.hosts import Hosts, running_hosts


def run(command: str) -> str:
    """Runs one command in the current network namespace."""
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def make_interface(name: str, *addresses: str) -> None:
    """One end of a veth pair, up, with a fixed address of the Ethernet layer; the other end says nothing by itself."""
    run(f"ip link add {name} address 02:00:00:00:00:{len(name):02x} type veth peer name {name}-peer")
    Path(f"/proc/sys/net/ipv6/conf/{name}-peer/disable_ipv6").write_text("1")
    for end in (name, f"{name}-peer"):
        Path(f"/proc/sys/net/ipv6/conf/{end}/accept_dad").write_text("0")
        run(f"ip link set {end} up")
    for address in addresses:
        run(f"ip addr add {address} dev {name}")


@dataclass(frozen=True)
class Outcome:
    verdict: str
    frame: bytes
    reason: Reason


class Testbed:
    """The program, its maps, and the addresses of the little network around it."""

    __test__ = False

    home_agent = IPv6Address("2001:db8:f::1")
    other_home_agent = IPv6Address("2001:db8:f::2")
    correspondent = IPv6Address("2001:db8:c::2")
    home = IPv6Address("2001:db8:100::5")
    care_of = IPv6Address("2001:db8:f::5")
    other_home = IPv6Address("2001:db8:100::6")
    other_care_of = IPv6Address("2001:db8:f::6")
    core_mac = "02:00:00:00:00:04"
    correspondent_side_mac = "02:00:00:00:00:03"
    care_of_mac = "02:00:00:00:0f:05"
    other_care_of_mac = "02:00:00:00:0f:06"
    correspondent_mac = "02:00:00:00:0c:02"

    def __init__(self, pin_path: Path, report: LoadReport) -> None:
        self.pin_path = pin_path
        self.report = report
        self.program = object_get(pin_directory(pin_path) / PROGRAM_NAME)
        self.bindings = BindingMap.open(pin_path)
        self.counters = Counters.open(pin_path)
        self.index = {name: netlink.interface_state(name).index for name in ("cn0", "core")}

    def close(self) -> None:
        os.close(self.program)
        self.bindings.close()
        self.counters.close()

    def reset_bindings(self) -> None:
        self.bindings.remove_many(self.bindings.entries())
        self.bindings.install(self.home, self.care_of, self.home_agent)
        self.bindings.install(self.other_home, self.other_care_of, self.other_home_agent)

    def leave_errors(self, tokens: int, idle_ms: int = -60_000) -> None:
        """Leaves so many errors to every processor, refilled so long ago: none in the next minute."""
        with Map.open(pin_directory(self.pin_path) / "error_budget") as budget:
            refilled_at = time.monotonic_ns() - idle_ms * 1_000_000
            budget.update(bytes(4), struct.pack("=QQ", refilled_at, tokens) * (budget.value_size // 16))

    def run(self, frame: bytes, interface: str = "cn0") -> Outcome:
        """Runs the program on one frame; exactly one reason is counted, and once."""
        before = self.counters.read()
        result = program_test_run(self.program, bytes(frame), interface=self.index[interface])
        after = self.counters.read()
        changed = {reason: after[reason] - before[reason] for reason in Reason if after[reason] != before[reason]}
        assert list(changed.values()) == [1], changed
        verdict = ("aborted", "drop", "pass", "tx", "redirect")[result.verdict]
        return Outcome(verdict, result.frame, next(iter(changed)))


def _build_network() -> None:
    make_interface("cn0", "2001:db8:c::1/64")
    make_interface("core", "2001:db8:f::1/64", "2001:db8:f::2/64")
    make_interface("plain", "2001:db8:a::1/64")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    neighbours = {
        "2001:db8:c::2 dev cn0": Testbed.correspondent_mac,
        "2001:db8:f::5 dev core": Testbed.care_of_mac,
        "2001:db8:f::6 dev core": Testbed.other_care_of_mac,
        "2001:db8:a::2 dev plain": "02:00:00:00:0a:02",
    }
    for place, mac in neighbours.items():
        run(f"ip -6 neigh add {place} lladdr {mac} nud permanent")
    run("ip -6 route add 2001:db8:e::/64 via 2001:db8:f::5 dev core mtu lock 1400")
    run("ip -6 route add 2001:db8:e:1::/64 via 2001:db8:f::5 dev core mtu lock 1300")
    run("ip -6 route add blackhole 2001:db8:b::/64")


@contextlib.contextmanager
def on_one_processor() -> Iterator[None]:
    """Keeps this thread on a processor, not that of all other tests."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[os.getpid() % len(before)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def loaded_testbed(
    *,
    mobile_networks: bool = False,
    home_links: Sequence[str] = (),
    vlans: bool = False,
    ipv4_addresses: Sequence[IPv4Address] = (),
    stranger_limits: StrangerLimits | None = None,
) -> Iterator[Testbed]:
    """The loaded data path, in a namespace of its own, its frames on one processor: each keeps routes of its own."""
    pin_path = Path(f"/sys/fs/bpf/homeagent-test-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    with own_network(), on_one_processor():
        _build_network()
        options = LoaderOptions(
            interfaces=["cn0", "core"],
            pin_path=pin_path,
            home_agent_addresses=[Testbed.home_agent, Testbed.other_home_agent],
            max_bindings=64,
            mobile_networks=mobile_networks,
            home_links=home_links,
            vlans=vlans,
            home_agent_ipv4_addresses=ipv4_addresses,
            stranger_limits=stranger_limits,
        )
        report = load(options)
        try:
            bed = Testbed(pin_path, report)
            bed.reset_bindings()
            yield bed
            bed.close()
        finally:
            unload(pin_path)


@pytest.fixture(scope="module")
def testbed() -> Iterator[Testbed]:
    """The data path without what some home agents do not need, for the tests of one file."""
    with loaded_testbed() as bed:
        yield bed


@pytest.fixture(autouse=True)
def _beginning(request: pytest.FixtureRequest) -> None:
    """Every test of a testbed begins with the same bindings, and may cause many errors."""
    if "testbed" in request.fixturenames:
        testbed = request.getfixturevalue("testbed")
        testbed.reset_bindings()
        testbed.leave_errors(256)


@pytest.fixture
def path_mtus(testbed: Testbed) -> Iterator[Map]:
    """The map of what was learned, empty at the beginning and the end."""
    with Map.open(pin_directory(testbed.pin_path) / "path_mtus") as opened:
        yield opened
        for key in list(opened.keys()):
            opened.delete(key)


@pytest.fixture
def control(testbed: Testbed) -> Iterator[RouteControl]:
    """Lets next hops be kept."""
    with contextlib.closing(RouteControl.open(testbed.pin_path)) as opened:
        opened.begin_generation()
        opened.permit(time.monotonic(), 300.0)
        yield opened
        opened.forbid()


class Namespace:
    """A named network namespace, for tests with several hosts. Removed by the fixture that made it."""

    def __init__(self, name: str) -> None:
        self.name = name
        run(f"ip netns add {name}")
        self.run("ip link set lo up")

    @property
    def entering(self) -> list[str]:
        """Command prefix; `ip netns exec` would hide the BPF file system."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def run(self, command: str) -> str:
        return run(" ".join(self.entering) + " " + command)

    def sysctl(self, key: str, value: str) -> None:
        self.run(f"sysctl -qw {key}={value}")

    def python(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs Python code in a process of its own."""
        return subprocess.run(
            [*self.entering, sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=Path(__file__).parents[2],
        )

    def start(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        """Starts Python code in a process of its own; the caller ends it."""
        return subprocess.Popen(
            [*self.entering, sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def remove(self) -> None:
        run(f"ip netns del {self.name}")


class Network:
    """The namespace of one test, with interfaces cn0 and core."""

    def __init__(self) -> None:
        self.interface("cn0", "2001:db8:c::1/64")
        self.interface("core", "2001:db8:f::1/64")

    def interface(self, name: str, *addresses: str) -> None:
        make_interface(name, *addresses)

    def run(self, command: str) -> str:
        return run(command)

    def run_python(self, code: str) -> None:
        """Runs Python code in a process of its own, which must succeed."""
        root = Path(__file__).parents[2]
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def network() -> Iterator[Network]:
    """A namespace with two interfaces and nothing loaded."""
    with own_network():
        yield Network()


@pytest.fixture
def pin_path() -> Iterator[Path]:
    """A pin path of this test's own; nothing of it remains, whatever the test did."""
    path = Path(f"/sys/fs/bpf/homeagent-test-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    yield path
    for pinned in sorted(path.glob("v*/*")):
        pinned.unlink()
    for directory in [*path.glob("v*"), path]:
        with contextlib.suppress(FileNotFoundError):
            directory.rmdir()


@pytest.fixture
def namespaces() -> Iterator[Callable[[str], Namespace]]:
    """Makes named namespaces, and removes them all at the end."""
    made: list[Namespace] = []

    def make(name: str) -> Namespace:
        made.append(Namespace(f"dp{os.getpid()}-{name}"))
        return made[-1]

    yield make
    for namespace in made:
        namespace.remove()


@pytest.fixture
def hosts(namespaces: Callable[[str], Namespace], pin_path: Path) -> Iterator[Hosts]:
    """A home agent with nothing loaded yet, its correspondent and its nodes."""
    with running_hosts(namespaces, pin_path) as running:
        yield running
