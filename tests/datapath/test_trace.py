"""Where a packet goes, told by the loaded program itself."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import wrpcap

from control.cli.main import homeagent
from datapath.errors import InterfaceMissing
from datapath.reasons import Reason, Verdict
from datapath.trace import Tracer, UntraceableFrame

pytestmark = pytest.mark.namespaces


@pytest.fixture
def echo(testbed) -> Packet:
    link = Ether(src=testbed.correspondent_mac, dst=testbed.correspondent_side_mac)
    return link / IPv6(src=str(testbed.correspondent), dst=str(testbed.home), hlim=64) / ICMPv6EchoRequest(data=b"abc")


@pytest.fixture
def tracer(testbed):
    tracer = Tracer(testbed.pin_path, "cn0")
    yield tracer
    tracer.close()


@pytest.fixture
def configuration(testbed, tmp_path: Path) -> Path:
    file = tmp_path / "homeagent.toml"
    file.write_text(
        f'[home_agent]\nname = "ha1"\naddress = "{testbed.home_agent}"\nhome_prefixes = ["2001:db8:100::/64"]\n'
        f'[datapath]\ninterfaces = ["cn0", "core"]\npin_path = "{testbed.pin_path}"\n'
    )
    return file


def trace(configuration: Path, *arguments: str):
    return CliRunner().invoke(homeagent, ["datapath", "trace", "--config", str(configuration), *arguments])


def test_a_packet_to_a_home_address_is_seen_to_leave_in_the_tunnel(testbed, tracer, echo):
    direct = testbed.run(bytes(echo))
    traced = tracer.run(bytes(echo))
    assert traced.verdict is Verdict.FORWARD
    assert traced.reasons == (Reason.FORWARD_ENCAPSULATED,)
    assert traced.frame == direct.frame
    assert traced.leaves_by == "core"


def test_an_answer_leaves_by_where_the_packet_came_in(tracer, echo):
    echo[IPv6].hlim = 1
    traced = tracer.run(bytes(echo))
    assert (traced.verdict, traced.reasons) == (Verdict.REPLY, (Reason.REPLY_TIME_EXCEEDED,))
    assert traced.leaves_by == "cn0"


def test_what_is_passed_leaves_by_nothing(tracer, echo):
    echo[IPv6].dst = "2001:db8:c::1"
    traced = tracer.run(bytes(echo))
    assert (traced.verdict, traced.reasons, traced.leaves_by) == (Verdict.PASS, (Reason.PASS_NOT_OURS,), None)
    assert traced.frame == bytes(echo)


@pytest.mark.parametrize("size", [0, 13, 3401])
def test_frames_that_the_kernel_would_not_take_are_refused(tracer, size):
    with pytest.raises(UntraceableFrame, match=f"{size} bytes"):
        tracer.run(bytes(size))


def test_only_interfaces_that_are_served_are_taken(testbed):
    with pytest.raises(InterfaceMissing, match="choose one of cn0, core"):
        Tracer(testbed.pin_path, "plain")


def test_the_command_tells_of_packets_and_captures(configuration, echo, tmp_path):
    capture = tmp_path / "frames.pcap"
    wrpcap(str(capture), [echo, Ether() / b"x"])
    packet = bytes(echo).hex(":")
    done = trace(configuration, "--packet", packet, "--pcap", str(capture), "--interface", "cn0", "--json")
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.output.splitlines()]
    assert [row["number"] for row in rows] == [1, 2, 3]
    assert [row["reasons"] for row in rows] == [["forward-encapsulated"]] * 2 + [["pass-not-ipv6"]]
    assert rows[0]["verdict"] == "forward"
    assert rows[0]["leaves_by"] == "core"
    assert IPv6(bytes.fromhex(rows[0]["frame"])[14:])[IPv6:2].dst == echo[IPv6].dst
    assert rows[2]["frame"] is None

    shown = trace(configuration, "--packet", packet).output
    assert "1: forward, forward-encapsulated" in shown
    assert "in  by cn0, 65 bytes: Ether / IPv6 / ICMPv6 Echo Request" in shown
    assert "out by core, 105 bytes: Ether / IPv6 / IPv6 / ICMPv6 Echo Request" in shown


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "name a frame with --packet"),
        (("--packet", "zz"), "'zz' is not hexadecimal digits"),
        (("--packet", "00"), "packet 1: A frame of 1 bytes cannot be traced"),
        (("--pcap", "/nowhere.pcap"), "No such file"),
        (("--pcap", __file__), "no capture that can be read"),
        (("--packet", "00", "--interface", "eth9"), "choose one of cn0, core"),
    ],
)
def test_what_cannot_be_traced_is_told(configuration, arguments, complaint):
    done = trace(configuration, *arguments)
    assert done.exit_code == 2 if complaint.startswith("name") else done.exit_code != 0
    assert complaint in done.output
    assert "Traceback" not in done.output


def test_a_capture_of_another_link_layer_is_refused(configuration, tmp_path):
    capture = tmp_path / "raw.pcap"
    capture.write_bytes(
        struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101) + struct.pack("=4I", 0, 0, 1, 1) + b"x"
    )
    done = trace(configuration, "--pcap", str(capture))
    assert "link type 101, not Ethernet" in done.output
