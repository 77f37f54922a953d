"""What a daemon makes sure of before it asks the cluster for its lease.

The lease fences out whoever had it under the same name, and keeps the others from taking over. So whatever could still
keep this daemon from serving has to show before: else one started twice would take its nodes from the one that serves
them, and one that fails at each start would hold its nodes for ever.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from ipaddress import IPv6Address

from control.config import Configuration
from control.control_socket import CommandError
from control.ikev2.address import IKE_PORT, NAT_TRAVERSAL_PORT
from control.metrics import MetricsServer
from control.metrics.server import SnapshotSource

_PATIENCE_S = 2.0
_RETRY_S = 0.05


async def require_ike_ports(configuration: Configuration) -> None:
    """See whether the ports of IKEv2 can be had; the workers of a daemon that was killed may have them for a moment.

    Raises:
        OSError: another program has one, the address is not on this machine, or a privilege is missing.
    """
    ports = [IKE_PORT] if configuration.ike.nat_traversal == "off" else [IKE_PORT, NAT_TRAVERSAL_PORT]
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE_S
    for port in ports:
        while True:
            try:
                _require_port(configuration.home_agent.address, port)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or loop.time() > deadline:
                    raise
            await asyncio.sleep(_RETRY_S)


def metrics_server(configuration: Configuration, source: SnapshotSource) -> MetricsServer | None:
    """The server of /metrics with its port, None if there is to be none.

    Raises:
        CommandError: the port cannot be had.
    """
    listen = configuration.metrics.listen
    if listen is None:
        return None
    try:
        return MetricsServer(listen.host, listen.port, source)
    except OSError as error:
        raise CommandError(
            f"TCP port {listen.port} of {listen.host} cannot be had ({os.strerror(error.errno or 0).lower()})",
            "Set [metrics] listen to an address of this machine and a port that nobody has.",
        ) from None


def _require_port(address: IPv6Address, port: int) -> None:
    # Without SO_REUSEPORT it is refused although those who have it, IKE workers for example, share it.
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), port))
        except OSError as error:
            what = f"UDP port {port} of {address}"
            raise OSError(error.errno, os.strerror(error.errno or 0), what) from None
