"""The keys of the configuration file, one struct per section: names, types, bounds, defaults and what they mean.

The reference in docs/configuration.md is generated from here (``python -m control.config.reference``), and error
messages take their "what would be right" from here. Times are in seconds and say so in their names.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from control.config.values import EspProposalText, Identity, IkeProposalText, ListenAddress, StoreLocation


def _about(description: str, example: object, **constraints: Any) -> Meta:
    return Meta(description=description, examples=[example], **constraints)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the file."""


class HomeAgentSettings(Settings, frozen=True, kw_only=True):
    """Who this home agent is."""

    name: Annotated[
        str,
        _about(
            "Name of this home agent in the cluster: the owner of its lease, nodes and bindings. Unique per store.",
            "ha1",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
            extra={"wanted": "a name of letters, digits, dots, hyphens and underscores, at most 63 of them"},
        ),
    ]
    address: Annotated[
        IPv6Address,
        _about("The home agent address: mobile nodes tunnel, register and speak IKE to it.", "2001:db8:a1::1"),
    ]
    identity: Annotated[
        Identity,
        _about(
            "IKE identity of this home agent. A certificate has to name it. Without it, the address is the identity.",
            "ha1.example.org",
        ),
    ] = Identity()
    home_prefixes: Annotated[
        tuple[IPv6Network, ...],
        _about(
            "Prefixes that home addresses come from. See also `home_address_pools`.",
            ["2001:db8:100::/64"],
            min_length=1,
        ),
    ]


class DatapathSettings(Settings, frozen=True, kw_only=True):
    """The XDP programs and their maps. `homeagent datapath load` reads this; the daemon opens what it has pinned."""

    interfaces: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[^/\s:]{1,15}$")], ...],
        _about(
            "Interfaces that get the XDP program: those towards correspondents and those towards mobile nodes.",
            ["core0"],
            min_length=1,
            extra={"wanted": "a list of one or more interface names, each of at most 15 characters"},
        ),
    ]
    pin_path: Annotated[
        Path,
        _about("Folder on a BPF file system for pinned programs and maps.", "/sys/fs/bpf/homeagent"),
    ] = Path("/sys/fs/bpf/homeagent")
    max_bindings: Annotated[
        int,
        _about(
            "Capacity of the binding map. It cannot change while loaded: unload, then load.",
            131072,
            ge=1,
            le=16_777_216,
        ),
    ] = 131072
    xdp_mode: Annotated[
        Literal["auto", "native", "generic"],
        _about(
            "How to attach: in the driver (native), in the stack (generic, slow), or native where it works (auto).",
            "auto",
        ),
    ] = "auto"


