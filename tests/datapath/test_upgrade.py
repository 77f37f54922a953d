"""Upgrading a loaded data path to other maps: what is carried, who waits, and what a failure leaves behind."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from datapath import generations, netlink
from datapath import upgrade as upgrading
from datapath.bindings import BindingMap
from datapath.errors import CompileFailed, DatapathError, MapFull
from datapath.generations import Writing
from datapath.layout import SCHEMA_VERSION
from datapath.loader import LoaderOptions, load
from datapath.mobile_networks import MobileNetworkMap
from datapath.show import show
from datapath.upgrade import upgrade
from tests.datapath.upgrades import AGENT, CARE_OF, HOME, OTHER_AGENT, TUNNELS, assert_carried, attached, install

pytestmark = pytest.mark.namespaces


@pytest.fixture
def options(network, pin_path) -> LoaderOptions:
    return LoaderOptions(["cn0", "core"], pin_path, [AGENT], max_bindings=32, loaded_by="1.0")


def test_more_room_takes_everything_along(options):
    before = load(options)
    install(options.pin_path)

    report = upgrade(replace(options, max_bindings=100, loaded_by="1.1"))

    assert report.program_id != before.program_id
    assert attached("cn0") == attached("core") == report.program_id
    assert_carried(options.pin_path)
    with BindingMap.open(options.pin_path) as bindings:
        assert bindings.capacity == 100
    shown = show(options.pin_path)
    assert (shown["loaded_by"], shown["schema_version"]) == ("1.1", SCHEMA_VERSION)
    assert [row["attached"] for row in shown["interfaces"]] == [True, True]
    assert [path.name for path in options.pin_path.iterdir()] == [f"v{SCHEMA_VERSION}"]


def test_mobile_networks_name_the_slots_of_the_new_table(options):
    network = IPv6Network("2001:db8:200::/56")
    load(replace(options, mobile_networks=True))
    install(options.pin_path)
    networks = MobileNetworkMap.open(options.pin_path)
    with BindingMap.open(options.pin_path) as bindings:
        networks.replace(HOME, [network], bindings.slot(HOME))
    networks.close()

    upgrade(replace(options, mobile_networks=True, max_bindings=100))

    networks = MobileNetworkMap.open(options.pin_path)
    with BindingMap.open(options.pin_path) as bindings:
        assert networks.entries() == {network: HOME}
        assert networks._slots == {network: bindings.slot(HOME)}
    networks.close()


def test_an_upgrade_that_needs_no_other_maps_keeps_them(options):
    load(options)
    identifier = show(options.pin_path)["maps"][0]["id"]

    report = upgrade(replace(options, home_agent_addresses=[OTHER_AGENT]))

    shown = show(options.pin_path)
    assert (shown["program"]["id"], shown["maps"][0]["id"]) == (report.program_id, identifier)


def test_an_upgrade_of_nothing_loads(options):
    assert not upgrade(options).maps_reused


def test_the_digest_tells_texts_apart_wherever_they_are_pinned(options):
    load(options)
    first = show(options.pin_path)["program"]["source_digest"]
    upgrade(replace(options, max_bindings=100))
    second = show(options.pin_path)["program"]["source_digest"]
    load(replace(options, max_bindings=100))

    assert first != second == show(options.pin_path)["program"]["source_digest"]


def test_less_room_than_bindings_is_refused(options):
    before = load(options)
    install(options.pin_path)

    with pytest.raises(MapFull, match=r"30 bindings.*room for 16.*max_bindings"):
        upgrade(replace(options, max_bindings=16))

    assert_as_before(options, before.program_id)


def assert_as_before(options: LoaderOptions, program: int) -> None:
    assert attached("cn0") == attached("core") == program
    assert show(options.pin_path)["program"]["id"] == program
    assert [path.name for path in options.pin_path.iterdir()] == [f"v{SCHEMA_VERSION}"]
    assert_carried(options.pin_path)


def test_a_program_that_the_verifier_refuses_changes_nothing(options, monkeypatch):
    before = load(options)
    install(options.pin_path)
    monkeypatch.setattr("datapath.compiler.program_text", lambda *_: "int home_agent(void *c) { return what; }")

    with pytest.raises(CompileFailed):
        upgrade(replace(options, max_bindings=100))

    assert_as_before(options, before.program_id)


@pytest.mark.parametrize("step", ["_carry_bindings", "_carry_what_was_counted_meanwhile", "_make_maps"])
def test_a_failure_at_any_step_changes_nothing(options, monkeypatch, step):
    before = load(options)
    install(options.pin_path)

    def fail(*_: object) -> None:
        raise DatapathError("as if")

    monkeypatch.setattr(upgrading, step, fail)
    with pytest.raises(DatapathError, match="as if"):
        upgrade(replace(options, max_bindings=100))

    assert_as_before(options, before.program_id)


KILLED = """
import os, signal, sys
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from datapath import generations, netlink, upgrade as upgrading
from datapath.loader import LoaderOptions

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

