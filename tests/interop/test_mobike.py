"""MOBIKE with strongSwan: its address changes and it moves the IKE SA with us; and ours changes and we do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from bench.lab.ike_peers import OUR_NAME, OURS, SHARED_KEY, THEIR_NAME, THEIRS, Ours, Peers, run
from control.ikev2.events import AddressUpdated, IkeClosed, IkeRekeyed, PeerAddressChanged, PeerAlive
from control.ikev2.exchanges.mobike import update_addresses

pytestmark = pytest.mark.namespaces

THEIRS_NEXT = IPv6Address("2001:db8:5::22")
OURS_NEXT = IPv6Address("2001:db8:5::11")
# MOBIKE is what strongSwan does by default.
CONNECTIONS = f"""
connections {{ ha {{
  remote_addrs = {OURS}
  proposals = aes128gcm16-prfsha256-x25519
  local {{ auth = psk
 id = {THEIR_NAME} }}
  remote {{ auth = psk
 id = {OUR_NAME} }}
  children {{ c {{ mode = transport
 esp_proposals = aes128gcm16 }} }}
}} }}
secrets {{ ike {{ id = {OUR_NAME}
 secret = {SHARED_KEY.decode()} }} }}
"""


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    with Peers(tmp_path, mobike=True) as both:
        both.charon.load(CONNECTIONS)
        yield both


def replace_address(namespace: str, old: IPv6Address, new: IPv6Address) -> None:
    run("ip", "-n", namespace, "address", "add", f"{new}/64", "dev", "wire", "nodad")
    run("ip", "-n", namespace, "address", "delete", f"{old}/64", "dev", "wire")


@pytest.mark.interop("MOBIKE: strongSwan moves", role="responder", authentication="shared key")
def test_strongswan_moves_and_keeps_the_ike_sa(peers: Peers) -> None:
    peers.swanctl_and_pump("--initiate", "--ike", "ha")
    (sa,) = peers.ours.established()
    assert sa.mobike is not None
    assert not sa.mobike.decides
    before = (sa.local_spi, sa.remote_spi)
    replace_address(peers.their_namespace, THEIRS, THEIRS_NEXT)
    peers.ours.wait(lambda: peers.ours.happened(PeerAddressChanged))
    assert (sa.remote_address, sa.local_spi, sa.remote_spi) == (THEIRS_NEXT, *before)
    (seen,) = peers.charon.established()
    assert seen["local-host"] == str(THEIRS_NEXT)
    assert (seen["initiator-spi"], seen["responder-spi"]) == (sa.remote_spi.hex(), sa.local_spi.hex())
    assert peers.endpoint.statistics["mobike-updates"] >= 1
    # It goes on from there, with requests of either side.
    sa.probe_liveness(time.monotonic())
    peers.ours.wait(lambda: peers.ours.happened(PeerAlive))
    peers.charon.swanctl("--rekey", "--ike", "ha")
    peers.ours.wait(lambda: peers.ours.happened(IkeRekeyed))
    (successor,) = peers.ours.established()
    # And once more, with the IKE SA that came of rekeying.
    replace_address(peers.their_namespace, THEIRS_NEXT, THEIRS)
    peers.ours.wait(lambda: successor.remote_address == THEIRS and len(peers.ours.happened(PeerAddressChanged)) > 1)
    assert not peers.ours.happened(IkeClosed)


@pytest.mark.interop("MOBIKE: strongSwan tells its further addresses", role="responder", authentication="shared key")
def test_strongswan_tells_its_further_addresses(peers: Peers) -> None:
    run("ip", "-n", peers.their_namespace, "address", "add", f"{THEIRS_NEXT}/64", "dev", "wire", "nodad")
    peers.swanctl_and_pump("--initiate", "--ike", "ha")
    (sa,) = peers.ours.established()
    assert sa.mobike is not None
    known = {sa.remote_address, *sa.mobike.peer_addresses}
    assert {THEIRS, THEIRS_NEXT} <= known
    run("ip", "-n", peers.their_namespace, "address", "add", "2001:db8:5::33/64", "dev", "wire", "nodad")
    peers.ours.wait(lambda: sa.mobike is not None and IPv6Address("2001:db8:5::33") in sa.mobike.peer_addresses)


@pytest.mark.interop("MOBIKE: we move", role="initiator", authentication="shared key")
def test_we_move_and_strongswan_follows(peers: Peers) -> None:
    sa = peers.connect()
    assert sa.mobike is not None
    assert sa.mobike.decides
    before = (sa.local_spi, sa.remote_spi)
    peers.ours.wait(lambda: sa.exchanges.current is None)
    replace_address(peers.our_namespace, OURS, OURS_NEXT)
    # The same endpoint, with sockets at its new address.
    moved = Ours(peers.our_namespace, OURS_NEXT, peers.policy)
    moved.endpoint, moved.reported = peers.endpoint, peers.ours.reported
    try:
        update_addresses(sa, time.monotonic(), local=sa.local._replace(address=OURS_NEXT))
        moved.wait(lambda: moved.happened(AddressUpdated))
        (seen,) = peers.charon.established()
        assert seen["remote-host"] == str(OURS_NEXT)
        assert (sa.local_spi, sa.remote_spi) == before
        sa.probe_liveness(time.monotonic())
        moved.wait(lambda: moved.happened(PeerAlive))
    finally:
        moved.close()