class IkeSettings(Settings, frozen=True, kw_only=True):
    """IKEv2. Certificates are needed as soon as one mobile node authenticates by certificate."""

    certificate: Annotated[
        Path | None,
        _about("PEM file with this home agent's certificate, followed by intermediate ones.", "ha1.pem"),
    ] = None
    private_key: Annotated[
        Path | None,
        _about("PEM file with the certificate's key: RSA, ECDSA P-256 or P-384, or Ed25519. Mode 0600.", "ha1.key"),
    ] = None
    trust_anchors: Annotated[
        tuple[Path, ...],
        _about("PEM files with the certificates that mobile nodes' chains have to end at.", ["ca.pem"]),
    ] = ()
    crls: Annotated[
        tuple[Path, ...],
        _about(
            "Certificate revocation lists, PEM or DER: one for each authority, intermediate ones included. Files that "
            "have changed are read again within a minute.",
            ["ca.crl"],
        ),
    ] = ()
    crl_policy: Annotated[
        Literal["off", "soft", "hard"],
        _about(
            "Whether revoked certificates are refused (soft), and so are those whose authority has no current list "
            "(hard). Off: nobody looks at the lists.",
            "soft",
        ),
    ] = "soft"
    proposals: Annotated[
        tuple[IkeProposalText, ...],
        _about(
            "Algorithms for IKE SAs, most preferred first, in the words of strongSwan's swanctl.conf: aes128, aes192, "
            "aes256 (with sha256, sha384 or sha512), the same with gcm16, chacha20poly1305; prfsha256, prfsha384, "
            "prfsha512; x25519, ecp256, ecp384, ecp521, modp2048, modp3072, modp4096. Left out: AES-GCM, then AES-CBC "
            "with HMAC-SHA2, each with x25519, ecp256, ecp384.",
            ["aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-x25519"],
        ),
    ] = ()
    esp_proposals: Annotated[
        tuple[EspProposalText, ...],
        _about(
            "The same for child SAs; a group asks for perfect forward secrecy. Left out: AES-GCM, then AES-CBC with "
            "HMAC-SHA2, without a group of their own.",
            ["aes256gcm16", "aes128-sha256"],
        ),
    ] = ()
    redirect_to: Annotated[
        IPv6Address | None,
        _about(
            "Another home agent that nodes are sent to, before they are served here, by IKEv2 (RFC 5685): those that "
            "begin by themselves and say that they can be redirected.",
            "2001:db8:a2::1",
        ),
    ] = None
    redirect_above: Annotated[
        int,
        _about(
            "IKE SAs from which on nodes are sent to redirect_to; 0: all of them, to drain this home agent.",
            50_000,
            ge=0,
            le=16_777_216,
        ),
    ] = 0
    cookie_threshold: Annotated[
        int,
        _about(
            "Half-open exchanges begun by others at which cookies are demanded (RFC 7296 section 2.6); 0: always.",
            256,
            ge=0,
            le=1_000_000,
        ),
    ] = 256
    mobike: Annotated[
        bool, _about("Whether a node that began an IKE SA may move its end of it by MOBIKE (RFC 4555).", True)
    ] = True
    ike_lifetime_s: Annotated[
        float, _about("An IKE SA gets new keys after this long, or up to a fifth earlier. 0: never.", 14400.0, ge=0)
    ] = 14400.0
    child_lifetime_s: Annotated[
        float, _about("The same for the security associations that carry the signalling.", 3600.0, ge=0)
    ] = 3600.0
    workers: Annotated[
        int,
        _about(
            "Processes that share the work of IKEv2; 1: the daemon alone does it. 0: one for each processor core but "
            "the first.",
            1,
            ge=0,
            le=64,
        ),
    ] = 1
    nat_traversal: Annotated[
        Literal["off", "auto", "force"],
        _about(
            "Whether NATs on the way to nodes are looked for (RFC 7296 section 2.23): behind one, IKE uses port 4500 "
            "and ESP goes in UDP. Force: always, for networks that let no ESP through. Off: only port 500.",
            "auto",
        ),
    ] = "auto"
    nat_keepalive_s: Annotated[
        float,
        _about(
            "A home agent that is itself behind a NAT sends something at least this often, to keep the NAT's mapping; "
            "0: never.",
            20.0,
            ge=0,
            le=3600,
        ),
    ] = 20.0
    liveness_interval_s: Annotated[
        float,
        _about(
            "A node that has been silent for this long is asked for a sign of life, and loses its security "
            "associations if it gives none; its binding stays until its lifetime ends. 0: never.",
            300.0,
            ge=0,
            le=86_400,
        ),
    ] = 300.0


class IpsecSettings(Settings, frozen=True, kw_only=True):
    """ESP for the signalling with mobile nodes."""

    back_end: Annotated[
        Literal["auto", "kernel", "userspace"],
        _about(
            "Who does ESP: the kernel's XFRM (kernel; `ip xfrm state` shows it), the daemon (userspace), or the kernel "
            "where it can (auto). Both `homeagent datapath load` and the daemon read this.",
            "auto",
        ),
    ] = "auto"


class MobilitySettings(Settings, frozen=True, kw_only=True):
    """Registrations (RFC 6275)."""

    max_lifetime_s: Annotated[
        int,
        _about(
            "Longest binding lifetime granted; the wire counts in steps of 4 seconds.",
            3600,
            ge=4,
            le=262_140,
        ),
    ] = 3600
    home_address_pools: Annotated[
        tuple[IPv6Network, ...],
        _about(
            "Home prefixes, or one part of each, that home addresses are assigned from; without it, the first home "
            "prefix. Home agents with the same home prefix need parts that do not overlap.",
            ["2001:db8:100:0:1::/80"],
        ),
    ] = ()
    home_address_autoconfiguration: Annotated[
        bool,
        _about(
            "Whether nodes without a `home_address` of their own may choose any free one of the home prefixes "
            "(RFC 5026 section 5.3.2).",
            False,
        ),
    ] = False
    dns_servers: Annotated[
        tuple[IPv6Address, ...],
        _about("Name servers that nodes are told of when they ask over IKEv2.", ["2001:db8::53"]),
    ] = ()


