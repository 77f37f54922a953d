"""Done for a takeover that may come, while none is under way: notes in the store, and a look at those of others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address

from control.cluster.store import StoreError
from control.daemon.certificate_watch import PAGE, CertificateWatch
from control.daemon.membership import Membership
from control.daemon.store_thread import StoreThread
from control.daemon.traffic_watch import TrafficWatch
from control.home_agent.engine import HomeAgent
from control.ikev2.endpoint import IkeEndpoint


class IdleWork:
    """Keeps the last times of traffic and the certificates of nodes in the store, and checks those of others' nodes."""

    def __init__(
        self, agent: HomeAgent, store: StoreThread, membership: Membership, packets: Callable[[IPv6Address], int]
    ) -> None:
        """Nothing is known yet.

        Args:
            agent: the engine.
            store: the state store.
            membership: knows the lease, and the other home agents.
            packets: how many packets the data path has tunnelled for a home address.
        """
        self._agent = agent
        self._store = store
        self._membership = membership
        self._traffic = TrafficWatch(packets)
        # Where other processes do IKE, certificates are theirs.
        endpoint = agent.endpoint
        self._certificates = CertificateWatch(endpoint.certificates) if isinstance(endpoint, IkeEndpoint) else None

    def check_some(self) -> None:
        """Check certificates for some milliseconds at most."""
        if self._certificates is not None and not self._agent.takeover.active:
            self._certificates.check_some()

    async def beat(self, now: float) -> None:
        """Do as much as is due at a heartbeat.

        Args:
            now: monotonic seconds.
        """
        if self._membership.lease is None or self._agent.takeover.active:
            return
        try:
            await self._note_traffic(now)
            if self._certificates is not None:
                await self._write_certificates(self._certificates)
                await self._read_certificates(self._certificates, now)
        except StoreError:
            return  # it is tried again, and the membership tells of a store that does not answer

    async def _note_traffic(self, now: float) -> None:
        self._traffic.look(self._bound, now, time.time())
        lease, last_traffic = self._membership.lease, self._traffic.to_write()
        if lease is not None and last_traffic:
            await self._store.run(lambda store: store.note_traffic(lease, last_traffic))
            self._traffic.written(last_traffic)

    async def _write_certificates(self, certificates: CertificateWatch) -> None:
        lease, chains = self._membership.lease, certificates.to_write()
        if lease is not None and chains:
            await self._store.run(lambda store: store.write_certificates(lease, chains))
            certificates.written(chains)

    async def _read_certificates(self, certificates: CertificateWatch, now: float) -> None:
        others = [lease.home_agent for lease in self._membership.others_alive()]
        wanted = certificates.next_page(others, now)
        if wanted is not None:
            owner, after = wanted
            certificates.read(await self._store.run(lambda store: store.certificates(owner, after, PAGE)))

    def _bound(self) -> Iterator[tuple[IPv6Address, str]]:
        return (
            (binding.home_address, binding.identity) for binding in self._agent.registrations.rules.cache.bindings()
        )
