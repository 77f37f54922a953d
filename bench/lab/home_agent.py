"""A real home agent in its namespace: data path loaded, daemon served, watched, killed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import Any

from bench.lab.credentials import DOMAIN, Credentials, Subscriber
from bench.lab.errors import LabError
from bench.lab.laboratory import Laboratory
from bench.lab.pki import write_private
from bench.lab.processes import LabProcess
from bench.lab.product import homeagent_command
from bench.lab.streams import ControlStream, JsonObject, control_request
from bench.lab.toml import Table, toml_document
from bench.lab.topology import Host, RoutedCore

_LOAD_TIMEOUT_S = 240.0


@dataclass(frozen=True, slots=True)
class HomeAgentOptions:
    """What the laboratory varies in a home agent's configuration file."""

    home_prefixes: Sequence[IPv6Network]
    store: Path | str
    max_bindings: int = 4096
    #: Interfaces with hosts of a home link behind them, served beside the host's own.
    home_links: Sequence[str] = ()
    #: Where tunnels over IPv4 end; none, if there are none.
    ipv4_addresses: Sequence[IPv4Address] = ()
    #: Whether frames with VLAN tags are served.
    vlans: bool = False
    bootstrap: Table = field(default_factory=dict)
    cluster: Table = field(default_factory=dict)
    ike: Table = field(default_factory=dict)
    strangers: Table = field(default_factory=dict)
    mobility: Table = field(default_factory=dict)
    routes: Table = field(default_factory=dict)
    #: Who does ESP, as `[ipsec] back_end` has it.
    back_end: str = "auto"
    #: Where to append session keys for Wireshark; None: nowhere.
    key_directory: Path | None = None