class BootstrapSettings(Settings, frozen=True, kw_only=True):
    """How fast the nodes of a failed home agent are brought back."""

    policy: Annotated[
        Literal["fixed", "aimd", "gradient"],
        _about(
            "How many nodes are brought back at once: always `concurrency`, or fewer as long as this machine "
            "is late or nodes do not answer (`aimd`), and as long as exchanges take longer than need be (`gradient`).",
            "aimd",
        ),
    ] = "aimd"
    concurrency: Annotated[
        int,
        _about("Nodes being brought back at the same time, at most.", 64, ge=1, le=65_536),
    ] = 64
    reserve: Annotated[
        float,
        _about("Share of `concurrency` that is left to nodes that come by themselves.", 0.2, ge=0, le=0.9),
    ] = 0.2
    rate_per_s: Annotated[
        float,
        _about("Nodes begun per second, at most.", 200.0, gt=0, le=100_000),
    ] = 200.0
    attempts: Annotated[
        int,
        _about("Attempts per node before it is given up.", 5, ge=1, le=100),
    ] = 5
    backoff_initial_s: Annotated[
        float,
        _about("Wait before the second attempt; it doubles from attempt to attempt, with jitter.", 1.0, gt=0, le=3600),
    ] = 1.0
    backoff_max_s: Annotated[
        float,
        _about("Longest wait between two attempts.", 30.0, gt=0, le=3600),
    ] = 30.0
    give_up_after_s: Annotated[
        float,
        _about(
            "A node whose attempts have gone on for this long is given up; waiting for its turn does not count.",
            300.0,
            gt=0,
            le=86_400,
        ),
    ] = 300.0
    total_give_up_after_s: Annotated[
        float,
        _about("Nodes still not back this long after a takeover began are given up; 0: never.", 0.0, ge=0, le=604_800),
    ] = 0.0


