"""The keys of the configuration file, one struct per section: names, types, bounds, defaults and what they mean.

The reference in docs/configuration.md is generated from here (``python -m control.config.reference``), and error
messages take their "what would be right" from here. Times are in seconds and say so in their names. Long sections have
modules of their own beside this one.
"""

from __future__ import annotations

import math
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated

import msgspec

from control.config.bootstrap_settings import BootstrapSettings
from control.config.datapath_settings import DatapathSettings
from control.config.ike_settings import IkeSettings, IpsecSettings
from control.config.section import Settings, about
from control.config.stranger_settings import StrangerSettings
from control.config.values import Identity, ListenAddress, StoreLocation


class HomeAgentSettings(Settings, frozen=True, kw_only=True):
    """Who this home agent is."""

    name: Annotated[
        str,
        about(
            "Name of this home agent in the cluster: the owner of its lease, nodes and bindings. Unique per store.",
            "ha1",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
            extra={"wanted": "a name of letters, digits, dots, hyphens and underscores, at most 63 of them"},
        ),
    ]
    address: Annotated[
        IPv6Address,
        about("The home agent address: mobile nodes tunnel, register and speak IKE to it.", "2001:db8:a1::1"),
    ]
    ipv4_addresses: Annotated[
        tuple[IPv4Address, ...],
        about(
            "IPv4 addresses of this home agent that tunnels to IPv4 care-of addresses end at (RFC 5555 section 4.1); "
            "without any, the data path leaves IPv4 to the kernel.",
            ["192.0.2.1"],
            max_length=32,
            extra={"wanted": "a list of at most 32 IPv4 unicast addresses"},
        ),
    ] = ()
    identity: Annotated[
        Identity,
        about(
            "IKE identity of this home agent. A certificate has to name it. Without it, the address is the identity.",
            "ha1.example.org",
        ),
    ] = Identity()
    home_prefixes: Annotated[
        tuple[IPv6Network, ...],
        about(
            "Prefixes that home addresses come from. See also `home_address_pools`.",
            ["2001:db8:100::/64"],
            min_length=1,
        ),
    ]


class MobilitySettings(Settings, frozen=True, kw_only=True):
    """Registrations (RFC 6275)."""

    max_lifetime_s: Annotated[
        int,
        about(
            "Longest binding lifetime granted; the wire counts in steps of 4 seconds.",
            3600,
            ge=4,
            le=262_140,
        ),
    ] = 3600
    home_link_rate_per_s: Annotated[
        float,
        about(
            "Packets of neighbour discovery multicast in a second, at most: a registration on a home link that is new "
            "takes one before and three after it.",
            250.0,
            gt=0,
            le=100_000,
        ),
    ] = 250.0
    home_address_pools: Annotated[
        tuple[IPv6Network, ...],
        about(
            "Home prefixes, or one part of each, that home addresses are assigned from; without it, the first home "
            "prefix. Home agents with the same home prefix need parts that do not overlap.",
            ["2001:db8:100:0:1::/80"],
        ),
    ] = ()
    home_address_autoconfiguration: Annotated[
        bool,
        about(
            "Whether nodes without a `home_address` of their own may choose any free one of the home prefixes "
            "(RFC 5026 section 5.3.2).",
            False,
        ),
    ] = False
    mobile_routers: Annotated[
        bool,
        about(
            "Whether nodes may be mobile routers, with networks behind them (RFC 3963): those that have "
            "`mobile_network_prefixes`. Both `homeagent datapath load` and the daemon read this.",
            False,
        ),
    ] = False
    dns_servers: Annotated[
        tuple[IPv6Address, ...],
        about("Name servers that nodes are told of when they ask over IKEv2.", ["2001:db8::53"]),
    ] = ()


class ClusterSettings(Settings, frozen=True, kw_only=True):
    """The state shared with the other home agents, and when to take over from them."""

    store: Annotated[
        StoreLocation,
        about(
            "Where nodes, bindings and leases are kept; home agents that name the same store form a cluster. An SQLite "
            "file for the home agents of one host, or a Redis or Valkey server for those of many: "
            "`redis://[user:password@]host[:port][/db]`, `rediss://`, `unix://` or "
            "`redis+sentinel://[user:password@]host[:port][,host]/service[/db]`; with `?min_replicas=N` a binding is "
            "acknowledged once that many replicas have it.",
            "/var/lib/homeagent/state.db",
        ),
    ] = StoreLocation(Path("/var/lib/homeagent/state.db"))
    lease_s: Annotated[
        float,
        about("A home agent that has not renewed its lease for this long counts as failed.", 3.0, ge=0.5, le=3600),
    ] = 3.0
    heartbeat_s: Annotated[
        float,
        about(
            "Time between renewals; at most half the lease, so that one late renewal is forgiven.", 1.0, ge=0.1, le=1800
        ),
    ] = 1.0
    take_over: Annotated[
        bool,
        about("Whether this home agent takes over from failed ones by itself. `homeagent takeover` always can.", True),
    ] = True


