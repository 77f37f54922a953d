"""Files: secrets that others can read, certificates, the state store."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from control.cli.doctor.finding import Finding, ok, problem, warning
from control.cluster.open_store import open_store
from control.cluster.store import StoreError
from control.config import Configuration
from control.config.credentials import load_certificates
from control.config.nodes import Node
from control.config.own_certificate import flaw_of_own_certificate
from control.config.secret_files import secret_files

_RENEW_BEFORE = timedelta(days=30)
_LEAST_FREE_BYTES = 64 * 2**20


def examine_files(configuration: Configuration, nodes: list[Node]) -> Iterator[Finding]:
    """What the configuration names, once it is known to be readable and well-formed."""
    for path in secret_files(configuration, nodes):
        yield check_secret(path)
    certificate = configuration.ike.certificate
    if certificate is not None:
        yield _check_certificate(configuration, certificate)
    if configuration.key_export.ike or configuration.key_export.esp:
        says = "session keys are written to files: whoever reads them can read the signalling"
        yield warning("key export", says, "Remove [key_export].")
    yield _check_store(configuration)


def check_secret(path: Path) -> Finding:
    """Whether nobody but its owner can read a file."""
    mode = path.stat().st_mode
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        says = f"mode {stat.S_IMODE(mode):04o}: others can get at this secret"
        return problem(f"secret {path}", says, f"chmod 600 {path}")
    if mode & stat.S_IRGRP:
        says = f"mode {stat.S_IMODE(mode):04o}: its group can read this secret"
        return warning(f"secret {path}", says, f"chmod 600 {path}")
    return ok(f"secret {path}", f"mode {stat.S_IMODE(mode):04o}")


def _check_certificate(configuration: Configuration, path: Path) -> Finding:
    check = f"certificate {path}"
    certificate = load_certificates(path)[0]
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    now = datetime.now(UTC)
    renew = "Have a new one issued."
    if not begins <= now <= ends:
        return problem(check, f"valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}, so not today", renew)
    if ends - now < _RENEW_BEFORE:
        return warning(check, f"valid until {ends:%Y-%m-%d} only", renew)
    flaw = flaw_of_own_certificate(configuration, now.timestamp())
    if flaw is not None:
        return problem(check, f"nodes will refuse it: {flaw}", "Have one issued that names [home_agent] identity.")
    return ok(check, f"valid until {ends:%Y-%m-%d}")


def _check_store(configuration: Configuration) -> Finding:
    place = configuration.cluster.store.place
    if isinstance(place, Path):
        folder = place.parent
        if not folder.is_dir():
            return problem("state store", f"there is no folder {folder}", f"install -d -m 700 {folder}")
        target = place if place.exists() else folder
        if not os.access(target, os.W_OK):
            return problem("state store", f"{target} cannot be written", "Run this as the daemon's user, or chown it.")
        free = os.statvfs(folder)
        if free.f_bavail * free.f_frsize < _LEAST_FREE_BYTES:
            return warning("state store", f"less than 64 MiB free for {place}", "Make room on its disk.")
        if not place.exists():
            return ok("state store", f"{place} will be made")
    try:
        store = open_store(place)
        try:
            leases = store.leases()
        finally:
            store.close()
    except StoreError as error:
        return problem("state store", str(error).rstrip("."), "")
    return ok("state store", f"{configuration.cluster.store}, {len(leases)} home agents known")