class HomeAgentUnderTest:
    """`homeagent serve` and what belongs to it."""

    def __init__(
        self,
        laboratory: Laboratory,
        host: Host,
        credentials: Credentials,
        subscribers: Sequence[Subscriber],
        options: HomeAgentOptions,
    ) -> None:
        self.name = host.namespace.role
        self.host = host
        self.identity = f"{self.name}.{DOMAIN}"
        self.pin_path = laboratory.pin_path(self.name)
        self._laboratory = laboratory
        self._directory = laboratory.subdirectory(self.name)
        self.configuration = self._directory / "homeagent.toml"
        self.socket = self._directory / "control.sock"
        self._daemon: LabProcess | None = None
        self._loader: LabProcess | None = None
        self._write_configuration(credentials, subscribers, options)

    @property
    def daemon(self) -> LabProcess:
        """The running (or killed) daemon.

        Raises:
            LabError: it was never started.
        """
        if self._daemon is None:
            raise LabError(f"{self.name} was not started")
        return self._daemon

    def begin_load(self) -> None:
        """Start `homeagent datapath load`: compiling takes a while, so several can be under way."""
        command = homeagent_command("datapath", "load", "--config", str(self.configuration))
        self._loader = self._laboratory.spawn(self.host.namespace, f"{self.name}-load", command)

    def finish_load(self) -> None:
        """Wait until XDP is attached.

        Raises:
            LabError: it failed, with its complaint.
        """
        if self._loader is None:
            raise LabError(f"{self.name}: no load has begun")
        if status := self._loader.wait(_LOAD_TIMEOUT_S):
            raise LabError(f"{self.name}: datapath load ended with {status}:\n{self._loader.complaint()}")

    def serve(self, *, died_by_itself: bool = False) -> None:
        """Start the daemon (again, after a kill, which is not to count as a death of its own making)."""
        if not died_by_itself:
            self.socket.with_suffix(".deaths").unlink(missing_ok=True)
        command = homeagent_command("serve", "--config", str(self.configuration))
        self._daemon = self._laboratory.spawn(self.host.namespace, f"{self.name}-serve", command)

    def wait_ready(self, timeout_s: float = 120.0) -> JsonObject:
        """Wait until the daemon answers on its control socket; its first status.

        Raises:
            LabError: it ended, or does not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self.daemon.require_running()
            try:
                return self.status()
            except LabError as error:
                if time.monotonic() > deadline:
                    raise LabError(f"{self.name} is not ready after {timeout_s:g} s: {error}") from None
            time.sleep(0.05)

    def bring_up(self) -> None:
        """Load the data path and start the daemon; returns once it answers."""
        self.begin_load()
        self.finish_load()
        self.serve()
        self.wait_ready()

    def status(self) -> JsonObject:
        """The answer to the command `status`."""
        rows, done = control_request(self.socket, "status")
        return rows[0] if rows else done

    def bindings(self) -> list[JsonObject]:
        """The answer to the command `bindings`."""
        return control_request(self.socket, "bindings")[0]

    def sas(self) -> list[JsonObject]:
        """The answer to the command `sas`."""
        return control_request(self.socket, "sas")[0]

    def events(self) -> ControlStream:
        """Follow the daemon's timeline."""
        return ControlStream(self.socket, "events")

    def past_events(self) -> list[JsonObject]:
        """What the daemon still keeps of its timeline (the latest 20,000 entries or so)."""
        return control_request(self.socket, "events", {"follow": False})[0]

    def show_datapath(self) -> dict[str, Any]:
        """What `homeagent datapath show --json` prints; works while the daemon is dead, too."""
        command = homeagent_command("datapath", "show", "--json", "--config", str(self.configuration))
        shown = json.loads(self.host.namespace.run(command))
        if not isinstance(shown, dict):
            raise LabError(f"{self.name}: datapath show printed no JSON object")
        return shown

    def fail(self, core: RoutedCore) -> float:
        """Power failure: SIGKILL the daemon and take the link down. When the link was down (CLOCK_MONOTONIC)."""
        self.daemon.kill()
        core.cut(self.host)
        return time.monotonic()

    def _write_configuration(
        self, credentials: Credentials, subscribers: Sequence[Subscriber], options: HomeAgentOptions
    ) -> None:
        ike: dict[str, Any] = dict(options.ike) | dict(credentials.issue(self.identity, self._directory, self.name))
        if "certificate" in ike:
            ike["trust_anchors"] = credentials.trust_anchors(self._directory)
        tables: dict[str, Table] = {
            "home_agent": {
                "name": self.name,
                "address": str(self.host.address),
                "identity": self.identity,
                "home_prefixes": [str(prefix) for prefix in options.home_prefixes],
                "ipv4_addresses": [str(address) for address in options.ipv4_addresses],
            },
            "datapath": {
                "interfaces": list(dict.fromkeys([self.host.device, *options.home_links])),
                "home_links": options.home_links,
                "vlans": options.vlans,
                "pin_path": self.pin_path,
                "max_bindings": options.max_bindings,
            },
            "strangers": options.strangers,
            "ike": ike,
            "ipsec": {"back_end": options.back_end},
            "mobility": options.mobility,
            "bootstrap": options.bootstrap,
            "cluster": {"store": options.store, **options.cluster},
            "routes": options.routes,
            "control": {"socket": self.socket},
            "metrics": {"listen": f"[{self.host.address}]:9716"},
            "nodes": {"file": "nodes.toml"},
            "key_export": key_export_table(options.key_directory, self.name),
        }
        rows = [credentials.node_row(subscriber) for subscriber in subscribers]
        write_private(self._directory / "nodes.toml", toml_document({}, {"node": rows}).encode())
        self.configuration.write_text(toml_document(tables))


def key_export_table(directory: Path | None, owner: str) -> Mapping[str, Path]:
    """The `[key_export]` section of `owner`, whose files begin with its name."""
    if directory is None:
        return {}
    return {"ike": directory / f"{owner}-ikev2_decryption_table", "esp": directory / f"{owner}-esp_sa"}