class RoutesSettings(Settings, frozen=True, kw_only=True):
    """Kernel routes to the nodes that are served here, for a routing daemon to announce to the network."""

    announce: Annotated[
        bool,
        about(
            "Whether there is a route for each bound home address and each network behind a mobile router: home agents "
            "that share a home prefix need it, so that packets come to the one that serves the node.",
            False,
        ),
    ] = False
    table: Annotated[
        int,
        about(
            "The routing table they are put into, with protocol 109 and type blackhole. Nothing is to be forwarded "
            "by it; 254 is the main one, for daemons that look nowhere else.",
            110,
            ge=1,
            le=0xFFFF_FFFF,
        ),
    ] = 110
    lifetime_s: Annotated[
        int,
        about(
            "After this long without a living daemon the kernel drops them, if another home agent is known that could "
            "serve the nodes. At least twice the lease, and longer where there are more than 3,000. 0: never.",
            10,
            ge=0,
            le=86400,
        ),
    ] = 10


class ControlSettings(Settings, frozen=True, kw_only=True):
    """The socket by which `homeagent status` and the other commands reach the daemon."""

    socket: Annotated[
        Path,
        about("Unix socket, mode 0600. At most 107 octets long.", "/run/homeagent/control.sock"),
    ] = Path("/run/homeagent/control.sock")


class MetricsSettings(Settings, frozen=True, kw_only=True):
    """Prometheus."""

    listen: Annotated[
        ListenAddress | None,
        about(
            'Where /metrics and the status page are served; "" for nowhere. No access control: keep it on loopback.',
            "[::1]:9716",
        ),
    ] = ListenAddress("::1", 9716)


class KeyExportSettings(Settings, frozen=True, kw_only=True):
    """Session keys for Wireshark. Whoever reads these files can read the traffic: for the laboratory only."""

    ike: Annotated[
        Path | None,
        about(
            'File to append IKE keys to, in the form of Wireshark\'s `ikev2_decryption_table`; "": off.',
            "ikev2_decryption_table",
        ),
    ] = None
    esp: Annotated[
        Path | None,
        about('File to append ESP keys to, in the form of Wireshark\'s `esp_sa`; "": off.', "esp_sa"),
    ] = None


class NodesSettings(Settings, frozen=True, kw_only=True):
    """The mobile nodes this home agent is authorised to serve."""

    file: Annotated[
        Path | None,
        about("File with one `[[node]]` for each mobile node, see below.", "nodes.toml"),
    ] = None


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration file, checked.

    Attributes:
        path: the file it was read from; relative paths in it were relative to its folder and are absolute here.
    """

    path: Path
    home_agent: HomeAgentSettings
    datapath: DatapathSettings
    strangers: StrangerSettings = StrangerSettings()
    ike: IkeSettings = IkeSettings()
    ipsec: IpsecSettings = IpsecSettings()
    mobility: MobilitySettings = MobilitySettings()
    bootstrap: BootstrapSettings = BootstrapSettings()
    cluster: ClusterSettings = ClusterSettings()
    routes: RoutesSettings = RoutesSettings()
    control: ControlSettings = ControlSettings()
    metrics: MetricsSettings = MetricsSettings()
    key_export: KeyExportSettings = KeyExportSettings()
    nodes: NodesSettings = NodesSettings()

    @property
    def route_lifetime_s(self) -> int:
        """How long routes last without a daemon that keeps them, 0 for ever: longer than a restart may take."""
        lifetime_s = self.routes.lifetime_s
        return max(lifetime_s, math.ceil(2 * self.cluster.lease_s)) if lifetime_s else 0


SECTIONS: dict[str, type[Settings]] = {
    "home_agent": HomeAgentSettings,
    "datapath": DatapathSettings,
    "strangers": StrangerSettings,
    "ike": IkeSettings,
    "ipsec": IpsecSettings,
    "mobility": MobilitySettings,
    "bootstrap": BootstrapSettings,
    "cluster": ClusterSettings,
    "routes": RoutesSettings,
    "control": ControlSettings,
    "metrics": MetricsSettings,
    "key_export": KeyExportSettings,
    "nodes": NodesSettings,
}
