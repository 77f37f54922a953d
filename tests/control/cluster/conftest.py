"""What the tests of the cluster share: stores on one file, and records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from bench.lab.redis_server import RedisServer
from control.cluster.redis_address import RedisAddress
from control.cluster.redis_store import RedisStore
from control.cluster.sqlite_store import SqliteStore
from control.cluster.store import BindingRecord, StateStore
from tests.ports import reserved_ports

HA1_ADDRESS = IPv6Address("2001:db8:a1::1")
HOME_PREFIX = int(IPv6Address("2001:db8:100::"))
CARE_OF_PREFIX = int(IPv6Address("2001:db8:c::"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def open_store(path: Path) -> Iterator[Callable[[], SqliteStore]]:
    """Opens another store on the same file, as another process would."""
    opened = []

    def open_another() -> SqliteStore:
        opened.append(SqliteStore(path, busy_timeout_s=0.05))
        return opened[-1]

    yield open_another
    for store in opened:
        store.close()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def three_ports() -> Iterator[list[int]]:
    with reserved_ports(3) as ports:
        yield ports


@pytest.fixture
def redis_address(redis_server: RedisServer) -> RedisAddress:
    redis_server.empty()
    return redis_server.address


@pytest.fixture(params=["sqlite", "redis"])
def open_any_store(request: pytest.FixtureRequest) -> Iterator[Callable[[], StateStore]]:
    """Opens another store on the same file or server, as another process would."""
    if request.param == "sqlite":
        yield request.getfixturevalue("open_store")
        return
    address = request.getfixturevalue("redis_address")
    opened: list[RedisStore] = []

    def open_another() -> RedisStore:
        opened.append(RedisStore(address))
        return opened[-1]

    yield open_another
    for store in opened:
        store.close()


@pytest.fixture
def make_binding() -> Callable[..., BindingRecord]:
    def make(number: int, **changes: object) -> BindingRecord:
        values: dict[str, object] = {
            "home_address": IPv6Address(HOME_PREFIX + number),
            "care_of_address": IPv6Address(CARE_OF_PREFIX + number),
            "home_agent": "ha1",
            "home_agent_address": HA1_ADDRESS,
            "identity": f"mn{number}@example.org",
            "lifetime_expires_at": 1_700_003_600.5 + number,
            "sequence_number": number % 65536,
            "key_management": number % 2 == 1,
        }
        return BindingRecord(**(values | changes))  # type: ignore[arg-type]

    return make
