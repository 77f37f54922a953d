"""What a daemon makes sure of before it asks the cluster for its lease.

The lease fences out whoever had it under the same name, and keeps the others from taking over. So whatever could still
keep this daemon from serving has to show before: else one started twice would take its nodes from the one that serves
them, and one that fails at each start would hold its nodes for ever.
"""

from __future__ import annotations

import os
import socket
from ipaddress import IPv6Address

from control.config import Configuration
from control.control_socket import CommandError
from control.ikev2.address import IKE_PORT, NAT_TRAVERSAL_PORT
from control.metrics import MetricsServer
from control.metrics.server import SnapshotSource


def require_ike_ports(configuration: Configuration) -> None:
    """See whether the ports of IKEv2 can be had.

    Raises:
        OSError: another program has one, the address is not on this machine, or a privilege is missing.
    """
    ports = [IKE_PORT] if configuration.ike.nat_traversal == "off" else [IKE_PORT, NAT_TRAVERSAL_PORT]
    for port in ports:
        _require_port(configuration.home_agent.address, port)


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
