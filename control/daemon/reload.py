"""Reading the configuration again while the daemon serves: nodes and certificates change, the rest with a restart."""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from control.config import Configuration, ConfigurationError, Node, load_configuration, load_nodes
from control.config.credentials import certificate_material
from control.config.own_certificate import flaw_of
from control.control_socket import CommandError, Row
from control.daemon.ike_configuration import authorised_nodes
from control.home_agent.directory import AddressTaken
from control.home_agent.engine import HomeAgent
from control.ike_workers import messages as m
from control.ike_workers.remote_endpoint import RemoteEndpoint
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import CertificateMaterial
from control.mobility.binding_cache import Binding

_LOG = logging.getLogger(__name__)

_LOOK_AGAIN_S = 15.0
"""By then a registration that was on its way into the store is there, or was given up."""


_AT_ONCE = ("[ike] certificate", "[ike] private_key", "[ike] trust_anchors")


class Reload:
    """Puts another list of nodes in force, and other certificates.

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
        use_certificates: Callable[[CertificateMaterial], None],
        remove: Callable[[list[Binding]], None],
        flush: Callable[[], None],
    ) -> None:
        """Nothing is read yet.

        Args:
            configuration: as the daemon was started with it.
            nodes: those it was started with.
            agent: the engine.
            workers: its IKEv2 where that is done by processes of its own.
            use_certificates: authenticates with others from now on.
            remove: takes bindings out of store and data path.
            flush: sends what the engine has decided.
        """
        self.nodes = nodes
        self._configuration = self._latest = configuration
        self._agent = agent
        self._workers = workers
        self._use_certificates = use_certificates
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
                ike = self._agent.endpoint.configuration
                found = await asyncio.to_thread(_read, self._configuration, ike.certificates, ike.local_identity)
                row = self._put_in_force(found, remove_most=remove_most)
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
        if row["certificate_expires_at"] is not None:
            _LOG.info("another certificate is in force, until %s", _date(row["certificate_expires_at"]))
        if row["trust_anchors"] is not None:
            _LOG.info("other trust anchors are in force, %d of them", row["trust_anchors"])
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

    def _put_in_force(self, found: _Found, *, remove_most: bool) -> Row:
        configuration, nodes = found.configuration, found.nodes
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
        authentication = self._renew_certificates(found.certificates)
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
            **authentication,
            "needs_restart": [
                *(what for what in _differing(self._configuration, configuration) if not _is_of_data_path(what)),
                *(f"the static security associations of {identity}" for identity in change.deferred),
            ],
            # Whether that was done since, this process does not know: what is new to it is told once.
            "needs_upgrade": [what for what in _differing(latest, configuration) if _is_of_data_path(what)],
        }

    def _renew_certificates(self, found: CertificateMaterial) -> Row:
        before = self._agent.endpoint.configuration.certificates
        own, others_own = _is_new(found, before), set(found.trust_anchors) != set(before.trust_anchors)
        if own or others_own:
            self._use_certificates(found)
        leaf = found.credentials.certificates[0] if own and found.credentials is not None else None
        return {
            "certificate_expires_at": None if leaf is None else leaf.not_valid_after_utc.timestamp(),
            "trust_anchors": len(found.trust_anchors) if others_own else None,
        }

    def _kept(self, identities: tuple[str, ...]) -> Iterator[Node]:
        return (node for node in self.nodes if str(node.identity) in identities)

    def _dismiss(self) -> int:
        bindings = self._agent.dismiss_unauthorised(asyncio.get_running_loop().time())
        self._remove(bindings)
        self._flush()
        return len(bindings)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the files say now."""

    configuration: Configuration
    nodes: list[Node]
    certificates: CertificateMaterial


def _read(configuration: Configuration, in_force: CertificateMaterial, identity: Identity) -> _Found:
    again = load_configuration(configuration.path)
    nodes, found = load_nodes(again), certificate_material(again.ike)
    if found.credentials is not None and _is_new(found, in_force):
        flaw = flaw_of(found.credentials, identity, time.time())
        if flaw is not None:
            raise CommandError(
                f"nothing was changed, nodes will refuse the certificate in {again.ike.certificate}: {flaw}",
                f"Have one issued that is valid now, is for signatures, and names {identity}.",
            )
    return _Found(again, nodes, found)


def _is_new(found: CertificateMaterial, in_force: CertificateMaterial) -> bool:
    """Whether this side is to show other certificates. With the same ones, the key is the same as well."""
    new, old = found.credentials, in_force.credentials
    return (new and new.certificates) != (old and old.certificates)


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="minutes")


def _is_of_data_path(key: str) -> bool:
    """Whether the daemon has nothing to do with it, as it has with the interfaces, home links and VLANs."""
    return key.startswith("[strangers]") or key in ("[datapath] max_bindings", "[datapath] xdp_mode")


def _differing(before: Configuration, after: Configuration) -> Iterator[str]:
    """The keys whose values differ, but for those that take effect at once, as they stand in the file."""
    for section in type(before).__struct_fields__:
        if section in ("path", "nodes"):
            continue
        old, new = getattr(before, section), getattr(after, section)
        for key in type(old).__struct_fields__:
            name = f"[{section}] {key}"
            if name not in _AT_ONCE and getattr(old, key) != getattr(new, key):
                yield name
