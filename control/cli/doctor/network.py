"""The network: interfaces and their drivers, the home agent address, forwarding, ports."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

from control.cli.doctor.finding import Finding, ok, problem, told, warning
from control.cli.doctor.ipv4 import examine_ipv4
from control.cli.doctor.routes import examine_routes
from control.config import Configuration
from control.config.datapath_settings import DatapathSettings
from control.ikev2.address import IKE_PORT, NAT_TRAVERSAL_PORT
from datapath import ethtool, netlink
from datapath.attachments import Attachment, recorded
from datapath.errors import DatapathError
from datapath.netlink import InterfaceState, XdpMode
from datapath.preflight import NATIVE_DRIVERS, examine_interface


def examine_network(configuration: Configuration, *, serving: bool) -> Iterator[Finding]:
    """What the configuration needs of the network.

    Args:
        configuration: the file.
        serving: whether the daemon runs, so that its ports are taken.
    """
    attached = _attachments(configuration.datapath.pin_path)
    for name in configuration.datapath.interfaces:
        yield from _check_interface(name, configuration.datapath, attached)
    address = str(configuration.home_agent.address)
    yield _check_address(address)
    yield from examine_ipv4(configuration.home_agent.ipv4_addresses, configuration.datapath.interfaces)
    if configuration.routes.announce:
        yield from examine_routes(configuration.route_lifetime_s)
    yield from _check_ports(configuration, address, serving=serving)


def _attachments(pin_path: Path) -> dict[str, Attachment] | None:
    try:
        return {attachment.name: attachment for attachment in recorded(pin_path)}
    except DatapathError:
        return None


def _check_interface(
    name: str, settings: DatapathSettings, attached: dict[str, Attachment] | None
) -> Iterator[Finding]:
    try:
        state = netlink.interface_state(name)
    except DatapathError as error:
        yield told(f"interface {name}", error)
        return
    yield _check_program(state, settings.xdp_mode, attached)
    yield from _check_properties(state, vlans=settings.vlans)
    yield _check_forwarding(name)


def _check_program(state: InterfaceState, wanted: str, attached: dict[str, Attachment] | None) -> Finding:
    name, check = state.name, f"interface {state.name}"
    driver = ethtool.driver(name)
    about = f"driver {driver or 'unknown'}, MTU {state.mtu}"
    known = attached.get(name) if attached else None
    if known is not None and known.index == state.index and state.program:
        if known.actual_mode is XdpMode.NATIVE:
            return ok(check, f"native XDP, {about}")
        return warning(check, f"generic XDP ({known.note}), {about}", "See docs/operations.md for native XDP.")
    if attached is not None:
        says = f"the data path is loaded, but not attached here; {about}"
        return problem(check, says, "Run `homeagent datapath load`.")
    if driver in NATIVE_DRIVERS or wanted == "generic":
        return ok(check, f"nothing attached yet, {about}")
    remedy = "Use a card whose driver has native XDP; generic XDP costs most of the speed."
    return (problem if wanted == "native" else warning)(check, f"native XDP is not to be expected, {about}", remedy)


def _check_properties(state: InterfaceState, *, vlans: bool) -> Iterator[Finding]:
    for notice in examine_interface(state, vlans=vlans):
        if notice.about != "driver":  # told with the program
            yield warning(f"{notice.about} of {state.name}", notice.says, notice.remedy)


def _check_forwarding(name: str) -> Finding:
    check = f"forwarding on {name}"
    path = Path("/proc/sys/net/ipv6/conf", name, "forwarding")
    try:
        on = path.read_text(encoding="ascii").strip() != "0"
    except OSError:
        return problem(check, "there is no IPv6 on it", "Switch IPv6 on.")
    if not on:
        return problem(check, "off, so XDP gets no routes", "sysctl -w net.ipv6.conf.all.forwarding=1")
    return ok(check, "on")


def _check_address(address: str) -> Finding:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            says = f"{address} cannot be used ({error.strerror})"
            return problem("home agent address", says, f"ip address add {address}/64 dev INTERFACE")
    return ok("home agent address", f"{address} is on this machine")


def _check_ports(configuration: Configuration, address: str, *, serving: bool) -> Iterator[Finding]:
    wanted = [(f"UDP port {port}", socket.SOCK_DGRAM, address, port) for port in (IKE_PORT, NAT_TRAVERSAL_PORT)]
    listen = configuration.metrics.listen
    if listen is not None:
        wanted.append((f"TCP port {listen.port}", socket.SOCK_STREAM, listen.host, listen.port))
    for check, kind, host, port in wanted:
        if serving:
            yield ok(check, "held by the running daemon, it is to be supposed")
            continue
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    continue  # told already
                remedy = f"End what has it: ss -lnp 'sport = :{port}' tells."
                yield problem(check, f"cannot be had on {host} ({error.strerror})", remedy)
                continue
        yield ok(check, f"free on {host}")
