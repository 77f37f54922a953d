"""Debian's strongSwan as the initiator, beside us: its IKE SAs, and its child SAs, towards an endpoint of ours."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from bench.key_exchange.meter import Meter
from bench.key_exchange.methods import KEY_TYPES, Method
from bench.key_exchange.options import Options
from bench.lab.ike_peers import OUR_NAME, OURS, SHARED_KEY, THEIR_NAME, THEIRS, Peers, Policy
from bench.lab.pki import CertificateAuthority
from bench.lab.strongswan import PLUGINS
from control.ikev2.policy import Credentials


class Extent(StrEnum):
    """How far the exchanges go."""

    IKE_SA = "ike_sa"
    """IKE_SA_INIT and IKE_AUTH, without a child SA."""
    CHILD_SAS = "child_sas"
    """The same with a first child SA, then CREATE_CHILD_SA for a second one."""


INCLUDES = (
    "charon-systemd, the one installed here, begins the same number of IKE SAs together by vici: CPU time of all its "
    "threads for IKE_SA_INIT and IKE_AUTH over UDP between network namespaces, to an endpoint of ours. It logs "
    "nothing; same algorithms and kinds of keys; no Mobile IPv6 and no packet under ESP. ike_sa is without child SAs; "
    "child_sas has a first one in IKE_AUTH and a second one by CREATE_CHILD_SA, put into its own ESP, kernel-libipsec"
)
_DAEMON = Path("/usr/sbin/charon-systemd")
_USERSPACE_ESP = "kernel-libipsec"
_IDLE_FOR_S = 0.2
_IDLE_CPU_S = 0.001
_OPTIONS = {Extent.IKE_SA: "reuse_ikesa = no", Extent.CHILD_SAS: ""}
# An address that nobody answers at makes the connections different, so that each gets an IKE SA of its own.
_CONNECTION = """
  ha{number} {{
    local_addrs = {theirs}
    remote_addrs = {ours}, 2001:db8:ffff::{number}
    proposals = aes128gcm16-prfsha256-x25519
    unique = never
    mobike = no
    local {{
      auth = {kind}
      id = {their_name}
      {certificates}
    }}
    remote {{
      auth = {kind}
      id = {our_name}
    }}
    children {{
      {children}
    }}
  }}
"""
_CHILD = """
      {name} {{
        local_ts = {theirs}/128[{protocol}]
        remote_ts = 2001:db8:7::{number}/128[{protocol}]
        esp_proposals = aes128gcm16
      }}
