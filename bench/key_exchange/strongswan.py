"""Debian's strongSwan as the initiator, beside us: its IKE_SA_INIT and IKE_AUTH towards an endpoint of ours."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from bench.key_exchange.meter import Meter
from bench.key_exchange.methods import KEY_TYPES, Method
from bench.key_exchange.options import Options
from bench.lab.ike_peers import OUR_NAME, OURS, SHARED_KEY, THEIR_NAME, THEIRS, Peers, Policy
from bench.lab.pki import CertificateAuthority
from control.ikev2.policy import Credentials

INCLUDES = (
    "charon-systemd, the one installed here, begins the same number of IKE SAs together by vici: CPU time of all its "
    "threads for IKE_SA_INIT and IKE_AUTH over UDP between network namespaces, to an endpoint of ours, without a child "
    "SA. It logs nothing; same algorithms and kinds of keys. To be held against initiator_ike_sa, which has a child SA"
)
_DAEMON = Path("/usr/sbin/charon-systemd")
_OPTIONS = "reuse_ikesa = no"
_IDLE_FOR_S = 0.2
_IDLE_CPU_S = 0.001
_CONNECTIONS = """
connections {{
  ha {{
    local_addrs = {theirs}
    remote_addrs = {ours}
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
  }}
}}
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


def measure(options: Options, reference_s: float, progress: Callable[[str], None]) -> dict[str, list[float]]:
    """Calibrated CPU microseconds of one exchange, by method and round; empty if there are obstacles.

    Args:
        options: methods, nodes and rounds.
        reference_s: CPU seconds of the calibration loop at its fastest.
        progress: told what is being measured.
    """
    figures: dict[str, list[float]] = {}
    for method in options.methods if options.strongswan and not obstacles() else ():
        with tempfile.TemporaryDirectory() as directory:
            figures[method] = _measure(method, options, Path(directory), reference_s, progress)
    return figures


def _measure(
    method: Method, options: Options, directory: Path, reference_s: float, progress: Callable[[str], None]
) -> list[float]:
    policy, settings, files = _credentials(method)
    text = _CONNECTIONS.format(
        theirs=THEIRS,
        ours=OURS,
        kind="pubkey" if files else "psk",
        their_name=THEIR_NAME,
        our_name=OUR_NAME,
        certificates="certs = node.pem" if files else "",
        secret=SHARED_KEY.decode(),
    )
    figures: list[float] = []
    with Peers(directory / "strongswan", policy, options=_OPTIONS, log_level=-1, **settings) as peers:
        peers.charon.load(text, **files)
        for number in range(options.rounds + 1):
            progress(f"round {number} of {options.rounds}: strongSwan, {method}" if number else f"warming up: {method}")
            meter = Meter(clock=peers.charon.cpu_s)
            with meter.running():
                _initiate(peers, options.nodes)
            peers.wait(lambda: len(peers.charon.established()) == options.nodes)
            if number:
                figures.append(meter.cpu_s(reference_s) / options.nodes * 1e6)
            peers.end()
    return figures


def _initiate(peers: Peers, count: int) -> None:
    for _ in range(count):
        peers.charon.initiate("ha")
    peers.wait(lambda: len(peers.ours.established()) == count)
    _come_to_rest(peers)


def _come_to_rest(peers: Peers) -> None:
    """Wait until charon has done with our last answers, without asking it, which would cost it time."""
    used_s = -1.0
    while (now_s := peers.charon.cpu_s()) - used_s > _IDLE_CPU_S:
        used_s = now_s
        peers.ours.pump(_IDLE_FOR_S)


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
