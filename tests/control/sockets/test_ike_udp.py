"""The IKE socket on loopback."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from control.ikev2.address import Datagram, SocketAddress
from control.ipsec.udp_encapsulation import KEEPALIVE, UdpContent
from control.sockets.ike_udp import IkeSocket, IkeSockets, NatTraversalArrival, NatTraversalSocket
from tests.waiting import PATIENCE_S, take

LOOPBACK = IPv6Address("::1")


@pytest.fixture
def peer():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.settimeout(PATIENCE_S)
        yield sock


@pytest.fixture
def ike_socket():
    sock = IkeSocket(LOOPBACK, 0)
    yield sock
    sock.close()


def test_datagrams_arrive_with_their_sender_and_go_to_their_destination(ike_socket, peer):
    peer.sendto(b"one", ("::1", ike_socket.local.port))
    peer.sendto(b"two", ("::1", ike_socket.local.port))
    sender = SocketAddress(LOOPBACK, peer.getsockname()[1])
    assert take(ike_socket.receive, 2) == [(b"one", sender), (b"two", sender)]
    assert list(ike_socket.receive()) == []
    ike_socket.send([Datagram(b"answer", ike_socket.local, sender)])
    assert peer.recv(100) == b"answer"


def test_what_the_kernel_does_not_take_is_counted_and_the_rest_is_sent(ike_socket, peer):
    sender = SocketAddress(LOOPBACK, peer.getsockname()[1])
    too_large = Datagram(b"x" * 70_000, ike_socket.local, sender)
    ike_socket.send([too_large, Datagram(b"fits", ike_socket.local, sender)])
    other_family = Datagram(b"x", ike_socket.local, SocketAddress(IPv4Address("127.0.0.1"), 9))
    ike_socket.send([other_family])
    assert ike_socket.dropped == 2
    assert peer.recv(100) == b"fits"


def test_an_address_of_another_machine_cannot_be_bound():
    with pytest.raises(OSError, match="assign"):
        IkeSocket(IPv6Address("2001:db8::1"), 0)


# Port 4500 and IPv4


@pytest.fixture(params=["::1", "127.0.0.1"])
def both_ends(request):
    """A socket of ours for ESP and IKE in UDP, and a plain one of a peer."""
    address = ip_address(request.param)
    ours = NatTraversalSocket(address, 0)
    with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.bind((request.param, 0))
        theirs.settimeout(PATIENCE_S)
        yield ours, theirs
    ours.close()


def test_what_comes_to_port_4500_is_told_apart(both_ends):
    ours, theirs = both_ends
    sender = SocketAddress(ours.local.address, theirs.getsockname()[1])
    esp = b"\x00\x00\x01\x00" + bytes(20)
    for payload in (bytes(4) + b"message", b"\xff", esp, b"\x01\x02\x03", b"", bytes(4)):
        theirs.sendto(payload, (str(ours.local.address), ours.local.port))
    assert take(ours.arrivals, 3) == [
        NatTraversalArrival(UdpContent.IKE, b"message", sender, None),
        NatTraversalArrival(UdpContent.ESP, esp, sender, None),
        NatTraversalArrival(UdpContent.IKE, b"", sender, None),
    ]
    assert ours.statistics == {"nat-keepalives": 1, "udp-too-short": 2}
    assert list(ours.arrivals()) == []


def test_ike_messages_leave_port_4500_behind_a_marker_and_keepalives_bare(both_ends):
    ours, theirs = both_ends
    remote = SocketAddress(ours.local.address, theirs.getsockname()[1])
    ours.send([Datagram(b"message", ours.local, remote), Datagram(KEEPALIVE, ours.local, remote)])
    assert [theirs.recv(100), theirs.recv(100)] == [bytes(4) + b"message", b"\xff"]


def test_esp_can_be_left_to_the_kernel(both_ends):
    """Which then does not show it: here it has no association and drops it. IKE still arrives."""
    ours, theirs = both_ends
    ours.give_esp_to_kernel()
    for payload in (b"\x00\x00\x01\x00" + bytes(20), b"\xff", bytes(4) + b"message"):
        theirs.sendto(payload, (str(ours.local.address), ours.local.port))
    assert [arrival.data for arrival in take(ours.arrivals, 1)] == [b"message"]
    assert ours.statistics == {}


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
def test_a_datagram_leaves_from_the_port_it_names(address):
    local = ip_address(address)
    sockets = IkeSockets(local, nat_traversal=True, ports=(0, 0))
    try:
        with socket.socket(socket.AF_INET6 if local.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind((address, 0))
            peer.settimeout(PATIENCE_S)
            remote = SocketAddress(local, peer.getsockname()[1])
            sockets.send([Datagram(b"one", sockets.plain.local, remote)])
            sockets.send([Datagram(b"two", sockets.nat_traversal.local, remote)])
            assert [peer.recv(10), peer.recv(10)] == [b"one", bytes(4) + b"two"]
            for sock, data in zip(sockets.sockets, (b"three", bytes(4) + b"four"), strict=True):
                peer.sendto(data, (address, sock.local.port))
            peer.sendto(b"\0\0\1\0" + bytes(20), (address, sockets.nat_traversal.local.port))
            assert take(sockets.receive, 2) == [
                (b"three", sockets.plain.local, remote),
                (b"four", sockets.nat_traversal.local, remote),
            ]
    finally:
        sockets.close()