"""
_SECRETS = """
secrets {{
  ike {{
    id = {our_name}
    secret = {secret}
  }}
}}
"""


def obstacles(daemon: Path = _DAEMON, user: int | None = None) -> list[str]:
    """What keeps strongSwan from being measured here; empty if nothing is known to.

    Args:
        daemon: strongSwan's.
        user: who asks; None for who runs this.
    """
    found = [] if daemon.exists() else [f"{daemon} is not installed (Debian's charon-systemd)"]
    if (os.geteuid() if user is None else user) != 0:
        found.append("network namespaces need root")
    return found


def note(options: Options) -> str:
    """What its figures include, or why there are none."""
    found = obstacles() if options.strongswan else ["not asked for"]
    return f"not measured: {'; '.join(found)}." if found else INCLUDES + "."


def measure(
    options: Options, reference_s: float, progress: Callable[[str], None]
) -> dict[Extent, dict[str, list[float]]]:
    """Calibrated CPU microseconds of one initiation, by extent, method and round; nothing if there are obstacles.

    Args:
        options: methods, nodes and rounds.
        reference_s: CPU seconds of the calibration loop at its fastest.
        progress: told what is being measured.
    """
    figures: dict[Extent, dict[str, list[float]]] = {extent: {} for extent in Extent}
    for method in options.methods if options.strongswan and not obstacles() else ():
        for extent in Extent:
            with tempfile.TemporaryDirectory() as directory:
                figures[extent][method] = _measure(method, extent, options, Path(directory), reference_s, progress)
    return figures


def _measure(
    method: Method,
    extent: Extent,
    options: Options,
    directory: Path,
    reference_s: float,
    progress: Callable[[str], None],
) -> list[float]:
    policy, settings, files = _credentials(method)
    plugins = [name for name in PLUGINS if name != "kernel-netlink"]
    if extent is Extent.CHILD_SAS:
        plugins.append(_USERSPACE_ESP)
    figures: list[float] = []
    swan = directory / "strongswan"
    with Peers(
        swan, policy, options=_OPTIONS[extent], plugins=[*plugins, "kernel-netlink"], log_level=-1, **settings
    ) as peers:
        peers.charon.load(_connections(extent, options.nodes, signed=bool(files)), **files)
        for number in range(options.rounds + 1):
            progress(
                f"round {number} of {options.rounds}: strongSwan, {method}, {extent}"
                if number
                else f"warming up: {method}"
            )
            meter = Meter(clock=peers.charon.cpu_s)
            with meter.running():
                _initiate(peers, extent, options.nodes)
            _check(peers, extent, options.nodes)
            if number:
                figures.append(meter.cpu_s(reference_s) / options.nodes * 1e6)
            peers.end()
    return figures


def _connections(extent: Extent, count: int, *, signed: bool) -> str:
    """The text of swanctl.conf."""
    names = (("first", "ipv6-icmp"), ("second", "udp")) if extent is Extent.CHILD_SAS else ()
    connections = [
        _CONNECTION.format(
            number=number,
            theirs=THEIRS,
            ours=OURS,
            kind="pubkey" if signed else "psk",
            their_name=THEIR_NAME,
            our_name=OUR_NAME,
            certificates="certs = node.pem" if signed else "",
            children="".join(
                _CHILD.format(name=name, theirs=THEIRS, number=number, protocol=protocol) for name, protocol in names
            ),
        )
        for number in range(1, (count if names else 1) + 1)
    ]
    secrets = _SECRETS.format(our_name=OUR_NAME, secret=SHARED_KEY.decode())
    return f"connections {{{''.join(connections)}}}{secrets}"


def _initiate(peers: Peers, extent: Extent, count: int) -> None:
    with_children = extent is Extent.CHILD_SAS
    for number in range(1, count + 1):
        peers.charon.initiate(f"ha{number if with_children else 1}", "first" if with_children else None)
    peers.wait(lambda: len(peers.ours.established()) == count)
    _come_to_rest(peers)
    if with_children:
        for number in range(1, count + 1):
            peers.charon.initiate(f"ha{number}", "second")
        peers.wait(lambda: _child_sas(peers) == [2] * count)
        _come_to_rest(peers)


def _come_to_rest(peers: Peers) -> None:
    """Wait until charon has done with our last answers, without asking it, which would cost it time."""
    used_s = -1.0
    while (now_s := peers.charon.cpu_s()) - used_s > _IDLE_CPU_S:
        used_s = now_s
        peers.ours.pump(_IDLE_FOR_S)


def _check(peers: Peers, extent: Extent, count: int) -> None:
    peers.wait(lambda: len(peers.charon.established()) == count)
    expected = 2 if extent is Extent.CHILD_SAS else 0
    assert _child_sas(peers) == [expected] * count, "child SAs are not where they should be"
    peers.wait(lambda: len(peers.charon.children()) == expected * count)


def _child_sas(peers: Peers) -> list[int]:
    return [len(sa.children) for sa in peers.ours.established()]


def _credentials(method: Method) -> tuple[Policy, dict[str, Any], dict[str, Any]]:
    """Our policy, settings of our IkeConfiguration, and strongSwan's files, none for a shared key."""
    if method == "psk":
        return Policy(), {}, {}
    kind = KEY_TYPES[method]
    authority = CertificateAuthority("key exchange bench CA", kind)
    ours, theirs = authority.issue(OUR_NAME, kind), authority.issue(THEIR_NAME, kind)
    key: Any = load_pem_private_key(ours.private_key_pem, None)
    settings = {
        "credentials": Credentials((load_pem_x509_certificate(ours.certificate_pem),), key),
        "trust_anchors": (authority.certificate,),
    }
    files = {
        "certificates": {"node": theirs.certificate_pem},
        "authorities": {"ca": authority.certificate_pem},
        "private_keys": {"node": theirs.private_key_pem},
    }
    return Policy(None), settings, files
