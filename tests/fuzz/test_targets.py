"""Every fuzz target over its seeds and some mutations of them, the same each time; ``make fuzz`` goes on from there."""

from __future__ import annotations

import gc
import random
import tracemalloc

import pytest

from control.ikev2.message import parse_message
from tests.fuzz.ike_pair import AGENT, IkePair, conversation, opened_chains
from tests.fuzz.targets import TARGETS, ike_message

MUTATIONS = 1000
SLOW = {"ike-datagrams": 500, "ike-authentic": 500}
"""Fewer of those that need milliseconds each."""


def mutated(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    copy = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(copy) + 1)
        match dice.randrange(6):
            case 0 if copy:
                copy[place % len(copy)] = dice.randrange(256)
            case 1 if copy:
                copy[place % len(copy)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                copy[place:place] = dice.randbytes(dice.randrange(1, 9))
            case 3:
                del copy[place : place + dice.randrange(1, 17)]
            case 4:
                other = dice.choice(others)
                copy[place:] = other[dice.randrange(len(other) + 1) :]
            case _ if copy:
                copy[place % len(copy)] ^= 1 << dice.randrange(8)
    return bytes(copy)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_mutations(name: str) -> None:
    target = TARGETS[name]
    seeds = list(target.seeds())
    assert seeds
    for seed in (*seeds, b"", bytes(1), bytes(4096)):
        target.run(seed)
    dice = random.Random(name)
    for _ in range(SLOW.get(name, MUTATIONS)):
        target.run(mutated(dice.choice(seeds), seeds, dice))


def test_the_seeds_get_far() -> None:
    assert len(conversation()) >= 8
    assert len({kind for _, kind, _ in opened_chains()}) >= 3
    parse_message(conversation()[0])
    with pytest.raises(TypeError):
        ike_message(None)  # type: ignore[arg-type]


def test_memory_is_bounded_under_a_storm() -> None:
    """One endpoint, thousands of mutants: after a warm-up it takes no more than a fixed amount."""
    pair = IkePair()
    pair.run()
    seeds = list(conversation())
    dice = random.Random(3)

    def storm(count: int) -> None:
        for _ in range(count):
            pair.now += 0.01
            pair.receive(AGENT, mutated(dice.choice(seeds), seeds, dice))
            for endpoint in pair.endpoints.values():
                endpoint.handle_timer(pair.now)
                endpoint.datagrams_to_send()
                endpoint.events()

    storm(2000)
    tracemalloc.start()
    try:
        storm(3000)
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 1 << 20
    assert len(pair.endpoints[AGENT]) <= 16
