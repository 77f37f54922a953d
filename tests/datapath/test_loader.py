"""Loading, loading again, and unloading, in a network namespace."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from datapath import attachments, loader, netlink
from datapath.bindings import BindingMap
from datapath.bpf_syscall import Map, MapType, map_create, object_pin, program_info
from datapath.compiler import CompiledText
from datapath.counters import Counters, read_counters
from datapath.errors import (
    AttachFailed,
    CompileFailed,
    DatapathError,
    InterfaceBusy,
    InterfaceMissing,
    NotLoaded,
    StalePin,
)
from datapath.layout import (
    FRAGMENTATION_PROGRAM_NAME,
    HASH_KEY,
    MAX_REASONS,
    PROGRAM_NAME,
    SLOW_PATH_PROGRAM_NAMES,
    pin_directory,
)
from datapath.loader import LoaderOptions, load
from datapath.netlink import XdpMode
from datapath.object_code import ObjectCode
from datapath.show import show
from datapath.specialisation import Specialisation
from datapath.unload import unload

pytestmark = pytest.mark.namespaces

AGENT = IPv6Address("2001:db8:f::1")
HOME = IPv6Address("2001:db8:100::5")
CARE_OF = IPv6Address("2001:db8:f::5")


@pytest.fixture
def options(network, pin_path) -> LoaderOptions:
    return LoaderOptions(["cn0", "core"], pin_path, [AGENT], max_bindings=32)


def attached(name: str) -> int:
    return netlink.interface_state(name).program


def pin(path: Path, *, kind: MapType = MapType.HASH, value_size: int = 40, entries: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = map_create(kind, 16, value_size, entries, path.name)
    object_pin(descriptor, path)
    os.close(descriptor)


def test_loads_shows_and_unloads(options):
    report = load(options)

    assert [(row.name, row.actual_mode, row.note) for row in report.interfaces] == [
        ("cn0", XdpMode.NATIVE, ""),
        ("core", XdpMode.NATIVE, ""),
    ]
    assert not report.maps_reused
    assert attached("cn0") == attached("core") == report.program_id
    shown = show(options.pin_path)
    assert json.loads(json.dumps(shown)) == shown
    assert json.loads(json.dumps(report.to_dict()))["interfaces"][0]["actual_mode"] == "native"
    assert shown["program"]["id"] == report.program_id
    assert shown["home_agent_addresses"] == [str(AGENT)]
    assert [(row["name"], row["attached"]) for row in shown["interfaces"]] == [("cn0", True), ("core", True)]
    assert {"name": "bindings", "entries": 0, "capacity": 32}.items() <= shown["maps"][0].items()

    removed = unload(options.pin_path)

    assert (removed.detached, removed.untouched) == (["cn0", "core"], [])
    assert attached("cn0") == attached("core") == 0
    assert not options.pin_path.exists()
    with pytest.raises(NotLoaded, match="homeagent datapath load"):
        show(options.pin_path)
    with pytest.raises(NotLoaded):
        unload(options.pin_path)


def test_loading_again_keeps_bindings_and_counters(options):
    first = load(options)
    with BindingMap.open(options.pin_path) as bindings:
        bindings.install(HOME, CARE_OF, AGENT)
    with Map.open(pin_directory(options.pin_path) / "stats") as stats:
        stats.update((64).to_bytes(4, "little"), (7).to_bytes(8, "little") + bytes(stats.value_size - 8))

    second = load(replace(options, home_agent_addresses=[AGENT + 1]))

    assert second.maps_reused
    assert second.program_id != first.program_id
    assert attached("cn0") == attached("core") == second.program_id
    with BindingMap.open(options.pin_path) as bindings:
        assert list(bindings.entries()) == [HOME]
    assert list(read_counters(options.pin_path).values()).count(7) == 1
    assert show(options.pin_path)["home_agent_addresses"] == [str(AGENT + 1)]


def test_the_program_is_never_off_while_it_is_replaced(options, monkeypatch):
    load(options)
    seen = []
    exchange = netlink._exchange

    def watched(message, body):
        reply = exchange(message, body)
        if message is netlink._Message.SET_LINK:
            seen.append(attached("cn0") * attached("core"))
        return reply

    monkeypatch.setattr(netlink, "_exchange", watched)
    load(options)

    assert len(seen) == 3  # the slow path's exit, then these
    assert all(seen)


def test_an_interface_left_out_is_no_longer_served(options):
    load(options)
    report = load(replace(options, interfaces=["core"]))

    assert attached("cn0") == 0
    assert attached("core") == report.program_id
    assert [row["name"] for row in show(options.pin_path)["interfaces"]] == ["core"]


def test_an_interface_made_anew_is_attached_again(options, network):
    load(options)
    network.run("ip link del cn0")
    network.interface("cn0")

    shown = {row["name"]: row["attached"] for row in show(options.pin_path)["interfaces"]}
    assert shown == {"cn0": False, "core": True}
    report = load(options)

    assert attached("cn0") == report.program_id
    assert [row["attached"] for row in show(options.pin_path)["interfaces"]] == [True, True]


def test_a_map_of_another_size_is_refused(options):
    load(options)
    before = attached("cn0")

    with pytest.raises(StalePin, match=r"another layout or size.*max_bindings = 64.*homeagent datapath upgrade"):
        load(replace(options, max_bindings=64))

    assert attached("cn0") == before
    unload(options.pin_path)
    load(replace(options, max_bindings=64))
    with BindingMap.open(options.pin_path) as bindings:
        assert bindings.capacity == 64


@pytest.mark.parametrize("change", [{"value_size": 48}, {"kind": MapType.ARRAY}])
def test_a_map_of_another_layout_is_refused_and_can_be_unloaded(options, change, monkeypatch):
    path = pin_directory(options.pin_path) / "bindings"
    if change.get("kind") is MapType.ARRAY:
        path.parent.mkdir(parents=True)
        descriptor = map_create(MapType.ARRAY, 4, 40, 32, "bindings")
        object_pin(descriptor, path)
        os.close(descriptor)
    else:
        pin(path, **change)

    with pytest.raises(StalePin, match=r"another layout or size.*homeagent datapath unload"):
        load(options)
    for name in ("usage", "home_networks", "hash_key"):
        pin(pin_directory(options.pin_path) / name)
    with pytest.raises(StalePin, match="another layout"):
        BindingMap.open(options.pin_path)

    assert unload(options.pin_path).pins_removed == 4
    load(options)


def test_counters_of_another_layout_are_refused(options):
    pin(pin_directory(options.pin_path) / "stats", entries=MAX_REASONS)

    with pytest.raises(StalePin, match="another layout"):
        Counters.open(options.pin_path)


def test_a_missing_interface_is_named_and_nothing_remains(options):
    with pytest.raises(InterfaceMissing, match=r"eth9.*datapath\.interfaces"):
        load(replace(options, interfaces=["core", "eth9"]))

    assert attached("core") == 0
    assert not options.pin_path.exists()


def test_somebody_elses_program_is_left_alone(options, pin_path, network):
    load(options)
    other = replace(options, pin_path=Path(f"{pin_path}b"), interfaces=["core"])

    with pytest.raises(InterfaceBusy, match="xdp off"):
        load(other)

    assert not other.pin_path.exists()
    assert show(options.pin_path)["interfaces"][1]["attached"]


def test_unloading_leaves_somebody_elses_program(options, pin_path, network):
    load(options)
    network.run("ip link set dev cn0 xdp off")
    other = replace(options, pin_path=Path(f"{pin_path}b"), interfaces=["cn0"])
    theirs = load(other)
    try:
        report = unload(options.pin_path)

        assert (report.detached, report.untouched) == (["core"], ["cn0"])
        assert attached("cn0") == theirs.program_id
    finally:
        unload(other.pin_path)


def test_a_failure_half_way_leaves_the_first_interface_as_it_was(options, network):
    network.run("ip link set core-peer mtu 9000")

    with pytest.raises(AttachFailed, match="MTU"):
        load(replace(options, xdp_mode="native"))

    assert attached("cn0") == 0
    assert not options.pin_path.exists()


def test_a_failure_half_way_while_loading_again_restores_the_old_program(options, network):
    before = load(options)
    network.interface("late")
    network.run("ip link set late-peer mtu 9000")

    with pytest.raises(AttachFailed):
        load(replace(options, interfaces=["cn0", "core", "late"], xdp_mode="native"))

    assert attached("cn0") == attached("core") == before.program_id
    assert show(options.pin_path)["program"]["id"] == before.program_id
    assert not (pin_directory(options.pin_path) / attachments.PROGRAM_PINS[1]).exists()


def test_auto_falls_back_to_generic_and_says_why(options, network):
    network.run("ip link set core-peer mtu 9000")

    report = load(options)

    native, generic = report.interfaces
    assert (native.actual_mode, generic.actual_mode) == (XdpMode.NATIVE, XdpMode.GENERIC)
    assert "MTU" in generic.note
    assert generic.requested_mode is XdpMode.AUTO
    with Map.open(pin_directory(options.pin_path) / "ports") as ports:
        # Native XDP cannot hand frames to an interface in generic mode: it is no port.
        assert ports.lookup(native.index.to_bytes(4, "little")) == native.index.to_bytes(4, "little")
        assert ports.lookup(generic.index.to_bytes(4, "little")) is None
    again = load(options)
    assert again.interfaces == report.interfaces


def test_a_changed_mode_takes_effect(options):
    load(options)
    report = load(replace(options, xdp_mode="generic"))

    assert [row.actual_mode for row in report.interfaces] == [XdpMode.GENERIC] * 2
    assert netlink.interface_state("core").generic_program == report.program_id
    assert netlink.interface_state("core").native_program == 0
    assert show(options.pin_path)["interfaces"][0]["requested_mode"] == "generic"
    assert unload(options.pin_path).detached == ["cn0", "core"]


def test_a_loader_killed_before_the_last_step_is_recovered_from(options, monkeypatch):
    load(options)
    next_pin = pin_directory(options.pin_path) / attachments.PROGRAM_PINS[1]
    specialisation = Specialisation(
        pin_directory(options.pin_path), options.max_bindings, bytes(HASH_KEY.size), [AGENT]
    )
    with CompiledText(specialisation).loaded(PROGRAM_NAME) as program:
        object_pin(program.descriptor, next_pin)
        state = netlink.interface_state("core")
        with attachments.OwnPrograms(options.pin_path) as own:
            attachments.attach(state, program.descriptor, XdpMode.AUTO, own)

    report = load(options)

    assert attached("cn0") == attached("core") == report.program_id
    assert not next_pin.exists()


def test_a_program_that_does_not_compile_leaves_nothing(options, monkeypatch):
    monkeypatch.setattr("datapath.compiler.program_text", lambda *_: "int home_agent(void *c) { return what; }")

    with pytest.raises(CompileFailed, match="use of undeclared identifier 'what'"):
        load(options)

    assert not options.pin_path.exists()
    assert attached("cn0") == 0


def test_a_program_the_verifier_refuses_shows_its_words(options, monkeypatch):
    text = "int home_agent(struct xdp_md *c) { return *(int *)(long)c->data; }"
    text += "".join(f"int {name}(void *c) {{ return 0; }}" for name in SLOW_PATH_PROGRAM_NAMES)
    monkeypatch.setattr("datapath.compiler.program_text", lambda *_: text)

    with pytest.raises(CompileFailed, match="invalid access to packet"):
        load(options)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"interfaces": []}, r"datapath\.interfaces"),
        ({"interfaces": ["core", "core"]}, "twice"),
        ({"home_agent_addresses": []}, "home agent address"),
        ({"max_bindings": 0}, "max_bindings"),
        ({"xdp_mode": "fast"}, "xdp_mode"),
    ],
)
def test_wrong_options_are_named(options, change, named):
    with pytest.raises(DatapathError, match=named):
        load(replace(options, **change))


def test_a_pin_path_elsewhere_is_refused(options, tmp_path):
    with pytest.raises(DatapathError, match="not on a BPF file system"):
        load(replace(options, pin_path=tmp_path / "homeagent"))


def test_a_pin_path_with_a_dot_is_refused(options):
    with pytest.raises(DatapathError, match="dot"):
        load(replace(options, pin_path=Path("/sys/fs/bpf/home.agent")))


def test_the_daemon_side_needs_no_compiler(options, network):
    load(options)
    code = (
        "import sys; from pathlib import Path; from datapath.bindings import BindingMap; "
        "from datapath.counters import read_counters; from datapath.show import show; "
        f"p = Path('{options.pin_path}'); BindingMap.open(p); read_counters(p); show(p); "
        "assert 'bcc' not in sys.modules"
    )
    network.run_python(code)


def test_the_program_name_fits_the_kernel():
    assert len(PROGRAM_NAME) <= 15
    assert loader.SCHEMA_VERSION >= 1


def compiled(cache: Path) -> Path:
    (found,) = cache.glob(f"{PROGRAM_NAME}-*")
    return found


def test_a_program_is_compiled_once_and_serves_home_agents_with_other_keys_and_addresses(network, pin_path, tmp_path):
    testbed_key, other_key = bytes(range(HASH_KEY.size)), bytes(range(1, HASH_KEY.size + 1))
    directory = pin_directory(pin_path)
    load(LoaderOptions(["cn0"], pin_path, [AGENT], max_bindings=32))
    one = Specialisation(directory, 32, testbed_key, [AGENT])
    other = Specialisation(directory, 32, other_key, [IPv6Address("2001:db8:f::2")])

    with CompiledText(one, cache=tmp_path).loaded(PROGRAM_NAME) as program:
        first = program.digest, program_info(program.descriptor).tag
    written = compiled(tmp_path).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datapath.compiler._compile", None)
        with CompiledText(other, cache=tmp_path).loaded(PROGRAM_NAME) as program:
            second = program.digest, program_info(program.descriptor).tag
        with CompiledText(one, cache=tmp_path).loaded(FRAGMENTATION_PROGRAM_NAME):
            pass  # of the same text
        with CompiledText(one, cache=tmp_path).loaded(PROGRAM_NAME) as program:
            assert (program.digest, program_info(program.descriptor).tag) == first

    assert first[0] != second[0]
    assert first[1] != second[1]  # the kernel's own digest of the instructions
    assert testbed_key[:8][::-1].hex().encode() not in written
    assert testbed_key[:8].hex().encode() not in written
    unload(pin_path)


def test_what_was_kept_and_is_refused_by_the_verifier_is_compiled_anew(network, pin_path, tmp_path):
    load(LoaderOptions(["cn0"], pin_path, [AGENT], max_bindings=32))
    specialisation = Specialisation(pin_directory(pin_path), 32, bytes(HASH_KEY.size), [AGENT])
    with CompiledText(specialisation, cache=tmp_path).loaded(PROGRAM_NAME):
        good = compiled(tmp_path).read_bytes()
    endless = ObjectCode(bytes.fromhex("0500ffff00000000"), {}, "headers")  # jumps to itself
    compiled(tmp_path).write_bytes(endless.to_bytes())

    with CompiledText(specialisation, cache=tmp_path).loaded(PROGRAM_NAME) as program:
        assert program_info(program.descriptor).verified_instructions > 1000

    assert compiled(tmp_path).read_bytes() == good
    unload(pin_path)
