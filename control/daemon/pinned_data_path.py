"""The pinned maps that the daemon works with, and their exchange for others by an upgrade of the data path."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack

from control.config import Configuration
from control.daemon.tunnels import Tunnels
from datapath.counters import Counters
from datapath.generations import Writing
from datapath.reply_addresses import ReplyAddresses
from datapath.vlans import VlanMaps

_LOG = logging.getLogger(__name__)


class PinnedDataPath:
    """What is pinned, opened.

    Attributes:
        tunnels: where packets of nodes go.
        counters: what became of packets.
        replies: where the home link sends what leaves, with the kernel's IPsec only.
    """

    def __init__(self, configuration: Configuration, *, kernel_ipsec: bool) -> None:
        """Open.

        Raises:
            DatapathError: the data path is not loaded, or not as this configuration has it.
        """
        self._pin_path = pin_path = configuration.datapath.pin_path
        with ExitStack() as opened:
            self._writing = Writing(pin_path)
            opened.callback(lambda: self._writing.close())
            self.tunnels = Tunnels.open(
                pin_path,
                mobile_routers=configuration.mobility.mobile_routers,
                announce_in=configuration.routes.table if configuration.routes.announce else None,
                route_lifetime_s=configuration.route_lifetime_s,
            )
            opened.callback(self.tunnels.close)
            self.counters = Counters.open(pin_path)
            opened.callback(self.counters.close)
            self.replies = ReplyAddresses.open(pin_path) if kernel_ipsec else None
            if self.replies is not None:
                opened.callback(self.replies.close)
            self._vlans = VlanMaps.open(pin_path) if configuration.datapath.vlans else None
            opened.callback(self._close_vlans)
            self._opened = opened.pop_all()

    async def follow(self) -> None:
        """Go over to the maps that an upgrade has put in the place of these, if it has.

        Raises:
            DatapathError: they are of a version that this process does not know, or nothing is pinned any more.
        """
        writing = await asyncio.to_thread(Writing, self._pin_path)
        self._writing.close()
        self._writing = writing
        bindings = self.tunnels.bindings
        if self.tunnels.follow(self._pin_path):
            _LOG.info("the data path was upgraded: %d bindings, room for %d", len(bindings), bindings.capacity)
        if self.replies is not None:
            self.replies.follow(self._pin_path)
        if self._vlans is not None:
            before, self._vlans = self._vlans, VlanMaps.open(self._pin_path)
            before.close()

    def refresh_vlans(self) -> None:
        """Take over what VLAN devices there are now."""
        if self._vlans is not None:
            self._vlans.refresh()

    def close(self) -> None:
        """Close the maps; what is in them stays in force."""
        self._opened.close()

    def _close_vlans(self) -> None:
        if self._vlans is not None:
            self._vlans.close()
