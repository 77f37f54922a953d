"""The configuration files of the mobile node agent and of the simulator."""

from __future__ import annotations

import json
import re
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from control.config import ConfigurationError, Problem
from control.config.credentials import is_pem
from control.config.load import SectionReader
from control.config.schema import KeyExportSettings
from control.config.section import Settings
from control.config.toml_source import TomlSource, read_text
from control.config.values import Identity, SharedKey, decoder, parse_identity
from control.eap.account import EapAccount
from control.mobile_daemon.secrets import agent_secrets, shared_key
from control.mobility.addresses import is_unicast_routable

_T = TypeVar("_T")

_INTERFACE = Meta(pattern=r"^[^/\s:]{1,15}$")
_PATTERN = Meta(min_length=1, max_length=255)
_IDENTITY_AT_ADDRESS = r"^\S+@[0-9a-fA-F:]+$"
_SECRET_KEYS = ("shared_key", "password")
_PLACE = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def _about(description: str, example: object, **constraints: Any) -> Meta:
    return Meta(description=description, examples=[example], **constraints)


class AgentSettings(Settings, frozen=True, kw_only=True):
    """Section [mobile_node] of the agent's file."""

    identity: Annotated[Identity, _about("IKE identity of the node.", "mn1@mn.example.org")]
    home_address: Annotated[
        IPv6Address | None,
        _about("Its home address; without it the node asks the home agent for one.", "2001:db8:100::1001"),
    ] = None
    home_agent: Annotated[
        IPv6Address | None,
        _about("Home agent to register with; without it the node waits for one to come.", "2001:db8:a1::1"),
    ] = None
    home_agent_identity: Annotated[
        Identity | None, _about("Identity that home agent has to prove.", "ha1.example.org")
    ] = None
    trusted_home_agents: Annotated[
        tuple[Annotated[str, _PATTERN], ...],
        _about("Patterns of the identities of home agents that may serve the node.", ["*.example.org"], min_length=1),
    ]
    other_home_agents: Annotated[
        tuple[Annotated[str, Meta(pattern=_IDENTITY_AT_ADDRESS)], ...],
        _about(
            "Identities and addresses of further home agents, for a Home Agent Switch that names one by address.",
            ["ha2.example.org@2001:db8:a2::1"],
            extra={"wanted": "a list of strings of the form IDENTITY@ADDRESS"},
        ),
    ] = ()
    care_of_interface: Annotated[str, _about("Interface to the visited network.", "eth0", pattern=r"^[^/\s:]{1,15}$")]
    further_care_of_interfaces: Annotated[
        tuple[Annotated[str, _INTERFACE], ...],
        _about("Interfaces to use while that one is down, the preferred one first.", ["wlan0"]),
    ] = ()
    care_of_address: Annotated[
        IPv6Address | None,
        _about(
            "The only care-of address to use; without it the node takes what it finds and follows changes.",
            "2001:db8:c1::2",
        ),
    ] = None
    tun: Annotated[str, _about("Name of the TUN device to make.", "mip0", pattern=r"^[^/\s:]{1,15}$")] = "mip0"
    routes: Annotated[tuple[IPv6Network, ...], _about("Prefixes to route through the tunnel.", ["::/0"])] = (
        IPv6Network("::/0"),
    )
    mobile_network_prefixes: Annotated[
        tuple[IPv6Network, ...],
        _about("Prefixes of the network behind the node, which makes it a mobile router.", ["2001:db8:700::/56"]),
    ] = ()
    mobile_network_mode: Annotated[
        Literal["explicit", "implicit"],
        _about("Whether the node names these prefixes, or the home agent has to know them.", "explicit"),
    ] = "explicit"
    lifetime_s: Annotated[int, _about("Binding lifetime to ask for.", 600, ge=4, le=262_140)] = 600
    ike_lifetime_s: Annotated[float, _about("An IKE SA gets new keys after this long. 0: never.", 14400.0, ge=0)] = (
        14400.0
    )
    child_lifetime_s: Annotated[float, _about("The same for child SAs.", 3600.0, ge=0)] = 3600.0
    mobike: Annotated[bool, _about("Whether the node may move an IKE SA it began by MOBIKE.", True)] = True
    nat_traversal: Annotated[
        Literal["off", "auto", "force"],
        _about("Whether to look for NATs; force: ESP always in UDP, where nothing else gets through.", "auto"),
    ] = "auto"
    deregister_on_exit: Annotated[bool, _about("De-register before leaving.", True)] = True
    authentication: Annotated[
        Literal["certificate", "shared-key", "eap-md5", "eap-mschapv2"],
        _about("How node and home agents prove who they are.", "shared-key"),
    ] = "certificate"
    shared_key: Annotated[str | None, _about("The shared key: text, or 0x and hexadecimal digits.", "0x8f3c52d1")] = (
        None
    )
    shared_key_file: Annotated[Path | None, _about("A file with the shared key instead.", "mn1.psk")] = None
    password: Annotated[str | None, _about("The password, for EAP.", "correct horse battery staple")] = None
    password_file: Annotated[Path | None, _about("A file with the password instead.", "mn1.password")] = None
    eap_identity: Annotated[str | None, _about("User name within EAP; without it, identity.", "mn1")] = None
    certificate: Annotated[Path | None, _about("PEM file with the node's certificate chain.", "mn1.pem")] = None
    private_key: Annotated[Path | None, _about("PEM file with the certificate's key.", "mn1.key")] = None
    trust_anchors: Annotated[
        tuple[Path, ...], _about("PEM files that home agents' certificate chains end at.", ["ca.pem"])
    ] = ()

    def __repr__(self) -> str:
        return f"AgentSettings({self.identity!r})"

    @property
    def care_of_interfaces(self) -> tuple[str, ...]:
        """The interfaces to visited networks, the preferred one first."""
        return (self.care_of_interface, *self.further_care_of_interfaces)


class AgentConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The agent's whole file.

    Attributes:
        path: the file.
        node: section [mobile_node].
        secret: the shared key, None without one.
        eap: the account with all home agents, None without EAP.
        home_agent_identities: identities of known home agents by address.
        key_export: section [key_export].
    """

    path: Path
    node: AgentSettings
    secret: SharedKey | None
    eap: EapAccount | None
    home_agent_identities: dict[IPv6Address, str]
    key_export: KeyExportSettings


class SimulatedNodeEntry(Settings, frozen=True, kw_only=True):
    """One node of a simulation; certificate and private_key are paths or PEM text."""

    identity: Identity
    home_address: IPv6Address
    care_of_address: IPv6Address
    shared_key: str | None = None
    certificate: str | None = None
    private_key: str | None = None

    def __repr__(self) -> str:
        return f"SimulatedNodeEntry({self.identity!r})"


_Percent = Annotated[float, Meta(ge=0, le=100)]
_Milliseconds = Annotated[float, Meta(ge=0, le=60_000)]


class SimulatorSettings(Settings, frozen=True, kw_only=True):
    """Section "simulator" of a simulation's file; docs/mobile-node.md explains the keys."""

    care_of_prefix: IPv6Network
    tun: Annotated[str, _INTERFACE] = "sim0"
    home_agent: IPv6Address | None = None
    home_agent_identity: Identity | None = None
    trusted_home_agents: Annotated[tuple[Annotated[str, _PATTERN], ...], Meta(min_length=1)]
    lifetime_s: Annotated[int, Meta(ge=4, le=262_140)] = 3600
    rate_per_s: Annotated[float, Meta(gt=0, le=100_000)] = 200.0
    concurrency: Annotated[int, Meta(ge=1, le=65_536)] = 128
    loss_percent: _Percent = 0.0
    moves_per_s: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    delay_ms: _Milliseconds = 0.0
    jitter_ms: _Milliseconds = 0.0
    seed: int = 1
    trust_anchors: tuple[Path, ...] = ()
    summary_interval_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    report: Path | None = None
    nodes_file: Path | None = None
    forwarding: bool = True


