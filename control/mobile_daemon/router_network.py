"""What an agent changes in its network namespace to be a mobile router (RFC 3963)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import IPv6Network
from pathlib import Path

from control.mobile_daemon.iproute import NetworkError, run, run_quietly

_SETTINGS = Path("/proc/sys/net/ipv6/conf")
_EVEN_WHEN_FORWARDING = "2"
_LAST_METRIC = "4294967294"


class RouterNetwork:
    """Forwarding between the mobile network and the tunnel; :meth:`close` undoes it."""

    def __init__(self, prefixes: Sequence[IPv6Network], care_of_interfaces: Sequence[str]) -> None:
        """Prepare; :meth:`open` does it.

        Args:
            prefixes: of the mobile network.
            care_of_interfaces: towards visited networks, whose routers the node goes on listening to.
        """
        self._prefixes = prefixes
        self._interfaces = care_of_interfaces
        self._undo = ExitStack()

    def open(self) -> None:
        """Forward packets, but none that its network has no host for: they would go back into the tunnel.

        Raises:
            NetworkError: the kernel refuses.
        """
        with self._undo:
            # First, or the routes that routers of visited networks have advertised would go (section 5.6).
            for interface in self._interfaces:
                self._change(f"{interface}/accept_ra", "1", _EVEN_WHEN_FORWARDING)
            self._change("all/forwarding", "0", "1")
            for prefix in self._prefixes:
                route = ("unreachable", str(prefix), "metric", _LAST_METRIC)
                run("ip", "-6", "route", "replace", *route)
                self._undo.callback(run_quietly, "ip", "-6", "route", "delete", *route)
            self._undo = self._undo.pop_all()

    def close(self) -> None:
        """Put everything back."""
        self._undo.close()

    def _change(self, name: str, before: str, value: str) -> None:
        file = _SETTINGS / name
        try:
            if file.read_text(encoding="ascii").strip() != before:
                return
            file.write_text(value, encoding="ascii")
        except OSError as error:
            raise NetworkError(
                f"{file} cannot be set to {value} ({error.strerror}): run as root in the node's network namespace."
            ) from None
        self._undo.callback(_set_back, file, before)


def _set_back(file: Path, value: str) -> None:
    try:
        file.write_text(value, encoding="ascii")
    except OSError:
        return  # the interface is gone
