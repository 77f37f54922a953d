"""The home links of the configuration: sockets, what the data path answers there, and the engine's part of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path

from control.home_agent.engine import HomeAgent
from control.home_agent.home_links import Defence, HomeLink, link_local_of
from control.mobility.binding_cache import Binding
from control.sockets.home_link import HomeLinkSocket
from datapath.errors import DatapathError
from datapath.served_links import HomeLinkMaps, ServedLink, read_link

_LOG = logging.getLogger(__name__)


class HomeLinkTraffic:
    """All home links. Without any, nothing is opened and nothing happens."""

    def __init__(
        self,
        names: Sequence[str],
        pin_path: Path,
        agent: HomeAgent,
        change: Callable[[Callable[[], None]], None],
    ) -> None:
        """Open the maps, which say what the programs answer.

        Args:
            names: the interfaces.
            pin_path: of the data path, which was loaded for them.
            agent: the engine.
            change: makes a change of the maps, later if they are being exchanged.

        Raises:
            DatapathError: the data path was loaded without home links, or one is not there.
        """
        self._agent = agent
        self._change = change
        self._stack = ExitStack()
        self._maps: HomeLinkMaps | None = None
        self._names = names
        self._sockets: dict[str, HomeLinkSocket] = {}
        self._links: dict[str, ServedLink] = {}
        self._missing: set[str] = set()
        if names:
            self._maps = self._stack.enter_context(HomeLinkMaps.open(pin_path))
            self._update()

    def follow(self, pin_path: Path) -> None:
        """Goes over to the maps that an upgrade may have put in the place of these; raises NotLoaded."""
        if self._maps is not None:
            before, self._maps = self._maps, self._stack.enter_context(HomeLinkMaps.open(pin_path))
            before.close()

    def open(self, loop: asyncio.AbstractEventLoop, received: Callable[[], None]) -> None:
        """Begin to listen.

        Args:
            loop: the event loop.
            received: told that the engine has something new.

        Raises:
            OSError: a privilege is missing, or an interface.
        """
        for name in self._names:
            opened = HomeLinkSocket(name)
            self._stack.callback(opened.close)
            self._sockets[name] = opened
            loop.add_reader(opened, partial(self._read, name, loop, received))
            self._stack.callback(loop.remove_reader, opened)

    @property
    def dropped(self) -> int:
        """Packets the kernel did not take."""
        return sum(each.dropped for each in self._sockets.values())

    def close(self) -> None:
        """Close sockets and maps; the programs go on answering, for as long as they may."""
        self._stack.close()

    def refresh(self, until: float | None) -> None:
        """Look at the interfaces again, and let the programs answer.

        Args:
            until: monotonic seconds; None: for as long as the data path is loaded.
        """
        if self._maps is not None:
            self._update()
            self._change(partial(self._answer, until))

    def _answer(self, until: float | None) -> None:
        if self._maps is not None:
            for link in self._links.values():
                self._maps.answer(link, link.address or self._agent.address, until)

    def restore(self, now: float) -> None:
        """Serve on the links what is bound, after a start, and tell the hosts.

        What link-local addresses are defended stands in the data path only; those of bindings stay.
        """
        if self._maps is None:
            return
        names = {link.index: name for name, link in self._links.items()}
        defended = {(address, names.get(index, "")) for address, index in self._maps.special_addresses()}
        for binding in self._agent.registrations.rules.cache.bindings():
            link_local = (link_local_of(binding.home_address), self._link_of(binding)) in defended
            self._agent.home_links.serve(
                binding.home_address,
                binding.link_local or link_local,
                announce=True,
                now=now,
                router=binding.mobile_router,
            )
        indices = {name: link.index for name, link in self._links.items()}
        served = {(address, indices[link]) for address, link in self._agent.home_links.special_addresses()}
        self._maps.abandon(self._maps.special_addresses() - served)

    def send(self) -> None:
        """Put on the links, and into the data path, what the engine has decided."""
        for packet in self._agent.home_links.packets_to_send():
            sender = self._sockets.get(packet.link)
            if sender is not None:
                sender.send(packet.packet)
        for address, name, how in self._agent.home_links.defence_changes():
            self._change(partial(self._change_defence, address, name, how))

    def _update(self) -> None:
        links = {name: link for name in self._names if (link := self._look_at(name)) is not None}
        if links != self._links:
            self._links = links
            self._agent.home_links.update(
                HomeLink(link.name, link.address or self._agent.address, link.link_address, link.prefixes)
                for link in links.values()
            )

    def _change_defence(self, address: IPv6Address, name: str, how: Defence) -> None:
        link = self._links.get(name)
        if self._maps is None or link is None:
            return
        if how is Defence.NONE:
            self._maps.abandon([(address, link.index)])
            return
        try:
            self._maps.defend(link, address, router=how is Defence.ROUTER)
        except DatapathError as error:
            _LOG.error("%s is not defended on %s: %s", address, name, error)

    def _link_of(self, binding: Binding) -> str | None:
        return self._agent.home_links.link_of(binding.home_address)

    def _look_at(self, name: str) -> ServedLink | None:
        try:
            link = read_link(name)
        except DatapathError as error:
            if name not in self._missing:
                _LOG.error("home link %s: %s", name, error)
            self._missing.add(name)
            return None
        self._missing.discard(name)
        return link

    def _read(self, name: str, loop: asyncio.AbstractEventLoop, received: Callable[[], None]) -> None:
        for packet in self._sockets[name].receive():
            self._agent.receive_from_home_link(name, packet, loop.time())
        received()
