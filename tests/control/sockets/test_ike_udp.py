"""The IKE socket on loopback."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address

import pytest

from control.ikev2.address import Datagram, SocketAddress
from control.sockets.ike_udp import IkeSocket

LOOPBACK = IPv6Address("::1")


@pytest.fixture
def peer():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.settimeout(5)
        yield sock


@pytest.fixture
def ike_socket():
    sock = IkeSocket(LOOPBACK, 0)
    sock.local = SocketAddress(LOOPBACK, sock._socket.getsockname()[1])
    yield sock
    sock.close()


def test_datagrams_arrive_with_their_sender_and_go_to_their_destination(ike_socket, peer):
    peer.sendto(b"one", ("::1", ike_socket.local.port))
    peer.sendto(b"two", ("::1", ike_socket.local.port))
    sender = SocketAddress(LOOPBACK, peer.getsockname()[1])
    assert list(ike_socket.receive()) == [(b"one", sender), (b"two", sender)]
    assert list(ike_socket.receive()) == []
    ike_socket.send([Datagram(b"answer", ike_socket.local, sender)])
    assert peer.recv(100) == b"answer"


def test_what_the_kernel_does_not_take_is_counted_and_the_rest_is_sent(ike_socket, peer):
    sender = SocketAddress(LOOPBACK, peer.getsockname()[1])
    too_large = Datagram(b"x" * 70_000, ike_socket.local, sender)
    ike_socket.send([too_large, Datagram(b"fits", ike_socket.local, sender)])
    assert ike_socket.dropped == 1
    assert peer.recv(100) == b"fits"


def test_an_address_of_another_machine_cannot_be_bound():
    with pytest.raises(OSError, match="assign"):
        IkeSocket(IPv6Address("2001:db8::1"), 0)
