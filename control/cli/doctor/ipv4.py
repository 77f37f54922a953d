"""What tunnels over IPv4 need of this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from pathlib import Path

from control.cli.doctor.finding import Finding, ok, problem, warning

_SETTINGS = Path("/proc/sys/net/ipv4/conf")
_STRICT = 1


def examine_ipv4(
    addresses: Sequence[IPv4Address], interfaces: Sequence[str], settings: Path = _SETTINGS
) -> Iterator[Finding]:
    """Nothing where the home agent has no IPv4 address.

    Args:
        addresses: of the home agent.
        interfaces: those that the data path serves.
        settings: the kernel's, of each interface and of all.
    """
    for address in addresses:
        yield _check_address(address)
    if addresses:
        for name in interfaces:
            yield _check_interface(name, settings)


def _check_address(address: IPv4Address) -> Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError as error:
            says = f"{address} cannot be used ({error.strerror})"
            return problem("home agent IPv4 address", says, f"ip address add {address}/24 dev INTERFACE")
    return ok("home agent IPv4 address", f"{address} is on this machine")


def _check_interface(name: str, settings: Path) -> Finding:
    check = f"IPv4 on {name}"

    def value(key: str, interface: str = name) -> int:
        return int((settings / interface / key).read_text(encoding="ascii"))

    try:
        if not value("forwarding"):
            return problem(
                check, "forwarding is off, so XDP gets no routes", "sysctl -w net.ipv4.conf.all.forwarding=1"
            )
        # What the data path cannot send itself goes through the kernel, which by itself refuses its own address there.
        if not value("accept_local") and not value("accept_local", "all"):
            says = "the kernel drops tunnelled packets that it has to forward, as the first one to a new next hop"
            return warning(check, says, "sysctl -w net.ipv4.conf.all.accept_local=1")
        if max(value("rp_filter"), value("rp_filter", "all")) == _STRICT:
            says = "the kernel drops tunnelled packets that it has to forward, for their source is on another interface"
            return warning(check, says, f"sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{name}.rp_filter=2")
    except OSError:
        return problem(check, "there is no IPv4 on it", "Give it an address.")
    return ok(check, "forwards, with packets of this machine's own addresses")
