"""Reading the configuration again while the daemon serves: the nodes change at once, everything else with a restart."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Callable, Iterator

from control.config import Configuration, ConfigurationError, Node, load_configuration, load_nodes
from control.control_socket import CommandError, Row
from control.daemon.ike_configuration import authorised_nodes
from control.home_agent.directory import AddressTaken
from control.home_agent.engine import HomeAgent
from control.ike_workers import messages as m
from control.ike_workers.remote_endpoint import RemoteEndpoint
from control.mobility.binding_cache import Binding

_LOG = logging.getLogger(__name__)

_LOOK_AGAIN_S = 15.0
"""By then a registration that was on its way into the store is there, or was given up."""


class Reload:
    """Puts another list of nodes in force.

    Attributes:
        nodes: those in force, for a worker that is started.
    """

    def __init__(
        self,
        configuration: Configuration,
        nodes: list[Node],
        agent: HomeAgent,
        workers: RemoteEndpoint | None,
        *,
        remove: Callable[[list[Binding]], None],
        flush: Callable[[], None],
    ) -> None:
        """Nothing is read yet.

        Args:
            configuration: as the daemon was started with it.
            nodes: those it was started with.
            agent: the engine.
            workers: its IKEv2 where that is done by processes of its own.
            remove: takes bindings out of store and data path.
            flush: sends what the engine has decided.
        """
        self.nodes = nodes
        self._configuration = self._latest = configuration
        self._agent = agent
        self._workers = workers
        self._remove = remove
        self._flush = flush
        self._turn = asyncio.Lock()
        self._begun: asyncio.Task[None] | None = None  # a task that nobody keeps may be collected
        self._once_more = False

    async def reload(self, *, remove_most: bool = False) -> Row:
        """Read the files again; if anything in them is wrong, all stays as it is.

        Args:
            remove_most: do it even if more than half of the nodes are removed by it.

        Returns:
            What has changed, for the one who asked.

        Raises:
            CommandError: a mistake in the files.
        """
        async with self._turn:
            try:
                configuration, nodes = await asyncio.to_thread(_read, self._configuration)
                row = self._put_in_force(configuration, nodes, remove_most=remove_most)
            except ConfigurationError as error:
                more = f" and {len(error.problems) - 1} more" if len(error.problems) > 1 else ""
                first = str(error.problems[0]).rstrip(".")
                raise CommandError(f"nothing was changed, {first}{more}", "`homeagent config check` has all.") from None
            except AddressTaken as error:
                raise CommandError(
                    f"nothing was changed: {error.home_address}, which the nodes file gives {error.identity}, is "
                    f"assigned to {error.owner}",
                    "Give one of them another home_address.",
                ) from None
        _LOG.info(
            "configuration read again: %d nodes added, %d removed, %d changed, %d bindings ended",
            *(row[key] for key in ("added", "removed", "changed", "bindings_ended")),
        )
        for what in row["needs_restart"]:
            _LOG.warning("%s: changed, and takes effect with a restart", what)
        for what in row["needs_upgrade"]:
            _LOG.warning("%s: changed, and takes effect with `homeagent datapath upgrade`", what)
        return row

    def begin(self) -> None:
        """The same for a signal: the log is told of mistakes.

        Signals that come while the files are read for an earlier one have them read once more after that.
        """
        if self._begun is not None and not self._begun.done():
            self._once_more = True
            return
        self._begun = asyncio.get_running_loop().create_task(self._reload_and_log())

    async def _reload_and_log(self) -> None:
        while True:
            self._once_more = False
            try:
                await self.reload()
            except CommandError as error:
                _LOG.error("%s", error)
            except Exception:
                _LOG.exception("the configuration could not be read again")
            if not self._once_more:
                return

    def _put_in_force(self, configuration: Configuration, nodes: list[Node], *, remove_most: bool) -> Row:
        directory, listed = self._agent.directory, authorised_nodes(nodes)
        change = directory.compare(listed)
        if not remove_most and 2 * len(change.removed) > len(directory):
            # Part of a file that is being written may well be a valid file.
            raise CommandError(
                f"nothing was changed: {len(change.removed)} of {len(directory)} nodes are not in the configuration "
                "any more",
                "If that is what you want, say `homeagent reload --remove-most`.",
            )
        directory.require_free_addresses(listed, change)
        directory.replace(listed, change)
        self.nodes = [
            *(node for node in nodes if str(node.identity) not in change.deferred),
            *self._kept(change.deferred),
        ]
        if self._workers is not None:
            self._workers.command_all(m.Authorise(pickle.dumps(listed)))
        ended = self._dismiss()
        asyncio.get_running_loop().call_later(_LOOK_AGAIN_S, self._dismiss)
        latest, self._latest = self._latest, configuration
        return {
            "nodes": len(directory),
            "added": len(change.added),
            "removed": len(change.removed),
            "changed": len(change.changed),
            "bindings_ended": ended,
            "needs_restart": [
                *(what for what in _differing(self._configuration, configuration) if not _is_of_data_path(what)),
                *(f"the static security associations of {identity}" for identity in change.deferred),
            ],
            # Whether that was done since, this process does not know: what is new to it is told once.
            "needs_upgrade": [what for what in _differing(latest, configuration) if _is_of_data_path(what)],
        }

    def _kept(self, identities: tuple[str, ...]) -> Iterator[Node]:
        return (node for node in self.nodes if str(node.identity) in identities)

    def _dismiss(self) -> int:
        bindings = self._agent.dismiss_unauthorised(asyncio.get_running_loop().time())
        self._remove(bindings)
        self._flush()
        return len(bindings)


def _read(configuration: Configuration) -> tuple[Configuration, list[Node]]:
    again = load_configuration(configuration.path)
    return again, load_nodes(again)


def _is_of_data_path(key: str) -> bool:
    """Whether the daemon has nothing to do with it, as it has with the interfaces, home links and VLANs."""
    return key.startswith("[strangers]") or key in ("[datapath] max_bindings", "[datapath] xdp_mode")


def _differing(before: Configuration, after: Configuration) -> Iterator[str]:
    """The keys whose values differ, but for those of the nodes, as they stand in the file."""
    for section in type(before).__struct_fields__:
        if section in ("path", "nodes"):
            continue
        old, new = getattr(before, section), getattr(after, section)
        for key in type(old).__struct_fields__:
            if getattr(old, key) != getattr(new, key):
                yield f"[{section}] {key}"