class SimulationConfiguration(Settings, frozen=True, kw_only=True):
    """A simulation's whole file."""

    simulator: SimulatorSettings
    key_export: KeyExportSettings = KeyExportSettings()
    nodes: tuple[SimulatedNodeEntry, ...] = ()


class _NodesFile(Settings, frozen=True, kw_only=True):
    nodes: tuple[SimulatedNodeEntry, ...]


def load_agent_configuration(path: Path) -> AgentConfiguration:
    """Read and check the agent's file (TOML).

    Raises:
        ConfigurationError: with every mistake found.
    """
    path = path.absolute()
    source = TomlSource.read(path)
    reader = SectionReader(source, path.parent)
    for name in source.document:
        if name not in ("mobile_node", "key_export"):
            remedy = "Remove it; the sections here are mobile_node and key_export."
            reader.complain(source.line(name), name, "there is no such section", remedy)
    node = _section(reader, source, AgentSettings, "mobile_node")
    key_export = _section(reader, source, KeyExportSettings, "key_export")
    secret, eap, others = None, None, {}
    if node is not None:
        secret, eap = agent_secrets(node, reader, source)
        _check_mobile_network(node, reader, source)
        others = _other_home_agents(node, reader, source)
    if reader.problems or node is None or key_export is None:
        raise ConfigurationError(sorted(reader.problems, key=lambda problem: problem.line or 0))
    return AgentConfiguration(
        path=path,
        node=node,
        secret=secret,
        eap=eap,
        home_agent_identities=others,
        key_export=key_export,
    )


def load_simulation(path: Path) -> SimulationConfiguration:
    """Read and check a simulation's file, and the file of nodes it names (TOML or JSON, by the suffix).

    Raises:
        ConfigurationError: with the first mistake found.
    """
    path = path.absolute()
    configuration = _read(path, SimulationConfiguration)
    nodes = [_with_absolute_paths(node, path.parent) for node in configuration.nodes]
    nodes_file = configuration.simulator.nodes_file
    if nodes_file is not None:
        more = _read(nodes_file, _NodesFile)
        nodes += [_with_absolute_paths(node, nodes_file.parent) for node in more.nodes]
    configuration = msgspec.structs.replace(configuration, nodes=tuple(nodes))
    _check_nodes(nodes_file or path, configuration)
    return configuration


_S = TypeVar("_S", bound=Settings)


def _section(reader: SectionReader, source: TomlSource, kind: type[_S], name: str) -> _S | None:
    table = source.document.get(name, {})
    if not isinstance(table, dict):
        reader.complain(source.line(name), name, "a value stands here instead of a section", f"Write [{name}].")
        return None
    return reader.read(kind, table, (name,), name, _SECRET_KEYS)


def _check_mobile_network(node: AgentSettings, reader: SectionReader, source: TomlSource) -> None:
    """Complain of prefixes that a mobile router cannot have behind it."""
    for prefix in node.mobile_network_prefixes:
        if not is_unicast_routable(prefix.network_address) or not prefix.prefixlen:
            wrong, remedy = f"{prefix} is not routed between networks", "Write a prefix of unicast addresses."
        elif node.home_address is not None and node.home_address in prefix:
            wrong, remedy = f"{prefix} covers the home address", "Write the prefix of the network behind the node."
        elif node.care_of_address is not None and node.care_of_address in prefix:
            wrong, remedy = f"{prefix} covers the care-of address", "Write the prefix of the network behind the node."
        else:
            continue
        key = "mobile_network_prefixes"
        reader.complain(source.line("mobile_node", key), f"mobile_node.{key}", wrong, remedy)


def _other_home_agents(node: AgentSettings, reader: SectionReader, source: TomlSource) -> dict[IPv6Address, str]:
    others: dict[IPv6Address, str] = {}
    for entry in node.other_home_agents:
        identity, _, address = entry.rpartition("@")
        try:
            others[IPv6Address(address)] = str(parse_identity(identity))
        except ValueError:
            line = source.line("mobile_node", "other_home_agents")
            remedy = 'Write for example "ha2.example.org@2001:db8:a2::1".'
            reader.complain(line, "mobile_node.other_home_agents", f'"{entry}" is not IDENTITY@ADDRESS', remedy)
    return others


