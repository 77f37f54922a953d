"""A hundred upgrades and killed daemons under numbered packets in both directions: none lost, none twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from datapath import loader, netlink
from datapath.bindings import BindingMap
from datapath.bpf_syscall import program_load
from datapath.compiler import CompiledProgram, compile_program, program_text
from datapath.counters import read_counters
from datapath.loader import LoaderOptions, load
from datapath.netlink import XdpMode
from datapath.reasons import Reason
from datapath.show import show
from datapath.specialisation import Specialisation
from datapath.upgrade import upgrade
from tests.datapath.conftest import run
from tests.datapath.test_upgrade import _PASS, _XDP

pytestmark = [pytest.mark.namespaces, pytest.mark.timeout(600)]

PROGRAMS = 72
EXCHANGES = 8
KILLS = 20
AGENT = IPv6Address("2001:db8:f::1")
OTHER_AGENT = IPv6Address("2001:db8:f::2")
HOME = IPv6Address("2001:db8:100::5")
CARE_OF = IPv6Address("2001:db8:f::5")

# Sends a numbered packet in each direction every millisecond, and counts what arrives, until a line is read; then it
# waits for what is still under way.
FLOOD = """
import json, select, socket, struct, sys, time
from ipaddress import IPv6Address as A

def ipv6(source, destination, following, payload):
    addresses = A(source).packed + A(destination).packed
    return struct.pack("!IHBB", 6 << 28, len(payload), following, 64) + addresses + payload

def open_port(name):
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
    port.bind((name, 0x86DD))
    port.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE
    port.setblocking(False)
    return port

def numbered(number):
    return struct.pack("!HHHHQ", 4000, 4001, 16, 1, number)

home, care_of, agent, correspondent = "2001:db8:100::5", "2001:db8:f::5", "2001:db8:f::1", "2001:db8:c::2"
ports = {"cn0": open_port("cn0-peer"), "core": open_port("core-peer")}
def down(number):
    return ports["cn0"], mac_of["cn0"] + ipv6(correspondent, home, 17, numbered(number))
def up(number):
    inner = ipv6(home, correspondent, 17, numbered(number))
    return ports["core"], mac_of["core"] + ipv6(care_of, agent, 41, inner)
mac_of = {name: bytes([2, 0, 0, 0, 0, len(name), 2, 0, 0, 0, 0, 0x77, 0x86, 0xDD]) for name in ports}
ways = {"encapsulated": (down, ports["core"], 94), "decapsulated": (up, ports["cn0"], 54)}
sent, seen = 0, {way: bytearray(1 << 20) for way in ways}

def receive():
    for way, (_, port, offset) in ways.items():
        while True:
            try:
                frame, (_, _, kind, _, _) = port.recvfrom(2048)
            except BlockingIOError:
                break
            if kind == 4 or frame[offset:offset + 4] != struct.pack("!HH", 4000, 4001):
                continue  # our own, or another's
            seen[way][struct.unpack_from("!Q", frame, offset + 8)[0]] += 1

began = time.monotonic()
print("running", flush=True)
while not select.select([sys.stdin], [], [], 0.001)[0]:
    while sent < (time.monotonic() - began) * 1000:
        for send, _, _ in ways.values():
            port, frame = send(sent)
            port.send(frame)
        sent += 1
    receive()
ends = time.monotonic() + 2
while time.monotonic() < ends:
    time.sleep(0.01)
    receive()
print(json.dumps({"sent": sent, **{way: [counts[:sent].count(0), sum(counts) - sum(map(bool, counts))]
                                   for way, counts in seen.items()}}))
"""

# What the daemon does with the data path: keeps the maps as their writer and changes bindings all the time.
DAEMON = """
import sys
from ipaddress import IPv6Address as A
from pathlib import Path
from datapath.bindings import BindingMap
from datapath.generations import Writing
writing = Writing(Path(sys.argv[1]))
bindings = BindingMap.open(Path(sys.argv[1]))
other, number = A("2001:db8:100::100"), 0
print("serving", flush=True)
while True:
    number += 1
    bindings.install(other + number % 16, A("2001:db8:f::5"), A("2001:db8:f::1"))
    bindings.install(A("2001:db8:100::5"), A("2001:db8:f::5"), A("2001:db8:f::1"))
    bindings.remove(other + (number + 8) % 16)
