"""How the laboratory's home agents and nodes prove who they are: one shared key per node, or certificates."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Literal

from bench.lab.pki import CertificateAuthority, KeyType
from bench.lab.toml import Table, Value

Authentication = Literal["psk", "cert"]

DOMAIN = "example.org"
NODE_DOMAIN = f"mn.{DOMAIN}"
#: Home agents that a node lets serve and take over (patterns of IKE identities).
TRUSTED_HOME_AGENTS = [f"ha*.{DOMAIN}"]


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A mobile node as its operator knows it."""

    number: int
    identity: str
    home_address: IPv6Address
    shared_key: str | None = field(repr=False, default=None)
    #: Prefixes of the network behind it, if it is a mobile router.
    mobile_networks: tuple[IPv6Network, ...] = ()


class Credentials:
    """Issues what both sides need, into directories of the run; nothing of it outlives the run."""

    def __init__(self, authentication: Authentication, key_type: KeyType = "ecdsa-p256") -> None:
        self.authentication = authentication
        self._key_type: KeyType = key_type
        self._authority = CertificateAuthority(kind=key_type) if authentication == "cert" else None

    def subscriber(self, number: int, home_address: IPv6Address, *mobile_networks: IPv6Network) -> Subscriber:
        """Node `number`, with a fresh shared key if that is how it authenticates."""
        key = secrets.token_hex(16) if self._authority is None else None
        return Subscriber(number, f"mn{number}@{NODE_DOMAIN}", home_address, key, mobile_networks)

    def issue(self, identity: str, directory: Path, stem: str) -> dict[str, str]:
        """Write certificate and key; the configuration keys that name them (none for shared keys)."""
        if self._authority is None:
            return {}
        self._authority.issue(identity, self._key_type).write(directory, stem)
        return {"certificate": f"{stem}.pem", "private_key": f"{stem}.key"}

    def trust_anchors(self, directory: Path) -> list[str]:
        """Names, relative to `directory`, of the trust anchors written there."""
        if self._authority is None:
            return []
        (directory / "ca.pem").write_bytes(self._authority.certificate_pem)
        return ["ca.pem"]

    def node_row(self, subscriber: Subscriber) -> Table:
        """The node as a `[[node]]` of a home agent's nodes file."""
        row: dict[str, Value] = {"identity": subscriber.identity, "home_address": str(subscriber.home_address)}
        if subscriber.mobile_networks:
            row["mobile_network_prefixes"] = [str(network) for network in subscriber.mobile_networks]
        if subscriber.shared_key is None:
            return row | {"authentication": "certificate"}
        return row | {"authentication": "shared-key", "shared_key": subscriber.shared_key}
