"""The Redis store where Redis differs: killed, emptied, read-only, full of garbage; replicas and Sentinel. All real."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from bench.lab.errors import LabError
from bench.lab.redis_server import RedisServer
from control.cluster.redis_address import RedisAddress
from control.cluster.redis_connection import _script
from control.cluster.redis_store import RedisStore
from control.cluster.store import BindingRecord, LeaseLost, LeaseRecord, StoreError
from tests.waiting import wait_until

MakeBinding = Callable[..., BindingRecord]
HA1, HA2 = IPv6Address("2001:db8:a1::1"), IPv6Address("2001:db8:a2::1")
T0 = 1_700_000_000.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def store(redis_address: RedisAddress) -> Iterator[RedisStore]:
    store = RedisStore(redis_address)
    yield store
    store.close()


def error_of(call: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        call()
    assert str(caught.value).endswith(caught.value.remedy)
    assert caught.value.remedy.endswith(".")
    return caught.value


def test_what_was_acknowledged_survives_the_death_of_the_server(server: RedisServer, make_binding: MakeBinding) -> None:
    store = RedisStore(server.address)
    before = store.incarnation()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    bindings = [make_binding(number) for number in range(100)]
    for binding in bindings:
        store.write_bindings(lease, [binding], T0)
    server.kill()
    assert error_of(lambda: store.write_bindings(lease, [make_binding(200)])).reason == "unreachable"
    server.start()
    store.write_bindings(lease, [make_binding(201)])  # by itself on a new connection, its scripts loaded again
    assert store.bindings("ha1") == [*bindings, make_binding(201)]
    assert store.incarnation() != before
    store.close()


def test_an_emptied_server_voids_leases_and_tokens_still_grow(
    redis_server: RedisServer, store: RedisStore, make_binding: MakeBinding
) -> None:
    before = store.incarnation()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.write_bindings(lease, [make_binding(1)])
    redis_server.empty()
    with pytest.raises(LeaseLost):
        store.renew_lease(lease, T0 + 1.0, 3.0)
    assert store.incarnation() != before
    assert store.acquire_lease("ha1", HA1, T0 + 1.0, 3.0).token > lease.token


def test_garbage_is_left_out_and_counted_and_the_rest_is_served(
    redis_server: RedisServer, store: RedisStore, make_binding: MakeBinding
) -> None:
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.write_bindings(lease, [make_binding(number) for number in range(1, 5)], T0)
    homes = [str(make_binding(number).home_address) for number in range(1, 5)]
    prefix = "{homeagent}:"
    redis_server.command("HSET", f"{prefix}bindings:ha1", homes[0], "nonsense")
    redis_server.command("HSET", f"{prefix}bindings:ha1", homes[1], "::1 ::2 soon 3 0 mn2@example.org")
    redis_server.command("HSET", f"{prefix}bindings:ha1", "not an address", "::1 ::2 1.0 3 0 mn@example.org")
    redis_server.command("HSET", f"{prefix}bindings:ha1", homes[2], "::1 ::2 1.0 65536 0 mn3@example.org")
    redis_server.command(
        "HSET", f"{prefix}bindings:ha1", "2001:db8::5", "::1 ::2 1.0 3 0,2001:db8::1/64 mn5@example.org"
    )
    redis_server.command("HSET", f"{prefix}nodes:ha1", "mn4@example.org", "")
    redis_server.command("HSET", f"{prefix}leases", "ha9", "one two three")
    redis_server.command("HSET", f"{prefix}traffic", "mn1@example.org", "nan", "mn2@example.org", "yesterday")
    redis_server.command("HSET", f"{prefix}certificates", "mn1@example.org", "forged")
    assert store.bindings("ha1") == [make_binding(4)]
    assert [node.identity for node in store.nodes("ha1")] == [f"mn{number}@example.org" for number in (1, 2, 3)]
    assert [lease.home_agent for lease in store.leases()] == ["ha1"]
    assert store.certificates("ha1", "", 1) == [("mn1@example.org", ())]
    assert store.refused_records == {"binding": 5, "node": 1, "lease": 1, "traffic": 2, "certificates": 1}
    lease2 = store.acquire_lease("ha2", HA2, T0 + 3.0, 30.0)
    claimed = store.claim("ha1", lease2, T0 + 3.0)
    assert [node.node.identity for node in claimed] == [f"mn{number}@example.org" for number in (1, 2, 3)]
    assert all(node.binding is None for node in claimed)
    assert store.claim("ha1", lease2, T0 + 3.0) == []
    # Nodes whose records were spoilt register again, and all is well.
    store.write_bindings(lease2, [make_binding(number, home_agent="ha2") for number in range(1, 5)], T0 + 4.0)
    assert {make_binding(number, home_agent="ha2") for number in range(1, 5)} <= set(store.bindings("ha2"))


@pytest.mark.parametrize("time", ["inf", "-inf", "nan", "1e999"])
def test_what_is_no_time_is_garbage_too(
    redis_server: RedisServer, store: RedisStore, make_binding: MakeBinding, time: str
) -> None:
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.write_bindings(lease, [make_binding(number) for number in (1, 2, 3)], T0)
    home, prefix = str(make_binding(1).home_address), "{homeagent}:"
    redis_server.command("HSET", f"{prefix}bindings:ha1", home, f"::1 ::2 {time} 3 0 mn1@example.org")
    redis_server.command("HSET", f"{prefix}nodes:ha1", "mn2@example.org", f"1 {time} {home} -")
    redis_server.command("HSET", f"{prefix}leases", "ha9", f"7 {time} 0 2001:db8:a9::1")
    assert len(store.bindings("ha1")) == len(store.nodes("ha1")) == 2
    assert [lease.home_agent for lease in store.leases()] == ["ha1"]
    assert store.refused_records == {"binding": 1, "node": 1, "lease": 1}


def test_the_operator_can_claim_from_an_agent_whose_lease_is_garbage(
    redis_server: RedisServer, store: RedisStore, make_binding: MakeBinding
) -> None:
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.write_bindings(lease, [make_binding(number) for number in (1, 2)], T0)
    redis_server.command("HSET", "{homeagent}:leases", "ha1", f"{lease.token} soon 0 {HA1}")
    by = store.acquire_lease("ha2", HA2, T0, 30.0)
    for limit in (1, 5):
        assert len(store.claim("ha1", by, T0, force=True, limit=limit)) == 1


class AnswerLost:
    """A way to a server on which the answer to a request that holds certain bytes is lost, with the connection."""

    def __init__(self, server: RedisServer, marker: bytes) -> None:
        self.requests = 0
        self._server, self._marker = server, marker
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = RedisAddress.parse(f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0")
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._carry, args=(self._listener.accept()[0],), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(str(self._server.socket))
            while data := client.recv(1 << 16):
                is_marked = self._marker in data
                self.requests += is_marked
                server.sendall(data)
                answer = server.recv(1 << 16)
                if is_marked and self.requests == 1:
                    return
                client.sendall(answer)


def test_a_claim_whose_answer_is_lost_is_not_made_again_unseen(
    redis_server: RedisServer, store: RedisStore, make_binding: MakeBinding
) -> None:
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.write_bindings(lease, [make_binding(number) for number in range(4)], T0)
    by = store.acquire_lease("ha2", HA2, T0 + 5.0, 30.0)
    store._connection._client.script_load(_script("claim")[0])
    way = AnswerLost(redis_server, _script("claim")[1].encode())
    distant = RedisStore(way.address)
    assert error_of(lambda: distant.claim("ha1", by, T0 + 5.0, limit=2)).reason == "unreachable"
    assert way.requests == 1
    assert len(store.nodes("ha2")) == 2
    assert len(distant.claim("ha1", by, T0 + 5.0, limit=2)) == 2
    distant.close()
    way.close()


def test_keys_of_another_program_are_not_touched(redis_server: RedisServer, store: RedisStore) -> None:
    redis_server.command("DEL", "{homeagent}:leases")
    redis_server.command("SET", "{homeagent}:leases", "mine")
    assert error_of(lambda: store.acquire_lease("ha1", HA1, T0, 3.0)).reason == "foreign-database"
    assert redis_server.command("GET", "{homeagent}:leases") == "mine"


def test_a_newer_schema_is_refused(redis_server: RedisServer, redis_address: RedisAddress) -> None:
    redis_server.command("SET", "{homeagent}:schema", "99")
    assert error_of(lambda: RedisStore(redis_address)).reason == "newer-schema"


def test_who_is_not_there_and_who_does_not_let_us_in(server: RedisServer, tmp_path: Path) -> None:
    missing = RedisAddress.parse(f"unix://{tmp_path}/nothing.sock")
    assert error_of(lambda: RedisStore(missing)).reason == "unreachable"
    server.command("CONFIG", "SET", "requirepass", "sesame")
    refused = error_of(lambda: RedisStore(server.address))
    assert refused.reason == "access"
    wrong = RedisAddress.parse(f"{server.url}?password=wrong-secret")
    assert "wrong-secret" not in str(error_of(lambda: RedisStore(wrong)))


def test_a_full_server_refuses_and_keeps_what_it_has(server: RedisServer, make_binding: MakeBinding) -> None:
    store = RedisStore(server.address)
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.write_bindings(lease, [make_binding(1)])
    server.command("CONFIG", "SET", "maxmemory", "1")
    assert error_of(lambda: store.write_bindings(lease, [make_binding(2)])).reason == "disk-full"
    server.command("CONFIG", "SET", "maxmemory", "0")
    assert store.bindings("ha1") == [make_binding(1)]
    store.close()


def test_a_stopped_server_is_a_timeout_not_a_hang(server: RedisServer) -> None:
    store = RedisStore(server.address, timeout_s=1.0)  # with which it has to be opened, too
    server.command("CLIENT", "PAUSE", "3600000", "ALL")
    assert error_of(store.leases).reason == "timeout"
    store.close()


def replica_of(server: RedisServer, directory: Path, port: int) -> RedisServer:
    directory.mkdir()
    return RedisServer(directory, port=port, options=("--replicaof", "127.0.0.1", str(server.port)))


def test_with_replicas_demanded_nothing_counts_as_stored_before_they_have_it(
    tmp_path: Path, three_ports: list[int], make_binding: MakeBinding
) -> None:
    (tmp_path / "master").mkdir()
    with RedisServer(tmp_path / "master", port=three_ports[0]) as master:
        store = RedisStore(RedisAddress.parse(f"{master.url}?min_replicas=1"), timeout_s=4.0)
        assert error_of(lambda: store.acquire_lease("ha1", HA1, T0, 3.0)).reason == "not-replicated"
        with replica_of(master, tmp_path / "replica", three_ports[1]) as replica:
            wait_until(lambda: is_told(replica, "master_link_status:up"), "the replica does not follow")
            lease = store.acquire_lease("ha1", HA1, T0, 3.0)
            store.write_bindings(lease, [make_binding(1)])
            assert replica.command("HLEN", "{homeagent}:bindings:ha1") == "1"
            reader = RedisStore(RedisAddress.parse(master.url))
            assert reader.bindings("ha1") == [make_binding(1)]
        store.close()
        reader.close()


def test_sentinel_leads_to_the_new_master_and_nothing_acknowledged_is_lost(
    tmp_path: Path, three_ports: list[int], make_binding: MakeBinding
) -> None:
    (tmp_path / "master").mkdir()
    sentinel_port, master_port, replica_port = three_ports
    configuration = tmp_path / "sentinel.conf"
    with (
        RedisServer(tmp_path / "master", port=master_port) as master,
        replica_of(master, tmp_path / "replica", replica_port) as replica,
    ):
        wait_until(lambda: is_told(replica, "master_link_status:up"), "the replica does not follow")
        configuration.write_text(
            f"port {sentinel_port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor homeagent 127.0.0.1 "
            f"{master.port} 1\nsentinel down-after-milliseconds homeagent 3000\n"
            "sentinel failover-timeout homeagent 10000\n"
        )
        log = (tmp_path / "sentinel.log").open("wb")
        sentinel = subprocess.Popen(["redis-sentinel", str(configuration)], stdout=log)
        try:
            address = f"redis+sentinel://127.0.0.1:{sentinel_port}/homeagent?min_replicas=1"
            wait_until(lambda: known(sentinel_port), (tmp_path / "sentinel.log").read_text)
            store = RedisStore(RedisAddress.parse(address), timeout_s=10.0)
            before = store.incarnation()
            lease = store.acquire_lease("ha1", HA1, T0, 3.0)
            store.write_bindings(lease, [make_binding(1)])
            master.kill()
            wait_until(lambda: is_told(replica, "role:master"), (tmp_path / "sentinel.log").read_text)
            alone = RedisAddress.parse(address.partition("?")[0])
            wait_until(lambda: answers(alone), (tmp_path / "sentinel.log").read_text)
            after = RedisStore(alone, timeout_s=10.0)
            assert after.bindings("ha1") == [make_binding(1)]
            assert after.incarnation() != before
            after.renew_lease(lease, T0 + 1.0, 3.0)  # leases survive as well
            store.close()
            after.close()
        finally:
            sentinel.terminate()
            sentinel.wait()
            log.close()


def is_told(server: RedisServer, fact: str) -> bool:
    """Whether the server says this of its replication; while it changes sides it may drop the connection."""
    try:
        return fact in server.command("INFO", "replication")
    except LabError:
        return False


def known(sentinel_port: int) -> bool:
    command = ["redis-cli", "-p", str(sentinel_port), "SENTINEL", "replicas", "homeagent"]
    return "slave" in subprocess.run(command, capture_output=True, text=True, check=False).stdout


def answers(address: RedisAddress) -> bool:
    try:
        RedisStore(address).close()
    except StoreError:
        return False
    return True


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://ha:secret@store.example:7000/2?min_replicas=2", "redis://store.example:7000/2"),
        ("rediss://store.example", "rediss://store.example"),
        ("redis+sentinel://ha:secret@one:26380,two/homeagent/1", "homeagent of Sentinel one:26380,two:26379"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    address = RedisAddress.parse(url)
    assert str(address) == shown
    assert "secret" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://store.example",
        "state.db",
        "redis://store.example:seven",
        "redis://store.example?min_replicas=two",
        "redis+sentinel://one",
        "redis+sentinel://one/name/zero",
        "redis+sentinel://:1/name",
    ],
)
def test_an_address_that_cannot_be_understood_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        RedisAddress.parse(url)


class Relay:
    """Forwards connections to a server, and keeps back what comes in those there are while it is told to hold."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._gates: list[threading.Event] = []
        self.delivered = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """From now on nothing that comes in the present connections reaches the server."""
        for gate in self._gates:
            gate.clear()

    def release(self) -> None:
        """Let it through, whoever sent it may be gone."""
        for gate in self._gates:
            gate.set()

    def close(self) -> None:
        self._listener.close()
        self.release()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._path))
                gate = threading.Event()
                gate.set()
                self._gates.append(gate)
                threading.Thread(target=self._forward, args=(client, server, gate), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket, gate: threading.Event) -> None:
        with contextlib.suppress(OSError), server:
            while data := client.recv(65_536):
                was_held = not gate.is_set()
                gate.wait()
                server.sendall(data)
                if was_held:
                    server.shutdown(socket.SHUT_WR)
                    while server.recv(65_536):
                        pass  # until the server has done what it was told, and closes
                    self.delivered.set()

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            while data := server.recv(65_536):
                client.sendall(data)