where, path = sys.argv[1:]
if where == "between the interfaces":
    exchange, seen = netlink.attach, []
    def attach(*arguments):
        if seen:
            die()
        seen.append(1)
        exchange(*arguments)
    netlink.attach = attach
elif where == "after the last step":
    generations.put_in_force = lambda following, step=generations.put_in_force: (step(following), die())
else:
    module, _, name = where.partition(".")
    setattr({"upgrade": upgrading, "generations": generations}[module], name, die)
options = LoaderOptions(["cn0", "core"], Path(path), [IPv6Address("2001:db8:f::1")], max_bindings=100)
upgrading.upgrade(options)
"""


@pytest.mark.parametrize(
    "where",
    [
        "upgrade._make_maps",
        "upgrade._carry_bindings",
        "between the interfaces",
        "upgrade._carry_what_was_counted_meanwhile",
        "generations.put_in_force",
    ],
)
def test_an_upgrade_that_is_killed_is_undone_by_who_comes_next(options, where):
    before = load(options)
    install(options.pin_path)
    assert kill_at(where, options.pin_path) == -signal.SIGKILL

    Writing(options.pin_path).close()  # as the daemon does

    assert attached("cn0") == attached("core") == before.program_id
    assert_carried(options.pin_path)
    report = upgrade(replace(options, max_bindings=100))
    assert attached("cn0") == attached("core") == report.program_id
    assert_carried(options.pin_path)
    assert [path.name for path in options.pin_path.iterdir()] == [f"v{SCHEMA_VERSION}"]


def test_an_upgrade_that_is_killed_after_its_last_step_stands(options):
    before = load(options)
    install(options.pin_path)
    assert kill_at("after the last step", options.pin_path) == -signal.SIGKILL

    Writing(options.pin_path).close()

    assert attached("cn0") == attached("core") == show(options.pin_path)["program"]["id"] != before.program_id
    assert_carried(options.pin_path)
    load(replace(options, max_bindings=100))
    assert [path.name for path in options.pin_path.iterdir()] == [f"v{SCHEMA_VERSION}"]


def kill_at(where: str, pin_path: Path) -> int:
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", KILLED, where, str(pin_path)], cwd=root, check=False).returncode


def test_an_interface_that_was_not_served_before_is_free_again_after_a_kill(options):
    before = load(replace(options, interfaces=["core"]))
    assert kill_at("generations.put_in_force", options.pin_path) == -signal.SIGKILL
    assert attached("cn0") not in (0, before.program_id)

    assert generations.recover(options.pin_path)

    assert (attached("cn0"), attached("core")) == (0, before.program_id)


def test_a_mode_that_the_upgrade_changed_is_what_it_was_after_a_failure(options, monkeypatch):
    before = load(options)

    def fail(*_: object) -> None:
        raise DatapathError("as if")

    monkeypatch.setattr(upgrading, "_carry_what_was_counted_meanwhile", fail)
    with pytest.raises(DatapathError, match="as if"):
        upgrade(replace(options, max_bindings=100, xdp_mode="generic"))

    states = [netlink.interface_state(name) for name in options.interfaces]
    assert [state.native_program for state in states] == [before.program_id] * 2
    assert [row["actual_mode"] for row in show(options.pin_path)["interfaces"]] == ["native", "native"]


def test_a_writer_that_does_not_wait_stops_the_upgrade(options):
    load(options)
    install(options.pin_path)
    before = attached("core")
    writing = Writing(options.pin_path)

    with pytest.raises(DatapathError, match="Another process writes bindings"):
        upgrade(replace(options, max_bindings=100))

    assert_as_before(options, before)
    writing.close()
    upgrade(replace(options, max_bindings=100))


def test_a_writer_that_waits_goes_over_to_the_new_maps(options):
    load(options)
    install(options.pin_path)
    writing = Writing(options.pin_path)
    bindings = BindingMap.open(options.pin_path)
    late = HOME + 1000
    paused = []

    @contextlib.contextmanager
    def pause() -> Iterator[bool]:
        bindings.install(late, CARE_OF, AGENT)
        bindings.remove(HOME)
        yield True
        paused.append(bindings.follow())

    upgrade(replace(options, max_bindings=100), pause)

    assert paused == [True]
    assert not bindings.follow()
    bindings.install(HOME + 1001, CARE_OF, AGENT)
    with BindingMap.open(options.pin_path) as seen:
        assert set(seen.entries()) == (TUNNELS.keys() - {HOME}) | {late, HOME + 1001}
    bindings.close()
    writing.close()


def test_what_the_old_program_counts_after_the_copy_is_counted(options, monkeypatch):
    load(options)
    install(options.pin_path)
    old = BindingMap.open(options.pin_path)

    attach = netlink.attach

    def count_and_attach(*arguments):
        old._table.usages[0, old._slot(HOME), 0] += 3
        attach(*arguments)

    monkeypatch.setattr(netlink, "attach", count_and_attach)
    upgrade(replace(options, max_bindings=100))

    with BindingMap.open(options.pin_path) as bindings:
        assert bindings.usage(HOME).encapsulated_packets == 5 + 3 * 3  # two interfaces and the slow path
    old.close()
