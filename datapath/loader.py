"""Loads the data path: makes and pins the maps, compiles the program, attaches it. A short step of its own.

Loading again keeps the maps, and with them every binding and counter, and replaces the program on each interface
without losing a frame. Whatever fails leaves things as they were.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from datapath import attachments as attaching
from datapath import bpffs, generations, netlink
from datapath.attachments import Attachment, OwnPrograms
from datapath.bpf_syscall import Map, object_pin, program_info
from datapath.compiler import CompiledProgram, CompiledText
from datapath.errors import DatapathError
from datapath.hashing import draw_hash_key
from datapath.home_link import HomeLink
from datapath.home_link_program import home_link_compiled, home_link_served
from datapath.layout import (
    CONFIGURATION,
    INDEX,
    MAX_HOME_AGENTS,
    MOST_BINDINGS,
    PROGRAM_NAME,
    SCHEMA_VERSION,
    local_key,
    pin_directory,
)
from datapath.netlink import InterfaceState, XdpMode
from datapath.network_changes import NetworkChanges
from datapath.pinned_maps import create_maps
from datapath.program_cache import CACHE
from datapath.served_links import serve_links
from datapath.slow_path_programs import slow_path_compiled, slow_path_served
from datapath.specialisation import Specialisation
from datapath.stranger_limits import StrangerLimits
from datapath.vlans import VlanMaps


@dataclass(frozen=True, slots=True)
class LoaderOptions:
    """What to load and where.

    Attributes:
        interfaces: the interfaces to serve, of this thread's network namespace; exactly these afterwards.
        pin_path: directory on a BPF file system; each home agent of a machine has its own.
        home_agent_addresses: addresses tunnels and signalling end at.
        max_bindings: size of the maps of bindings and usage; fixed while the data path stays loaded.
        xdp_mode: ``native``, ``generic``, or ``auto``: native where the driver has it, else generic.
        home_prefixes: what this host sends there goes to care-of addresses with a routing header, as the kernel's IPsec
            needs it; empty for no such device.
        mobile_networks: whether packets to and from the networks of mobile routers are tunnelled (RFC 3963).
        home_links: those of the interfaces, or VLAN devices on them, that have hosts of a home link behind them
            (RFC 6275 section 10.4.1).
        vlans: whether frames with the tags of VLAN devices on the interfaces are served.
        home_agent_ipv4_addresses: addresses tunnels over IPv4 end at; empty for no such tunnels.
        stranger_limits: of what strangers may send to the home agent, None for none.
        loaded_by: version of homeagent, for whoever asks what is loaded.
        program_cache: directory of programs compiled before, see :mod:`datapath.program_cache`.
    """

    interfaces: Sequence[str]
    pin_path: Path
    home_agent_addresses: Sequence[IPv6Address]
    max_bindings: int
    xdp_mode: str = "auto"
    home_prefixes: Sequence[IPv6Network] = ()
    mobile_networks: bool = False
    home_links: Sequence[str] = ()
    vlans: bool = False
    home_agent_ipv4_addresses: Sequence[IPv4Address] = ()
    stranger_limits: StrangerLimits | None = None
    loaded_by: str = ""
    program_cache: Path = CACHE


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was loaded.

    Attributes:
        maps_reused: whether the maps, and the bindings in them, were there before.
        verified_instructions: what the verifier walked (its limit is 1,000,000); 0 if the kernel does not tell.
        compile_s: seconds until the programs were compiled, or found compiled, and verified.
        home_link: the device for what this host sends to home addresses, None if there is none.
    """

    pin_path: Path
    interfaces: list[Attachment]
    program_id: int
    program_tag: str
    maps_reused: bool
    max_bindings: int
    verified_instructions: int
    kernel_headers: str
    compile_s: float
    home_link: HomeLink | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same, of types JSON has."""
        link = None if self.home_link is None else self.home_link.to_dict()
        return asdict(self) | {"pin_path": str(self.pin_path), "home_link": link}


@dataclass(frozen=True, slots=True)
class Loading:
    """One loading: what goes where, and in the place of what.

    Attributes:
        options: see there.
        directory: where the maps are pinned and the programs are going to be.
        before: directory of the programs that are there now; the same one if the maps stay.
        states: the interfaces, as they are now.
        own: the programs they may carry.
        maps_reused: whether the maps, or what was in them, were there before.
    """

    options: LoaderOptions
    directory: Path
    before: Path
    states: Sequence[InterfaceState]
    own: OwnPrograms
    maps_reused: bool


def load(options: LoaderOptions) -> LoadReport:
    """Loads the data path, or brings the loaded one up to date if its maps can stay.

    Raises:
        StalePin: they cannot: :func:`datapath.upgrade.upgrade` exchanges them.
        DatapathError: any other failure.
    """
    check_options(options)
    directory = pin_directory(options.pin_path)
    bpffs.ensure_directory(directory)
    with bpffs.locked(options.pin_path), OwnPrograms(options.pin_path) as own:
        try:
            generations.tidy(options.pin_path)
            generations.require_current(options.pin_path)
            states = [netlink.interface_state(name) for name in options.interfaces]
            created = create_maps(directory, options.max_bindings)
        except BaseException:
            _remove_if_empty(directory)
            raise
        try:
            return load_program(Loading(options, directory, directory, states, own, maps_reused=not created))
        except BaseException:
            for path in (directory / attaching.PROGRAM_PINS[1], *created):
                path.unlink(missing_ok=True)
            _remove_if_empty(directory)
            raise


def check_options(options: LoaderOptions) -> None:
    """Raises DatapathError if they cannot be what anybody wants."""
    if not options.interfaces:
        raise DatapathError("No interface is named: set datapath.interfaces to those facing the network.")
    if len(set(options.interfaces)) != len(options.interfaces):
        raise DatapathError("An interface is named twice: correct datapath.interfaces.")
    on_interfaces = {device.name for device in netlink.vlan_devices()} if options.vlans else set()
    if strangers := sorted(set(options.home_links) - set(options.interfaces) - on_interfaces):
        raise DatapathError(f"{strangers[0]} is a home link but not among the interfaces: correct datapath.home_links.")
    addresses = len(options.home_agent_addresses) + len(options.home_agent_ipv4_addresses)
    if not options.home_agent_addresses or addresses > MAX_HOME_AGENTS:
        raise DatapathError(f"Between 1 and {MAX_HOME_AGENTS} home agent addresses are needed.")
    if not 1 <= options.max_bindings <= MOST_BINDINGS:
        raise DatapathError(f"max_bindings must be between 1 and {MOST_BINDINGS}: correct datapath.max_bindings.")
    if options.xdp_mode not in tuple(XdpMode):
        raise DatapathError(f"xdp_mode is {options.xdp_mode!r}: set it to auto, native or generic.")


def _remove_if_empty(directory: Path) -> None:
    for path in (directory, directory.parent):
        try:
            path.rmdir()
        except OSError:
            return


def load_program(loading: Loading, swapping: Callable[[], AbstractContextManager[None]] = nullcontext) -> LoadReport:
    """Compiles the programs for the maps in a directory, and puts them in the place of what is there.

    Args:
        loading: see there.
        swapping: entered once everything is compiled and verified, for as long as programs are being exchanged.

    Raises:
        DatapathError: it failed; what is attached is as it was.
    """
    started = time.monotonic()
    options, directory, before, own = loading.options, loading.directory, loading.before, loading.own
    specialisation = _specialisation(options, directory)
    text = CompiledText(specialisation, cache=options.program_cache)
    with (
        text.loaded(PROGRAM_NAME) as program,
        slow_path_compiled(text) as slow_path_programs,
        home_link_compiled(options.home_prefixes, specialisation, options.program_cache) as link,
    ):
        compile_s = time.monotonic() - started
        pin, next_pin = (directory / name for name in attaching.PROGRAM_PINS)
        next_pin.unlink(missing_ok=True)
        object_pin(program.descriptor, next_pin)
        home_link = home_link_served(
            options.pin_path,
            options.home_prefixes,
            link,
            directory=directory,
            before=before,
            narrowest=min(state.mtu for state in loading.states),
        )
        slow_path = slow_path_served(
            options.pin_path, program, own, slow_path_programs, directory=directory, before=before
        )
        with swapping():
            rows_before = {row.index: row for row in generations.recorded_in(before)}
            with home_link as served_home_link, slow_path:
                attachments = _exchange(loading, program, rows_before)
            _write_configuration(directory, options, program)
            next_pin.rename(pin)
        served = {state.index for state in loading.states}
        _drop_others(pin_directory(options.pin_path), rows_before.keys() - served, own)
        info = program_info(program.descriptor)
        return LoadReport(
            pin_path=options.pin_path,
            interfaces=attachments,
            program_id=info.id,
            program_tag=info.tag,
            maps_reused=loading.maps_reused,
            max_bindings=options.max_bindings,
            verified_instructions=info.verified_instructions,
            kernel_headers=program.kernel_headers,
            compile_s=compile_s,
            home_link=served_home_link,
        )


def _exchange(loading: Loading, program: CompiledProgram, before: Mapping[int, Attachment]) -> list[Attachment]:
    """Attaches the program, between filling the maps with what it needs and clearing what only the one before did."""
    options, directory = loading.options, loading.directory
    with Map.open(directory / "local") as local:
        serve_links(directory, options.home_links, options.home_agent_addresses[0])
        obsolete = _add_local(local, [*options.home_agent_addresses, *options.home_agent_ipv4_addresses])
        attachments = _attach_all(loading, program, before)
        with closing(NetworkChanges.open(directory)) as changes:
            changes.tell()  # the program before may not have known of mobile networks
        with VlanMaps.open_in(directory) as vlans:
            vlans.replace(netlink.vlan_devices() if options.vlans else [])
        for key in obsolete:
            local.delete(key)
    return attachments


def _specialisation(options: LoaderOptions, directory: Path) -> Specialisation:
    return Specialisation(
        directory,
        options.max_bindings,
        _hash_key(directory, options),
        tuple(options.home_agent_addresses),
        mobile_networks=options.mobile_networks,
        home_links=bool(options.home_links),
        vlans=options.vlans,
        home_agent_ipv4_addresses=tuple(options.home_agent_ipv4_addresses),
        stranger_limits=options.stranger_limits,
    )


def _hash_key(directory: Path, options: LoaderOptions) -> bytes:
    """The key that places bindings: drawn when the maps are made, and theirs for good."""
    with Map.open(directory / "hash_key") as opened:
        key = opened.lookup(INDEX.pack(0)) or b""
        if not any(key):
            key = draw_hash_key(options.max_bindings, options.home_agent_addresses)
            opened.update(INDEX.pack(0), key)
    return key


def _add_local(local: Map, addresses: Sequence[IPv4Address | IPv6Address]) -> list[bytes]:
    """Adds the addresses; returns the keys that are to go once the new program is on."""
    wanted = {local_key(address) for address in addresses}
    present = set(local.keys())
    for key in wanted - present:
        local.update(key, INDEX.pack(1))
    return list(present - wanted)


def _attach_all(loading: Loading, program: CompiledProgram, before: Mapping[int, Attachment]) -> list[Attachment]:
    requested, own = XdpMode(loading.options.xdp_mode), loading.own
    with Map.open(loading.directory / "attachments") as rows, Map.open(loading.directory / "ports") as ports:
        done: list[Attachment] = []
        try:
            for state in loading.states:
                known = before.get(state.index)
                note = known.note if known and known.name == state.name else ""
                done.append(attaching.attach(state, program.descriptor, requested, own, note))
        except BaseException:
            for state in loading.states[: len(done)]:
                attaching.restore(state, program.descriptor, own)
            raise
        _record(rows, ports, done)
        return done


def _record(rows: Map, ports: Map, done: list[Attachment]) -> None:
    """Records the attachments; with modes mixed, only native ones are ports, for native XDP sends to no others."""
    has_native = any(attachment.actual_mode is XdpMode.NATIVE for attachment in done)
    for attachment in done:
        is_port = not has_native or attachment.actual_mode is XdpMode.NATIVE
        attaching.write_row(rows, ports, attachment, is_port=is_port)


def _drop_others(directory: Path, indices: Iterable[int], own: OwnPrograms) -> None:
    with Map.open(directory / "attachments") as rows, Map.open(directory / "ports") as ports:
        for index in indices:
            _drop_interface(index, own)
            attaching.remove_row(rows, ports, index)


def _drop_interface(index: int, own: OwnPrograms) -> None:
    """Takes the program off an interface that is no longer served; one that is gone or another's is let be."""
    try:
        state = netlink.interface_state(index)
        if state.program in own.descriptors:
            attaching.detach(state, own)
    except (netlink.NetlinkRefused, DatapathError):
        return


def _write_configuration(directory: Path, options: LoaderOptions, program: CompiledProgram) -> None:
    version = options.loaded_by.encode("ascii", "replace")[:32]
    with Map.open(directory / "config") as config:
        value = CONFIGURATION.pack(SCHEMA_VERSION, options.max_bindings, int(time.time()), program.digest, version)
        config.update(INDEX.pack(0), value)
