"""The daemon: engine, sockets, store, data path, cluster, metrics and control socket put together and run."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from ipaddress import IPv6Address

from control.bootstrap.takeover import NodeToRecover
from control.cluster.open_store import open_store
from control.cluster.store import Lease
from control.config import Configuration
from control.config.nodes import Node, load_nodes
from control.control_socket import ControlServer
from control.daemon.assembly import assemble
from control.daemon.back_end import BackEndChoice, choose_for_serving
from control.daemon.before_joining import metrics_server, require_ike_ports
from control.daemon.binding_writer import BindingWriter
from control.daemon.chronicle import Chronicle
from control.daemon.clock_steps import ClockSteps
from control.daemon.commands import commands
from control.daemon.early_deaths import SOUND_AFTER_S, EarlyDeaths, leave_to_others
from control.daemon.garbage import allow_full_collections, settle
from control.daemon.home_links import HomeLinkTraffic
from control.daemon.idle_work import IdleWork
from control.daemon.ike_configuration import use_certificates
from control.daemon.ike_processes import IkeProcesses
from control.daemon.ike_traffic import IkeTraffic, OwnIkeTraffic
from control.daemon.ike_worker_start import WorkerStart
from control.daemon.kernel_ipsec import KernelIpsec
from control.daemon.lateness import OwnLateness
from control.daemon.lease_keeper import lease_kept
from control.daemon.membership import Clocks, Membership, MembershipSettings
from control.daemon.operated_nodes import OperatedNodes
from control.daemon.packet_loop import PacketLoop
from control.daemon.pinned_data_path import PinnedDataPath
from control.daemon.reload import Reload
from control.daemon.restart import renewals, restore
from control.daemon.revocation_files import RevocationFiles
from control.daemon.route_watch import RouteWatch
from control.daemon.service_manager import ServiceManager
from control.daemon.signalling_sockets import KernelSockets, SignallingSockets, UserspaceSockets
from control.daemon.status import Status
from control.daemon.store_thread import StoreThread
from control.daemon.tunnel_relay import TunnelRelay
from control.daemon.write_gate import WriteGate
from control.ike_workers.certificates import pack
from control.key_export import KeyExport
from control.metrics import Instruments, from_event_loop
from datapath.errors import DatapathError
from datapath.route_changes import BOTH_FAMILIES, IPV6_ONLY
from datapath.route_control import RouteControl
from datapath.xfrm.channel import XfrmChannel

_LOG = logging.getLogger(__name__)

_POLL_S = 0.05
_START_S = 60.0
_REVOCATION_POLL_S = 30.0
# About 5 ms of work, done at each heartbeat until there are enough for the first thousands of a takeover.
_KEY_PAIRS_AT_ONCE = 128


class Daemon:
    """One running home agent."""

    def __init__(self, configuration: Configuration, back_end: BackEndChoice) -> None:
        """Read what the configuration names and open what must be there.

        Args:
            configuration: the file.
            back_end: who does IPsec.

        Raises:
            ConfigurationError: a file it names is not what it should be.
            StoreError: the state store cannot be opened.
            DatapathError: the data path is not loaded.
            OSError: a key file cannot be written.
        """
        self._configuration = configuration
        self._loop = asyncio.get_running_loop()
        self._clocks = Clocks(self._loop.time, time.time)
        self._stop = asyncio.Event()
        self._service_manager = ServiceManager()
        nodes = load_nodes(configuration)
        self._processes: IkeProcesses | None = None
        self._keys = KeyExport(configuration.key_export.ike, configuration.key_export.esp)
        self._instruments = Instruments()
        self._back_end = back_end
        self._xfrm = XfrmChannel() if self._back_end.kernel else None
        self._kernel = KernelIpsec(self._xfrm, os.urandom) if self._xfrm is not None else None
        self._assembly = assemble(
            configuration,
            nodes,
            now=self._loop.time(),
            keys=self._keys,
            instruments=self._instruments,
            kernel=self._kernel,
        )
        self._agent = self._assembly.agent
        self._store = StoreThread(
            open_store(configuration.cluster.store.place), self._instruments.store_operation.observe
        )
        self._gate = WriteGate()
        self._upgraded_beyond: asyncio.Future[None] = self._loop.create_future()
        self._data_path = PinnedDataPath(configuration, kernel_ipsec=self._back_end.kernel)
        self._tunnels = self._data_path.tunnels
        self._admit()
        self._chronicle = Chronicle(self._agent, self._tunnels.bindings, self._loop.time)
        self._membership = self._make_membership()
        self._idle_work = IdleWork(self._agent, self._store, self._membership, self._tunnels.packets)
        self._writer = self._make_writer()
        cache, longest_s = self._agent.registrations.rules.cache, configuration.mobility.max_lifetime_s
        self._clock_steps = ClockSteps(cache, self._republish, longest_s)
        self._reload = self._make_reload(nodes)
        self._home_links = HomeLinkTraffic(
            configuration.datapath.home_links, configuration.datapath.pin_path, self._agent, self._gate.change
        )
        self._packets = PacketLoop(
            self._agent,
            self._loop,
            time.time,
            self._settle,
            self._open_ike,
            self._open_signalling,
            self._home_links,
        )
        self._status = self._make_status()

    async def run(self) -> None:
        """Serve until told to stop.

        The lease is left to lapse: a restart within its time keeps the nodes, a longer absence is a failure.
        """
        async with AsyncExitStack() as stack:
            stack.callback(self._store.close)
            stack.callback(self._data_path.close)
            stack.callback(self._home_links.close)
            stack.callback(self._keys.close)
            families = BOTH_FAMILIES if self._configuration.home_agent.ipv4_addresses else IPV6_ONLY
            routes = RouteWatch(RouteControl.open(self._configuration.datapath.pin_path), self._loop, families)
            stack.callback(routes.close)
            if self._xfrm is not None:
                stack.callback(self._xfrm.close)
            _LOG.info("IPsec by the %s back end: %s", self._back_end.name, self._back_end.reason)
            control = self._make_control()
            control.bind()
            stack.push_async_callback(control.close)
            await require_ike_ports(self._configuration)
            metrics = metrics_server(self._configuration, from_event_loop(self._loop, self._status.snapshot))
            if metrics is not None:
                stack.callback(metrics.close)
            deaths = EarlyDeaths(self._configuration.control.socket.with_suffix(".deaths"))
            if deaths.are_too_many:
                await leave_to_others(self._membership.settings, self._store, self._clocks, self._wait_for_others)
            await self._membership.join()
            deaths.joined()
            async with self._lease_kept():
                await self._restore()
                self._packets.open(self._configuration.home_agent.address)
            stack.callback(self._packets.close)
            self._tunnel_relay = TunnelRelay(
                self._configuration.home_agent.address,
                self._configuration.datapath.pin_path,
                self._loop,
                self._configuration.home_agent.ipv4_addresses,
            )
            stack.callback(self._tunnel_relay.close)
            await control.start()
            stack.push_async_callback(control.close)  # its commands end before what they use
            if metrics is not None:
                metrics.start()
            settle()
            tasks = [asyncio.create_task(task) for task in (*self._watches(), routes.run())]
            for task in tasks:
                stack.callback(task.cancel)
            self._packets.flush()
            stack.callback(asyncio.create_task(self._announce()).cancel)
            stack.callback(self._loop.call_later(SOUND_AFTER_S, deaths.sound).cancel)
            await self._wait_for_stop(tasks)
            deaths.sound()
            self._service_manager.stopping()

    def _open_ike(self, address: IPv6Address) -> IkeTraffic:
        endpoint = self._assembly.workers
        if endpoint is None:
            return OwnIkeTraffic(address, self._agent)
        self._processes = IkeProcesses(
            address,
            self._agent,
            endpoint,
            self._assembly.policy,
            self._loop,
            start_of=partial(self._start_of_worker, endpoint.workers),
            changed=self._flush,
            bereft=self._renew,
        )
        return self._processes

    def _start_of_worker(self, workers: int, index: int) -> bytes:
        home_addresses = self._agent.directory.assignments()
        level = logging.getLogger().getEffectiveLevel()
        certificates = pack(self._agent.endpoint.configuration.certificates)
        nodes = self._reload.nodes
        return pickle.dumps(
            WorkerStart(self._configuration, nodes, certificates, home_addresses, index, workers, level)
        )

    async def _announce(self) -> None:
        """Tell the service manager as soon as all is at work."""
        if self._processes is not None:
            await self._processes.all_at_work()
        _LOG.info("%s serves %s", self._configuration.home_agent.name, self._configuration.home_agent.address)
        self._service_manager.ready(self._status.sentence())

    def _wait_for_others(self, seconds: float) -> None:
        self._service_manager.waits("it ended early too often: leaves its nodes to the others", seconds + _START_S)

    def _workers(self) -> tuple[int, int]:
        """How many processes do IKEv2, and how often one was started again."""
        if self._processes is None:
            return 1, 0
        return self._processes.working, self._processes.restarts

    async def _refresh(self) -> None:
        if self._processes is not None:
            await self._processes.describe()

    def _renew(self, identities: list[str]) -> None:
        """Give nodes new IKE SAs in the place of those that were lost with a process."""
        self._recover(list(renewals(self._agent, identities, time.time())))

    def _socket_statistics(self) -> Mapping[str, int]:
        return self._packets.statistics + self._tunnel_relay.statistics

    def _open_signalling(self, address: IPv6Address) -> SignallingSockets:
        replies = self._data_path.replies
        if self._kernel is None or replies is None:
            return UserspaceSockets(address, self._agent)
        return KernelSockets(address, self._agent, self._kernel, replies, self._gate, self._loop.time)

    def _make_membership(self) -> Membership:
        configuration = self._configuration
        return Membership(
            MembershipSettings(
                name=configuration.home_agent.name,
                address=configuration.home_agent.address,
                lease_s=configuration.cluster.lease_s,
                heartbeat_s=configuration.cluster.heartbeat_s,
                take_over=configuration.cluster.take_over,
                capacity=configuration.datapath.max_bindings,
            ),
            self._store,
            self._agent.directory,
            self._clocks,
            happened=self._chronicle.record,
            recover=self._recover,
            stand_down=self._stand_down,
            resume=self._resume,
            republish=self._republish,
        )

    def _make_writer(self) -> BindingWriter:
        return BindingWriter(
            self._configuration.home_agent.name,
            self._agent,
            self._store,
            self._tunnels,
            self._gate,
            lease=lambda: self._membership.lease,
            fenced_out=self._membership.doubt,
            flush=self._flush,
            observe_latency=self._instruments.binding_update.observe,
        )

    def _make_reload(self, nodes: list[Node]) -> Reload:
        return Reload(
            self._configuration,
            nodes,
            self._agent,
            self._assembly.workers,
            use_certificates=partial(use_certificates, self._agent.endpoint, self._assembly.policy),
            remove=self._writer.remove_expired,
            flush=self._flush,
        )

    def _make_status(self) -> Status:
        return Status(
            self._configuration,
            self._assembly,
            self._membership,
            self._tunnels,
            self._data_path.counters,
            self._writer,
            self._store,
            self._instruments,
            self._chronicle.takeover,
            self._loop.time,
            self._back_end,
            self._socket_statistics,
            self._workers,
        )

    def _make_control(self) -> ControlServer:
        return ControlServer(
            self._configuration.control.socket,
            commands(
                self._status,
                self._membership,
                self._chronicle.timeline,
                OperatedNodes(self._agent, self._loop.time, self._flush),
                self._refresh,
                self._hold,
                self._reload.reload,
            ),
        )

    def _lease_kept(self) -> AbstractAsyncContextManager[None]:
        return lease_kept(self._membership, partial(open_store, self._configuration.cluster.store.place), self._clocks)

    async def _resume(self) -> None:
        async with self._lease_kept():
            await self._restore()

    async def _restore(self) -> None:
        """Continue where the last process of this home agent stopped."""
        async with self._gate.passing():
            nodes = await restore(
                self._configuration.home_agent.name,
                self._agent,
                self._store,
                self._tunnels,
                self._membership,
                time.time(),
            )
        self._home_links.restore(self._loop.time())
        self._recover(nodes)

    def _hold(self) -> AbstractAsyncContextManager[None]:
        return self._gate.closed(self._follow)

    async def _follow(self) -> None:
        """Go over to the maps in force, once an upgrade is done or gone."""
        try:
            await self._data_path.follow()
            self._admit()
            self._home_links.follow(self._configuration.datapath.pin_path)
            self._tunnel_relay.follow()
        except DatapathError as error:
            # The pins are of a version that this process does not know: the service manager starts the one that does.
            if not self._upgraded_beyond.done():
                self._upgraded_beyond.set_exception(error)
            raise

    def _admit(self) -> None:
        """Accept as many registrations as the data path was loaded for, whatever the configuration says by now."""
        self._agent.registrations.rules.cache.capacity = self._tunnels.bindings.capacity

    async def _republish(self, lease: Lease) -> None:
        async with self._lease_kept():
            await self._writer.republish(lease, time.time())

    def _flush(self) -> None:
        self._packets.flush()

    def _stand_down(self) -> None:
        """Stop answering for nodes that another home agent has claimed."""
        self._writer.forget()
        self._gate.change(self._empty)
        self._agent.stand_down(self._loop.time())
        self._loop.call_soon(self._packets.flush)
        _LOG.error("the lease was lost: another home agent has claimed the nodes of this one, none is served here now")

    def _empty(self) -> None:
        self._tunnels.reconcile(())

    async def _until_upgraded_beyond(self) -> None:
        await self._upgraded_beyond

    def _recover(self, nodes: list[NodeToRecover]) -> int:
        goes_on = self._agent.takeover.active
        allow_full_collections(False)  # until the watch over the pace sees the end
        queued = self._agent.recover(nodes, self._loop.time())
        if queued and not goes_on:
            self._chronicle.takeover.begin(time.time())
        if self._packets.is_open:
            self._loop.call_soon(self._packets.flush)
        return queued

    def _settle(self, now: float) -> None:
        """What has to happen before anything the engine decided may leave."""
        self._writer.settle(now)
        self._chronicle.record(self._agent.happenings())

    def _watches(self) -> Iterator[Coroutine[None, None, None]]:
        """What runs for as long as the daemon."""
        yield self._heartbeat()
        yield self._until_upgraded_beyond()
        yield self._watch_pace()
        if self._configuration.routes.announce:
            yield self._tunnels.keep_routes(self._membership.has_others)
        lists = self._agent.endpoint.configuration.revocation
        if lists is not None and self._assembly.workers is None:
            yield self._watch_revocation_lists(RevocationFiles(lists, self._configuration.ike.crls))

    async def _heartbeat(self) -> None:
        while True:
            await self._membership.beat()
            self._home_links.refresh(self._membership.serves_until())
            self._gate.change(self._data_path.refresh_vlans)
            self._writer.remove_expired(self._agent.expire(self._clock_steps.follow()))
            self._packets.flush()
            await self._clock_steps.tell_store(self._membership.lease)
            await self._idle_work.beat(self._loop.time())
            self._agent.prepare(_KEY_PAIRS_AT_ONCE)
            await self._membership.until_next_beat()

    async def _watch_pace(self) -> None:
        own = OwnLateness(self._loop.time)
        while True:
            due = self._loop.time() + _POLL_S
            await asyncio.sleep(_POLL_S)
            lag_s = max(0.0, self._loop.time() - due)
            self._instruments.event_loop_lag.observe(lag_s)
            takeover = self._agent.takeover
            late_s = max(lag_s, self._packets.take_waited_s())
            # Of IKE workers the time is not this process's.
            takeover.observe_lag(own.of(late_s) if self._assembly.workers is None else late_s)
            allow_full_collections(not takeover.active)
            self._idle_work.check_some()
            self._chronicle.look()

    async def _watch_revocation_lists(self, files: RevocationFiles) -> None:
        while True:
            await asyncio.sleep(_REVOCATION_POLL_S)
            files.refresh()

    async def _wait_for_stop(self, tasks: list[asyncio.Task[None]]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload.begin)
        stop = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait((stop, *tasks), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        for task in done:
            if task is not stop:
                task.result()


def serve(configuration: Configuration) -> None:
    """Run a home agent in the foreground until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: see :class:`Daemon`.
        StoreError: see :class:`Daemon`.
        DatapathError: see :class:`Daemon`.
        CommandError: the control socket cannot be made.
        OSError: an address or port cannot be had.
    """
    # Whoever asks for another reading before there is anything to be read again is not to end the daemon.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Before there is an event loop: pyroute2, which looks for the home link, runs one of its own.
    back_end = choose_for_serving(configuration)

    async def run() -> None:
        await Daemon(configuration, back_end).run()

    asyncio.run(run())
