"""What operators may do with nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv6Address

from control.home_agent.engine import HomeAgent


class OperatedNodes:
    """See :class:`control.daemon.commands.Nodes`."""

    def __init__(self, agent: HomeAgent, now: Callable[[], float], flush: Callable[[], None]) -> None:
        """Nothing is done.

        Args:
            agent: the engine.
            now: monotonic seconds.
            flush: sends what the engine has decided.
        """
        self._agent = agent
        self._now = now
        self._flush = flush

    def pause(self) -> None:
        """Begin with no further node."""
        self._agent.takeover.pause()

    def resume(self) -> None:
        """Go on."""
        self._agent.takeover.resume()
        self._flush()

    def cancel(self, identities: Sequence[str] | None) -> int:
        """Give these nodes up, or all. Returns how many there were."""
        cancelled = self._agent.takeover.cancel(self._now(), identities)
        self._flush()
        return cancelled

    def send_away(self, addresses: Sequence[IPv6Address], taken_from: str | None) -> int:
        """Have all nodes, or those taken over from an agent, register at one of ``addresses``. Returns how many."""
        queued = self._agent.send_away(addresses, taken_from)
        self._flush()
        return queued