class ClusterSettings(Settings, frozen=True, kw_only=True):
    """The state shared with the other home agents, and when to take over from them."""

    store: Annotated[
        StoreLocation,
        _about(
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
        _about("A home agent that has not renewed its lease for this long counts as failed.", 3.0, ge=0.5, le=3600),
    ] = 3.0
    heartbeat_s: Annotated[
        float,
        _about(
            "Time between renewals; at most half the lease, so that one late renewal is forgiven.", 1.0, ge=0.1, le=1800
        ),
    ] = 1.0
    take_over: Annotated[
        bool,
        _about("Whether this home agent takes over from failed ones by itself. `homeagent takeover` always can.", True),
    ] = True


class ControlSettings(Settings, frozen=True, kw_only=True):
    """The socket by which `homeagent status` and the other commands reach the daemon."""

    socket: Annotated[
        Path,
        _about("Unix socket, mode 0600. At most 107 octets long.", "/run/homeagent/control.sock"),
    ] = Path("/run/homeagent/control.sock")


class MetricsSettings(Settings, frozen=True, kw_only=True):
    """Prometheus."""

    listen: Annotated[
        ListenAddress | None,
        _about(
            'Where /metrics and the status page are served; "" for nowhere. No access control: keep it on loopback.',
            "[::1]:9716",
        ),
    ] = ListenAddress("::1", 9716)


class KeyExportSettings(Settings, frozen=True, kw_only=True):
    """Session keys for Wireshark. Whoever reads these files can read the traffic: for the laboratory only."""

    ike: Annotated[
        Path | None,
        _about(
            'File to append IKE keys to, in the form of Wireshark\'s `ikev2_decryption_table`; "": off.',
            "ikev2_decryption_table",
        ),
    ] = None
    esp: Annotated[
        Path | None,
        _about('File to append ESP keys to, in the form of Wireshark\'s `esp_sa`; "": off.', "esp_sa"),
    ] = None


class NodesSettings(Settings, frozen=True, kw_only=True):
    """The mobile nodes this home agent is authorised to serve."""

    file: Annotated[
        Path | None,
        _about("File with one `[[node]]` for each mobile node, see below.", "nodes.toml"),
    ] = None


class NodeEntry(Settings, frozen=True, kw_only=True):
    """A mobile node, in the file that `[nodes] file` names. Identities and home addresses are unique."""

    identity: Annotated[
        Identity,
        _about("IKE identity of the node.", "mn1@example.org"),
    ]
    home_address: Annotated[
        IPv6Address | None,
        _about(
            "The home address it was subscribed with. Without it, the node gets one from `home_address_pools` when it "
            "asks over IKEv2.",
            "2001:db8:100::11",
        ),
    ] = None
    authentication: Annotated[
        Literal["certificate", "shared-key", "eap-md5", "eap-mschapv2", "eap-tls", "manual"],
        _about(
            "How node and home agent prove who they are. With EAP the home agent does so by certificate; see "
            "[Nodes with passwords](operations.md#nodes-with-passwords). Manual: by security associations whose keys "
            "are written here, without IKE.",
            "shared-key",
        ),
    ] = "certificate"
    shared_key: Annotated[
        str | None,
        _about("The shared key: text, or 0x and hexadecimal digits.", "0x8f3c52d1e07a4b96"),
    ] = None
    shared_key_file: Annotated[
        Path | None,
        _about(
            "A file with the shared key instead, in the same form; a line feed at the end does not count.", "mn1.psk"
        ),
    ] = None
    password: Annotated[
        str | None,
        _about('The password for "eap-md5" and "eap-mschapv2".', "correct horse battery staple"),
    ] = None
    password_file: Annotated[
        Path | None,
        _about("A file with the password instead; a line feed at the end does not count.", "mn1.password"),
    ] = None
    eap_identity: Annotated[
        str | None,
        _about(
            "Whom the node has to be within EAP: its user name, or what its certificate names. Without it, `identity`.",
            "mn1",
        ),
    ] = None

    def __repr__(self) -> str:
        return f"NodeEntry({self.identity!r})"


class SecurityAssociationEntry(Settings, frozen=True, kw_only=True):
    """One of a pair of security associations, ESP in transport mode, of a node with `authentication = "manual"`.

    Each pair is one table with `direction = "in"` and one with `direction = "out"`, as seen from the machine whose file
    this is; a pair for `mobility` there has to be. [Operations](operations.md#keys-written-by-hand) has an example.
    """

    direction: Annotated[
        Literal["in", "out"],
        _about("Whether it is for what this machine receives or for what it sends.", "in"),
    ]
    spi: Annotated[
        int,
        _about(
            "Security Parameters Index, the receiver's choice. Those of direction in are unique, from 256 to 65535: "
            "what is above is for IKE.",
            0x1001,
            ge=256,
            le=0xFFFF_FFFF,
        ),
    ]
    protects: Annotated[
        Literal["mobility", "prefix-discovery"],
        _about("Which packets: the Mobility Header, or ICMPv6 between home agent and node.", "mobility"),
    ] = "mobility"
    algorithm: Annotated[
        str,
        _about(
            "Encryption and integrity: aes128-sha256, aes256-sha256, aes256-sha384, aes256-sha512 or null-sha256.",
            "aes128-sha256",
        ),
    ]
    key: Annotated[
        str | None,
        _about(
            "The encryption key with the integrity key behind it: 0x and hexadecimal digits, 48 octets for "
            "aes128-sha256. `openssl rand -hex 48` makes one.",
            "0x8f3c52d1",
        ),
    ] = None
    key_file: Annotated[
        Path | None,
        _about("A file with the key instead, in the same form; a line feed at the end does not count.", "mn1-in.key"),
    ] = None

    def __repr__(self) -> str:
        return f"SecurityAssociationEntry({self.direction!r}, {self.spi:#x})"


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration file, checked.

    Attributes:
        path: the file it was read from; relative paths in it were relative to its folder and are absolute here.
    """

    path: Path
    home_agent: HomeAgentSettings
    datapath: DatapathSettings
    ike: IkeSettings = IkeSettings()
    ipsec: IpsecSettings = IpsecSettings()
    mobility: MobilitySettings = MobilitySettings()
    bootstrap: BootstrapSettings = BootstrapSettings()
    cluster: ClusterSettings = ClusterSettings()
    control: ControlSettings = ControlSettings()
    metrics: MetricsSettings = MetricsSettings()
    key_export: KeyExportSettings = KeyExportSettings()
    nodes: NodesSettings = NodesSettings()


SECTIONS: dict[str, type[Settings]] = {
    "home_agent": HomeAgentSettings,
    "datapath": DatapathSettings,
    "ike": IkeSettings,
    "ipsec": IpsecSettings,
    "mobility": MobilitySettings,
    "bootstrap": BootstrapSettings,
    "cluster": ClusterSettings,
    "control": ControlSettings,
    "metrics": MetricsSettings,
    "key_export": KeyExportSettings,
    "nodes": NodesSettings,
}