@pytest.fixture
def relay(redis_server: RedisServer) -> Iterator[Relay]:
    redis_server.empty()
    relay = Relay(redis_server.socket)
    yield relay
    relay.close()


def test_a_write_that_hung_in_a_dead_connection_undoes_nothing(
    redis_server: RedisServer, relay: Relay, make_binding: MakeBinding
) -> None:
    store = RedisStore(RedisAddress.parse(f"redis://127.0.0.1:{relay.port}/0"), timeout_s=0.3)
    before = make_binding(1, sequence_number=5)
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.write_bindings(lease, [before], T0)
    relay.hold()
    # Given up in that connection, and done in another one at once.
    store.write_bindings(lease, [make_binding(1, sequence_number=6)], T0)
    store.write_bindings(lease, [after := make_binding(1, sequence_number=7)], T0)
    other = RedisStore(redis_server.address)  # as the keeper of the lease has one
    other.renew_lease(lease, T0 + 1.0, 3.0)
    other.close()
    relay.release()
    assert relay.delivered.wait(10.0)
    assert store.bindings("ha1") == [after]
    errors = str(redis_server.command("INFO", "errorstats"))
    assert "LATE" in errors, "the server was told, and refused"
    store.renew_lease(lease, T0 + 1.0, 3.0)
    store.close()


def test_a_lease_that_was_asked_for_late_fences_nobody_out(relay: Relay, make_binding: MakeBinding) -> None:
    store = RedisStore(RedisAddress.parse(f"redis://127.0.0.1:{relay.port}/0"), timeout_s=0.3)
    store.acquire_lease("ha1", HA1, T0, 3.0)
    relay.hold()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)  # by its second try
    relay.release()
    assert relay.delivered.wait(10.0)
    store.write_bindings(lease, [make_binding(1)], T0)
    assert store.leases() == [LeaseRecord("ha1", HA1, lease.token, T0 + 3.0, 0)]
    store.close()
