"""`homeagent datapath`: the short step that compiles, attaches and pins, and its opposite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from control.cli.failures import told
from control.cli.options import configuration_option, json_option
from control.cli.output import console, pairs, print_json, table
from control.config import load_configuration
from control.config.stranger_settings import StrangerSettings
from datapath.stranger_limits import StrangerLimits


@click.group()
def datapath() -> None:
    """Load, look at and unload the XDP programs and their maps."""


@datapath.command()
@configuration_option
@json_option
def load(path: Path, as_json: bool) -> None:
    """Compile the XDP program, attach it to the interfaces, pin program and maps.

    Loading again replaces the program without losing a packet and keeps all bindings.
    """
    from control.daemon.back_end import choose_for_loading
    from datapath.loader import LoaderOptions
    from datapath.loader import load as load_data_path

    with told():
        configuration = load_configuration(path)
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
                stranger_limits=_stranger_limits(configuration.strangers),
            )
        ).to_dict()
        if as_json:
            print_json(report | {"ipsec": {"back_end": back_end.name, "reason": back_end.reason}})
            return
        kept = "maps kept" if report["maps_reused"] else "maps made"
        click.echo(
            f"loaded program {report['program_id']}, {kept} under {report['pin_path']}, room for "
            f"{report['max_bindings']} bindings, compiled in {report['compile_s']:.1f} s"
        )
        for interface in report["interfaces"]:
            click.echo(f"  {_interface_text(interface)}")
        click.echo(f"  IPsec by the {back_end.name} back end: {back_end.reason}")
        if report["home_link"] is not None:
            click.echo(f"  {_home_link_text(report['home_link'])}")


@datapath.command()
@configuration_option
@json_option
def show(path: Path, as_json: bool) -> None:
    """What is loaded: interfaces and their mode, program, maps, counters."""
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
    """The bindings that packets follow now, as the maps have them; `homeagent bindings` tells more of each."""
    from datapath.bindings import BindingMap

    with told():
        with BindingMap.open(load_configuration(path).datapath.pin_path) as opened:
            entries = opened.entries()
        rows = [
            (str(home), str(tunnel.care_of_address), str(tunnel.home_agent_address))
            for home, tunnel in sorted(entries.items())
        ]
        names = ("home_address", "care_of_address", "home_agent_address")
        if as_json:
            print_json([dict(zip(names, row, strict=True)) for row in rows])
            return
        console().print(table(("HOME ADDRESS", "CARE-OF ADDRESS", "HOME AGENT"), rows))


@datapath.command()
@configuration_option
@json_option
def unload(path: Path, as_json: bool) -> None:
    """Take the program off the interfaces and remove the pins, bindings and counters included."""
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


def _home_link_text(link: dict[str, Any]) -> str:
    return f"{link['device']}: home link of {', '.join(link['prefixes'])} ({link['kind']} device, MTU {link['mtu']})"


def _print_shown(shown: dict[str, Any]) -> None:
    screen = console()
    program = shown["program"]
    link = shown["home_link"]
    screen.print(
        pairs(
            [
                ("program", f"{program['name']}, id {program['id']}, tag {program['tag']}"),
                ("pins", f"{shown['pin_path']} (layout {shown['schema_version']})"),
                ("home agent", ", ".join(shown["home_agent_addresses"])),
                *(("interface", _interface_text(interface)) for interface in shown["interfaces"]),
                *([] if link is None else [("home link", _home_link_text(link))]),
            ]
        )
    )
    screen.print()
    rows = ((entry["name"], entry["entries"], entry["capacity"]) for entry in shown["maps"])
    screen.print(table(("MAP", "ENTRIES", "CAPACITY"), rows))
    screen.print()
    counted = ((reason, count) for reason, count in shown["counters"].items() if count)
    screen.print(table(("REASON", "PACKETS"), counted))
