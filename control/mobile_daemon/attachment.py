"""A mobile node's sockets and rules at one care-of address."""

from __future__ import annotations

from contextlib import ExitStack

from control.mobile_daemon.network import CareOfNetwork
from control.mobile_node.care_of_selection import Candidate
from control.sockets.ike_udp import IkeSockets
from control.sockets.packet import CareOfPacketSocket, CareOfSender


class Attachment:
    """Open from construction to :meth:`close`.

    Attributes:
        link: the care-of address and its interface.
        table: of its routes.
        ike: the IKE ports of the care-of address.
        packets: what arrives there and is not for the kernel.
        sender: sends whole packets out of the interface.
    """

    def __init__(self, link: Candidate, table: int) -> None:
        """Open the sockets and keep the kernel out of what is not for it.

        Raises:
            NetworkError, OSError: it cannot be done, perhaps because the address has just gone.
        """
        self.link = link
        self.table = table
        self._network = CareOfNetwork(link, table)
        with ExitStack() as stack:
            self.packets = CareOfPacketSocket(link.interface, link.address)
            stack.callback(self.packets.close)
            self.ike = IkeSockets(link.address, nat_traversal=True)
            stack.callback(self.ike.close)
            self.sender = CareOfSender(link.interface, link.address)
            stack.callback(self.sender.close)
            self._network.open()
            stack.callback(self._network.close)
            self._stack = stack.pop_all()

    def refresh_routes(self) -> None:
        """Follow the routes of the interface.

        Raises:
            NetworkError: the kernel refuses.
        """
        self._network.refresh_routes()

    def close(self) -> None:
        """Undo everything."""
        self._stack.close()
