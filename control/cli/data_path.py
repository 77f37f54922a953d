"""`homeagent datapath`: the short steps that compile, attach and pin, and their opposite."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, fields
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from control.cli.failures import told
from control.cli.options import configuration_option, json_option
from control.cli.output import pairs, print_json, table
from control.cli.output import show as show_table
from control.cli.trace import trace
from control.config import Configuration, load_configuration
from control.config.stranger_settings import StrangerSettings
from control.control_socket import Answer, CommandError, ask
from control.version import installed_version
from datapath.stranger_limits import StrangerLimits

if TYPE_CHECKING:
    from datapath.loader import LoaderOptions, LoadReport

_DAEMON_STARTS_WITHIN_S = 30.0


@click.group()
def datapath() -> None:
    """Load, look at and unload the XDP programs and their maps."""


@datapath.command()
@configuration_option
@json_option
def load(path: Path, as_json: bool) -> None:
    """Attach the XDP program to the interfaces.

    Compiles it first where that was not done yet, and pins program and maps.

    Loading again replaces the program without losing a packet and keeps all bindings.
    """
    from datapath.loader import load as load_data_path

    with told():
        _load(load_configuration(path), as_json, load_data_path)


@datapath.command()
@configuration_option
@json_option
def upgrade(path: Path, as_json: bool) -> None:
    """Replace program and maps under a running daemon.

    As `load`, also where the maps have another layout or size by now: bindings and counters are taken along.

    No packet is lost. The running daemon waits with its acknowledgements meanwhile and goes over to the new maps; if
    its own version does not know them, it ends for the service manager to start the new one. What fails changes
    nothing.
    """
    from datapath.upgrade import upgrade as upgrade_data_path

    with told():
        configuration = load_configuration(path)
        pause = partial(_daemon_held, configuration)
        _load(configuration, as_json, partial(upgrade_data_path, pause=pause))


@contextmanager
def _daemon_held(configuration: Configuration) -> Iterator[bool]:
    """Has the daemon change no binding for the length of the block; whether there is one."""
    answer = _held_answer(configuration)
    if answer is None:
        yield False
        return
    with answer:
        rows = iter(answer)  # the connection lasts as long as this does
        try:
            next(rows)
        except CommandError as error:
            raise CommandError(
                f"the running daemon cannot wait for an upgrade ({error.message})",
                "Stop it, upgrade, start it again; packets are forwarded meanwhile.",
            ) from None
        yield True


def _held_answer(configuration: Configuration) -> Answer | None:
    """None without a daemon; one that has just begun to write answers in a moment."""
    from datapath.generations import is_written

    deadline = time.monotonic() + _DAEMON_STARTS_WITHIN_S
    while True:
        try:
            return ask(configuration.control.socket, "hold-data-path", timeout_s=60.0)
        except CommandError:
            if not is_written(configuration.datapath.pin_path) or time.monotonic() > deadline:
                return None
        time.sleep(0.05)


def _load(configuration: Configuration, as_json: bool, load_data_path: Callable[[LoaderOptions], LoadReport]) -> None:
    from control.daemon.back_end import choose_for_loading
    from datapath.loader import LoaderOptions
    from datapath.netlink import interface_state
    from datapath.preflight import examine_interface

    settings = configuration.datapath
    back_end = choose_for_loading(configuration)
    report = load_data_path(
        LoaderOptions(
            interfaces=settings.interfaces,
            pin_path=settings.pin_path,
            home_agent_addresses=[configuration.home_agent.address],
            home_agent_ipv4_addresses=configuration.home_agent.ipv4_addresses,
            max_bindings=settings.max_bindings,
            xdp_mode=settings.xdp_mode,
            home_prefixes=configuration.home_agent.home_prefixes if back_end.kernel else (),
            mobile_networks=configuration.mobility.mobile_routers,
            home_links=settings.home_links,
            vlans=settings.vlans,
            stranger_limits=_stranger_limits(configuration.strangers),
            loaded_by=installed_version(),
        )
    ).to_dict()
    notices = [
        notice
        for name in settings.interfaces
        for notice in examine_interface(interface_state(name), vlans=settings.vlans)
    ]
    if as_json:
        ipsec = {"back_end": back_end.name, "reason": back_end.reason}
        print_json(report | {"ipsec": ipsec, "notices": [asdict(notice) for notice in notices]})
        return
    kept = "maps kept" if report["maps_reused"] else "maps made"
    click.echo(
        f"loaded program {report['program_id']}, {kept} under {report['pin_path']}, room for "
        f"{report['max_bindings']} bindings, compiled and verified in {report['compile_s']:.1f} s"
    )
    for interface in report["interfaces"]:
        click.echo(f"  {_interface_text(interface)}")
    for notice in notices:
        click.echo(f"  note: {notice}")
    click.echo(f"  IPsec by the {back_end.name} back end: {back_end.reason}")
    if report["home_link"] is not None:
        click.echo(f"  {_home_link_text(report['home_link'])}")


@datapath.command()
@configuration_option
@json_option
def show(path: Path, as_json: bool) -> None:
    """What is loaded: interfaces, program, maps, counters."""
    from datapath.show import show as show_data_path

    with told():
        shown = show_data_path(load_configuration(path).datapath.pin_path)
        if as_json:
            print_json(shown)
            return
        _print_shown(shown)


@datapath.command()
@configuration_option
@json_option
def bindings(path: Path, as_json: bool) -> None:
    """The bindings that packets follow now.

    As the maps have them, with what went into and out of each tunnel. `homeagent bindings` tells more of each.
    """
    from datapath.bindings import BindingMap, Usage

    with told():
        with BindingMap.open(load_configuration(path).datapath.pin_path) as opened:
            entries, usages = opened.entries(), opened.usages()
        rows = [
            (str(home), str(tunnel.care_of_address), str(tunnel.home_agent_address), *astuple(usages[home]))
            for home, tunnel in sorted(entries.items())
            if home in usages
        ]
        names = ("home_address", "care_of_address", "home_agent_address", *(field.name for field in fields(Usage)))
        if as_json:
            print_json([dict(zip(names, row, strict=True)) for row in rows])
            return
        titles = ("HOME ADDRESS", "CARE-OF ADDRESS", "HOME AGENT", "PACKETS IN", "BYTES IN", "PACKETS OUT", "BYTES OUT")
        show_table(table(titles, rows))


datapath.add_command(trace)


@datapath.command()
@configuration_option
@json_option
def verify(path: Path, as_json: bool) -> None:
    """Have this kernel verify the programs, attached to nothing.

    In every combination of features. What is loaded is not touched. Tells after an upgrade of the kernel or of
    homeagent whether the programs are accepted, and how far they are from the verifier's limit. The exit status is 1
    if one is refused.
    """
    from datapath.verification import VERIFIER_LIMIT, verify

    with told():
        configuration = load_configuration(path)
        verified = list(verify(configuration.datapath.pin_path, (configuration.home_agent.address,)))
        if as_json:
            print_json([asdict(each) for each in verified])
            sys.exit(any(each.refusal for each in verified))
        rows = (
            (
                each.program,
                ", ".join(each.features) or "none",
                each.instructions,
                each.verified_instructions,
                "REFUSED" if each.refusal else f"{each.verified_instructions / VERIFIER_LIMIT:.1%}",
            )
            for each in verified
        )
        show_table(table(("PROGRAM", "FEATURES", "INSTRUCTIONS", "VERIFIED", "OF THE LIMIT"), rows))
        sys.exit(any(each.refusal for each in verified))


@datapath.command()
@configuration_option
@json_option
def unload(path: Path, as_json: bool) -> None:
    """Take the program off the interfaces: forwarding ends.

    The pins are removed, bindings and counters included.
    """
    from control.daemon.back_end import remove_kernel_leftovers
    from datapath.unload import unload as unload_data_path

    with told():
        settings = load_configuration(path).datapath
        report = unload_data_path(settings.pin_path, settings.interfaces).to_dict()
        if report["home_link_removed"]:
            remove_kernel_leftovers()
        if as_json:
            print_json(report)
            return
        detached = ", ".join(report["detached"]) or "no interface"
        link = ", home link removed" if report["home_link_removed"] else ""
        click.echo(f"unloaded: taken off {detached}, {report['pins_removed']} pins removed{link}")


def _stranger_limits(settings: StrangerSettings) -> StrangerLimits | None:
    if not settings.limits:
        return None
    return StrangerLimits(
        ike_per_network=settings.ike_requests_per_network_per_s,
        ike_of_new_networks=settings.ike_requests_of_new_networks_per_s,
        mobility_per_network=settings.mobility_messages_per_network_per_s,
        mobility=settings.mobility_messages_per_s,
        burst_s=settings.burst_s,
    )


def _interface_text(interface: dict[str, Any]) -> str:
    note = f" ({interface['note']})" if interface["note"] else ""
    now = ""
    if not interface.get("attached", True):
        elsewhere = interface["program_id"] is None
        now = ", not in this network namespace" if elsewhere else ", BUT THE PROGRAM IS NOT ATTACHED NOW"
    return f"{interface['name']}: {interface['actual_mode']} mode, asked for {interface['requested_mode']}{note}{now}"


def _local_time(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s).astimezone().isoformat(sep=" ", timespec="seconds")


def _home_link_text(link: dict[str, Any]) -> str:
    return f"{link['device']}: home link of {', '.join(link['prefixes'])} ({link['kind']} device, MTU {link['mtu']})"


def _print_shown(shown: dict[str, Any]) -> None:
    program = shown["program"]
    link = shown["home_link"]
    show_table(
        pairs(
            [
                ("program", f"{program['name']}, id {program['id']}, tag {program['tag']}"),
                ("loaded", f"{_local_time(shown['loaded_at'])} by homeagent {shown['loaded_by'] or 'unknown'}"),
                ("text", f"{program['source_digest']}, {program['verified_instructions']} instructions verified"),
                ("pins", f"{shown['pin_path']} (layout {shown['schema_version']})"),
                ("home agent", ", ".join(shown["home_agent_addresses"])),
                *(("interface", _interface_text(interface)) for interface in shown["interfaces"]),
                *([] if link is None else [("home link", _home_link_text(link))]),
            ]
        )
    )
    click.echo()
    rows = ((entry["name"], entry["entries"], entry["capacity"]) for entry in shown["maps"])
    show_table(table(("MAP", "ENTRIES", "CAPACITY"), rows))
    click.echo()
    counted = ((reason, count) for reason, count in shown["counters"].items() if count)
    show_table(table(("REASON", "PACKETS"), counted))
