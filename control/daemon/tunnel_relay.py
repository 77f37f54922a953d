"""Gives the data path back what the kernel has put together for it, a bounded number of packets at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from control.home_agent.tunnel_slow_path import TunnelSlowPath
from control.sockets.tunnel import (
    Ipv4TunnelSocket,
    Ipv6TunnelSocket,
    SlowPathEntrance,
    TunnelSocket,
    UdpTunnelSocket,
)
from datapath.bpf_syscall import opened
from datapath.layout import (
    SLOW_PATH_EXIT_ADDRESS,
    SLOW_PATH_MTU,
    TUNNEL_FILTER_PROGRAM_NAME,
    pin_directory,
    slow_path_devices,
)

_BATCH = 64
_PAUSE_S = 0.01


class TunnelRelay:
    """From the kernel's sockets to the slow path's entrance. Close it when the daemon stops."""

    def __init__(
        self,
        address: IPv6Address,
        pin_path: Path,
        loop: asyncio.AbstractEventLoop,
        ipv4_addresses: Sequence[IPv4Address] = (),
    ) -> None:
        """Open the sockets and begin.

        Args:
            address: the home agent's.
            pin_path: of its data path, which is loaded.
            loop: runs this.
            ipv4_addresses: the home agent's, where tunnels over IPv4 end.

        Raises:
            OSError: the address is not on this machine, or a privilege is missing.
            DatapathError: the data path is not loaded.
        """
        self._loop = loop
        self._filter = pin_directory(pin_path) / TUNNEL_FILTER_PROGRAM_NAME
        self._slow_path = TunnelSlowPath(SLOW_PATH_MTU)
        self._pause: asyncio.TimerHandle | None = None
        leaves, enters = slow_path_devices(pin_path)
        with ExitStack() as stack:
            with opened(self._filter) as program:
                self._tunnels: list[TunnelSocket] = [Ipv6TunnelSocket(address, program, leaves)]
                stack.callback(self._tunnels[0].close)
                for each in ipv4_addresses:
                    for kind in (Ipv4TunnelSocket, UdpTunnelSocket):
                        self._tunnels.append(kind(each, program, leaves))
                        stack.callback(self._tunnels[-1].close)
            self._entrance = SlowPathEntrance(enters, SLOW_PATH_EXIT_ADDRESS)
            stack.callback(self._entrance.close)
            self._sockets = stack.pop_all()
        self._resume()

    def follow(self) -> None:
        """Use the filter in force, once the data path was upgraded; raises DatapathError."""
        with opened(self._filter) as program:
            for tunnel in self._tunnels:
                tunnel.filter(program)

    @property
    def statistics(self) -> Counter[str]:
        """Packets by what became of them."""
        return self._slow_path.statistics + Counter({"tunnel-refused": self._entrance.refused})

    def close(self) -> None:
        """Stop and close the sockets."""
        if self._pause is not None:
            self._pause.cancel()
        self._stop_reading()
        self._sockets.close()

    def _resume(self) -> None:
        self._pause = None
        for tunnel in self._tunnels:
            self._loop.add_reader(tunnel, self._read, tunnel)

    def _stop_reading(self) -> None:
        for tunnel in self._tunnels:
            self._loop.remove_reader(tunnel)

    def _read(self, tunnel: TunnelSocket) -> None:
        now = self._loop.time()
        for _ in range(_BATCH):
            if not self._slow_path.may_take(now):
                # What does not fit the sockets' buffers meanwhile, the kernel drops.
                if self._pause is None:
                    self._slow_path.statistics["tunnel-paused"] += 1
                    self._stop_reading()
                    self._pause = self._loop.call_later(_PAUSE_S, self._resume)
                return
            packet = tunnel.receive()
            if packet is None:
                return
            returned = self._slow_path.packet_to_return(packet)
            if returned is not None:
                self._entrance.send(returned)
