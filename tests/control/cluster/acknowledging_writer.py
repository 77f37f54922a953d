"""Run as a process of its own: writes bindings one after the other and says so once each is stored, until killed."""

from __future__ import annotations

import sys
from ipaddress import IPv6Address

from control.cluster.sqlite_store import SqliteStore
from control.cluster.store import BindingRecord

store = SqliteStore(sys.argv[1])
lease = store.acquire_lease("ha1", IPv6Address("2001:db8:a1::1"), 1_700_000_000.0, 3.0)
number = 0
while True:
    binding = BindingRecord(
        IPv6Address(number),
        IPv6Address(1 << 64 | number),
        "ha1",
        IPv6Address("2001:db8:a1::1"),
        f"mn{number}",
        1_700_003_600.0,
        number % 65536,
    )
    store.write_bindings(lease, [binding])
    print(number, flush=True)
    number += 1
