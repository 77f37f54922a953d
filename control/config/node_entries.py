"""The entries of the file of mobile nodes."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from control.config.section import Settings, about
from control.config.values import Identity


class NodeEntry(Settings, frozen=True, kw_only=True):
    """A mobile node, in the file that `[nodes] file` names. Identities and home addresses are unique."""

    identity: Annotated[
        Identity,
        about("IKE identity of the node.", "mn1@example.org"),
    ]
    home_address: Annotated[
        IPv6Address | None,
        about(
            "The home address it was subscribed with. Without it, the node gets one from `home_address_pools` when it "
            "asks over IKEv2.",
            "2001:db8:100::11",
        ),
    ] = None
    mobile_network_prefixes: Annotated[
        tuple[IPv6Network, ...],
        about(
            "Prefixes of the network behind it if it is a mobile router: what it may register, and what it registers "
            "if it names none. No two nodes share one, and none is in a home prefix.",
            ["2001:db8:700::/56"],
        ),
    ] = ()
    authentication: Annotated[
        Literal["certificate", "shared-key", "eap-md5", "eap-mschapv2", "eap-tls", "manual"],
        about(
            "How node and home agent prove who they are. With EAP the home agent does so by certificate; see "
            "[Nodes with passwords](operations.md#nodes-with-passwords). Manual: by security associations whose keys "
            "are written here, without IKE.",
            "shared-key",
        ),
    ] = "certificate"
    shared_key: Annotated[
        str | None,
        about("The shared key: text, or 0x and hexadecimal digits.", "0x8f3c52d1e07a4b96"),
    ] = None
    shared_key_file: Annotated[
        Path | None,
        about(
            "A file with the shared key instead, in the same form; a line feed at the end does not count.", "mn1.psk"
        ),
    ] = None
    password: Annotated[
        str | None,
        about('The password for "eap-md5" and "eap-mschapv2".', "correct horse battery staple"),
    ] = None
    password_file: Annotated[
        Path | None,
        about("A file with the password instead; a line feed at the end does not count.", "mn1.password"),
    ] = None
    eap_identity: Annotated[
        str | None,
        about(
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
        about("Whether it is for what this machine receives or for what it sends.", "in"),
    ]
    spi: Annotated[
        int,
        about(
            "Security Parameters Index, the receiver's choice. Those of direction in are unique, from 256 to 65535: "
            "what is above is for IKE.",
            0x1001,
            ge=256,
            le=0xFFFF_FFFF,
        ),
    ]
    protects: Annotated[
        Literal["mobility", "prefix-discovery"],
        about("Which packets: the Mobility Header, or ICMPv6 between home agent and node.", "mobility"),
    ] = "mobility"
    algorithm: Annotated[
        str,
        about(
            "Encryption and integrity: aes128-sha256, aes256-sha256, aes256-sha384, aes256-sha512 or null-sha256.",
            "aes128-sha256",
        ),
    ]
    key: Annotated[
        str | None,
        about(
            "The encryption key with the integrity key behind it: 0x and hexadecimal digits, 48 octets for "
            "aes128-sha256. `openssl rand -hex 48` makes one.",
            "0x8f3c52d1",
        ),
    ] = None
    key_file: Annotated[
        Path | None,
        about("A file with the key instead, in the same form; a line feed at the end does not count.", "mn1-in.key"),
    ] = None

    def __repr__(self) -> str:
        return f"SecurityAssociationEntry({self.direction!r}, {self.spi:#x})"