"""


class Compiled:
    """Compiles each text once, for the maps it was compiled for."""

    def __init__(self) -> None:
        self.programs: dict[str, CompiledProgram] = {}
        self._kept: list[object] = []

    @contextmanager
    def __call__(self, specialisation: Specialisation, *name: str) -> Iterator[CompiledProgram]:
        text = program_text(specialisation, *name)
        if specialisation.pin_directory.name.endswith("_next"):  # other maps: nothing compiled before is of use
            with compile_program(specialisation, *name) as program:
                self.programs.clear()
                yield program
            return
        if text not in self.programs:
            context = compile_program(specialisation, *name)
            self._kept.append(context)
            self.programs[text] = context.__enter__()
        yield self.programs[text]

    def close(self) -> None:
        for context in self._kept:
            context.__exit__(None, None, None)  # type: ignore[attr-defined]


@pytest.fixture
def compiled(monkeypatch):
    compiled = Compiled()
    monkeypatch.setattr(loader, "compile_program", compiled)
    yield compiled
    compiled.close()


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_hundred_upgrades_and_kills_lose_and_repeat_no_packet(network, pin_path, compiled):
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    run("ip -6 neigh add 2001:db8:c::2 lladdr 02:00:00:00:0c:02 dev cn0 nud permanent")
    run("ip -6 neigh add 2001:db8:f::5 lladdr 02:00:00:00:0f:05 dev core nud permanent")
    passing = program_load(_XDP, _PASS, "pass")  # or else veth drops what is redirected to it
    for name in ("cn0-peer", "core-peer"):
        netlink.attach(netlink.interface_state(name).index, passing, XdpMode.NATIVE)
    options = LoaderOptions(["cn0", "core"], pin_path, [AGENT], max_bindings=64)
    load(options)
    with BindingMap.open(pin_path) as bindings:
        bindings.install(HOME, CARE_OF, AGENT)
    tags = set()
    flood = started(FLOOD)
    daemon = started(DAEMON, str(pin_path))
    done = {"programs": 0, "exchanges": 0, "kills": 0}
    try:
        for step in range(PROGRAMS + EXCHANGES):
            if step % ((PROGRAMS + EXCHANGES) // EXCHANGES) == 5:
                killed(daemon)  # whoever writes has to wait for this one, and this one only knows how to die
                options = replace(options, max_bindings=64 + 64 * (done["exchanges"] % 2 == 0))
                upgrade(options)
                daemon = started(DAEMON, str(pin_path))
                done["exchanges"] += 1
                done["kills"] += 1
                continue
            agents = [AGENT, OTHER_AGENT][: 1 + step % 2]
            tags.add(upgrade(replace(options, home_agent_addresses=agents)).program_id)
            done["programs"] += 1
            if step % 6 == 0 and done["kills"] - done["exchanges"] < KILLS - EXCHANGES:
                killed(daemon)
                daemon = started(DAEMON, str(pin_path))
                done["kills"] += 1
        out, _ = flood.communicate("stop\n", timeout=60)
    finally:
        killed(daemon)
        if flood.poll() is None:
            killed(flood)

    assert done == {"programs": PROGRAMS, "exchanges": EXCHANGES, "kills": KILLS}
    counted = json.loads(out)
    assert counted["sent"] > 1000
    assert counted["encapsulated"] == [0, 0], f"missing and repeated, of {counted['sent']}"
    assert counted["decapsulated"] == [0, 0], f"missing and repeated, of {counted['sent']}"
    assert len(tags) >= 2
    assert [row["attached"] for row in show(pin_path)["interfaces"]] == [True, True]
    counters = read_counters(pin_path)
    assert counters[Reason.FORWARD_ENCAPSULATED] >= counted["sent"]
    assert counters[Reason.FORWARD_DECAPSULATED] >= counted["sent"]
    with BindingMap.open(pin_path) as bindings:
        assert bindings.usage(HOME).encapsulated_packets == counters[Reason.FORWARD_ENCAPSULATED]
