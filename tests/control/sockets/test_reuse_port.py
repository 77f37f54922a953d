"""Groups of sockets on loopback, with the programs that steer IKE."""

from __future__ import annotations

import random
import select
import socket
from ipaddress import IPv6Address

import pytest

from control.ike_workers.steering import nat_traversal_filter, plain_filter, spi_shaper, worker_of
from control.ikev2.message import ZERO_SPI, Header, Message, encode_message
from control.ikev2.numbers import ExchangeType
from control.ipsec.udp_encapsulation import KEEPALIVE, NON_ESP_MARKER
from control.sockets.reuse_port import bind_group
from tests.waiting import PATIENCE_S

LOOPBACK = IPv6Address("::1")
RANDOM = random.Random(3)


def message(initiator_spi: bytes, responder_spi: bytes, *, from_initiator: bool, is_response: bool = False) -> bytes:
    header = Header(initiator_spi, responder_spi, ExchangeType.INFORMATIONAL, from_initiator, is_response, 5)
    return encode_message(Message(header, ()))


@pytest.fixture
def sender():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        yield sock


@pytest.fixture
def group(request):
    program, size = request.param
    sockets = bind_group(LOOPBACK, 0, program, size)
    yield sockets
    for sock in sockets:
        sock.close()


def where(group, sender, data: bytes) -> int:
    """The index of the one socket that gets a datagram."""
    sender.sendto(data, group[0].getsockname()[:2])
    ready, _, _ = select.select(group, [], [], PATIENCE_S)
    assert len(ready) == 1
    assert ready[0].recv(2000) == data
    return group.index(ready[0])


@pytest.mark.parametrize(
    ("group", "workers", "marker"),
    [
        ((plain_filter(2), 2), 2, b""),
        ((plain_filter(5), 5), 5, b""),
        ((nat_traversal_filter(3), 4), 3, NON_ESP_MARKER),
    ],
    indirect=["group"],
    ids=["port-500", "five-workers", "port-4500"],
)
def test_a_message_reaches_the_worker_whose_spi_is_in_it_whoever_began(group, sender, workers, marker):
    seen = set()
    for _ in range(1000):
        owner = RANDOM.randrange(workers)
        ours = spi_shaper(owner, workers)(RANDOM.randbytes(8))
        theirs = RANDOM.randbytes(8)
        from_initiator, is_response = RANDOM.random() < 0.5, RANDOM.random() < 0.5
        spis = (theirs, ours) if from_initiator else (ours, theirs)
        data = message(*spis, from_initiator=from_initiator, is_response=is_response)
        assert worker_of(ours, workers) == owner
        assert where(group, sender, marker + data) == owner
        seen.add(owner)
    assert seen == set(range(workers))


@pytest.mark.parametrize("group", [(plain_filter(3), 3)], indirect=True)
def test_beginnings_of_strangers_are_spread_and_their_repetitions_come_to_the_same_worker(group, sender):
    counts = [0, 0, 0]
    for _ in range(300):
        begin = message(spi := RANDOM.randbytes(8), ZERO_SPI, from_initiator=True)
        first = where(group, sender, begin)
        assert first == where(group, sender, begin) == worker_of(spi, 3)
        counts[first] += 1
    assert min(counts) > 50


@pytest.mark.parametrize("group", [(plain_filter(2), 2)], indirect=True)
def test_a_responder_spi_that_begins_or_ends_with_zeros_counts(group, sender):
    initiator = bytes.fromhex("0001") + RANDOM.randbytes(6)
    for responder in (bytes(4) + b"\x00\x00\x00\x01", b"\x00\x00\x00\x01" + bytes(4), b"\x00\x02" + bytes(6)):
        assert where(group, sender, message(initiator, responder, from_initiator=True)) == 0
    assert where(group, sender, message(initiator, ZERO_SPI, from_initiator=True)) == 1


@pytest.mark.parametrize("group", [(nat_traversal_filter(2), 3)], indirect=True)
def test_esp_and_keepalives_go_to_the_last_socket_of_port_4500(group, sender):
    esp = b"\x01\x02\x03\x04" + RANDOM.randbytes(60)
    for data in (KEEPALIVE, esp, esp[:9], NON_ESP_MARKER + bytes(5), b""):
        assert where(group, sender, data) == 2


@pytest.mark.parametrize("group", [(plain_filter(2), 2)], indirect=True)
def test_what_is_too_short_for_a_message_goes_to_the_first(group, sender):
    for size in (0, 1, 18):
        assert where(group, sender, b"\xff" * size) == 0


@pytest.mark.parametrize("group", [(plain_filter(2), 2)], indirect=True)
def test_a_second_group_is_refused_the_port(group):
    with pytest.raises(OSError, match="in use"):
        bind_group(LOOPBACK, group[0].getsockname()[1], plain_filter(2), 2)


@pytest.mark.parametrize("workers", [1, 2, 3, 64])
def test_every_spi_can_be_shaped_for_every_worker(workers):
    for head in (0, 1, 62, 0x7FFF, 0xFFC0, 0xFFFE, 0xFFFF):
        for worker in range(workers):
            shaped = spi_shaper(worker, workers)(head.to_bytes(2, "big") + b"abcdef")
            assert worker_of(shaped, workers) == worker
            assert shaped[2:] == b"abcdef"