def _read(path: Path, kind: type[_T]) -> _T:
    """A whole document as one struct."""
    source: TomlSource | None = None
    if path.suffix == ".json":
        try:
            document = json.loads(read_text(path))
        except json.JSONDecodeError as error:
            problem = Problem(path, error.lineno, "", f"not JSON: {error.msg.lower()}", "Correct the syntax.")
            raise ConfigurationError([problem]) from None
    else:
        source = TomlSource.read(path)
        document = source.document
    try:
        return msgspec.convert(document, kind, dec_hook=decoder(path.parent))
    except msgspec.ValidationError as error:
        raise ConfigurationError([_validation_problem(path, source, error)]) from None


def _validation_problem(path: Path, source: TomlSource | None, error: msgspec.ValidationError) -> Problem:
    """Turn msgspec's ``wrong - at `$.nodes[3].home_address` `` into a problem with a place."""
    text = str(error)
    place = _PLACE.search(text)
    wrong = text[: place.start()] if place else text
    steps: list[str | int] = []
    for name, index in _STEP.findall(place[1] if place else ""):
        steps.append(name or (int(index) if index.isdigit() else index))
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    line = source.line(*steps) if source is not None else None
    return Problem(path, line, key, wrong[:1].lower() + wrong[1:], "docs/mobile-node.md says what belongs here.")


def _with_absolute_paths(node: SimulatedNodeEntry, folder: Path) -> SimulatedNodeEntry:
    paths = {
        key: str(folder / value)
        for key in ("certificate", "private_key")
        if (value := getattr(node, key)) is not None and not is_pem(value)
    }
    return msgspec.structs.replace(node, **paths) if paths else node


def _check_nodes(file: Path, configuration: SimulationConfiguration) -> None:
    """Refuse nodes that no simulation can be made of."""
    simulator = configuration.simulator
    if not configuration.nodes:
        raise _node_mistake(file, "nodes", "there are no nodes", "List at least one under nodes, or in nodes_file.")
    seen: dict[object, int] = {}
    for index, node in enumerate(configuration.nodes):
        key = f"nodes[{index}]"
        for value in (node.identity, node.home_address, node.care_of_address):
            if (first := seen.setdefault(value, index)) != index:
                raise _node_mistake(file, key, f"{value} is already taken by nodes[{first}]", "Give each node its own.")
        if node.care_of_address not in simulator.care_of_prefix:
            wrong = f"{node.care_of_address} is not in care_of_prefix, {simulator.care_of_prefix}"
            raise _node_mistake(file, f"{key}.care_of_address", wrong, "Choose an address of that prefix.")
        if (node.shared_key is None) == (node.certificate is None):
            remedy = "Give shared_key, or certificate and private_key."
            raise _node_mistake(file, key, "exactly one of shared_key and certificate is needed", remedy)
        if node.shared_key is not None:
            try:
                shared_key(node.shared_key)
            except ValueError:
                remedy = "Write text, or 0x and pairs of hexadecimal digits."
                raise _node_mistake(file, f"{key}.shared_key", "not a shared key", remedy) from None
        if (node.certificate is None) != (node.private_key is None):
            raise _node_mistake(file, key, "certificate and private_key go together", "Give both.")
        if node.certificate is not None and not simulator.trust_anchors:
            wrong = "the node authenticates by certificate, but there are no trust_anchors"
            raise _node_mistake(file, "simulator.trust_anchors", wrong, "Name the certificate authority's PEM file.")
        if node.shared_key is not None and simulator.home_agent is not None and not simulator.home_agent_identity:
            wrong = "with shared keys the nodes have to know whom they prove themselves to"
            raise _node_mistake(file, "simulator.home_agent_identity", wrong, "Add it.")


def _node_mistake(file: Path, key: str, wrong: str, remedy: str) -> ConfigurationError:
    return ConfigurationError([Problem(file, None, key, wrong, remedy)])
