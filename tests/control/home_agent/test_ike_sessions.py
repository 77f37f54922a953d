"""Which IKE SA of a node is in use where it has made more than one."""

from __future__ import annotations

from ipaddress import IPv6Address
from types import SimpleNamespace

import pytest

from control.home_agent.ike_sessions import IkeSessions


def made(name: str) -> SimpleNamespace:
    return SimpleNamespace(name=name, remote_identity="mn", children={})


@pytest.fixture
def sessions() -> IkeSessions:
    directory = SimpleNamespace(home_address=lambda identity: IPv6Address("2001:db8:100::1"))
    signalling = SimpleNamespace(install=lambda child, home_address, now, *, outbound_waits: None)
    return IkeSessions(directory, signalling)  # type: ignore[arg-type]


def test_the_older_one_goes_when_the_newer_one_is_in_use(sessions):
    older, newer = made("older"), made("newer")
    assert sessions.established(older) == ("mn", None)
    assert sessions.established(newer) == ("mn", None)
    assert list(sessions) == [newer, older]
    assert len(sessions) == 2
    assert sessions.take_superseded("mn", newer) is older
    assert sessions.take_superseded("mn", newer) is None
    assert list(sessions) == [newer]


def test_the_older_one_stays_when_it_is_the_one_in_use(sessions):
    older, newer = made("older"), made("newer")
    sessions.established(older)
    sessions.established(newer)
    assert sessions.take_superseded("mn", older) is None
    assert sessions.of("mn") == (newer, older)
    assert sessions.take_superseded("mn", newer) is older


def test_a_packet_is_a_sign_of_life_on_the_ike_sa_that_it_belongs_to(sessions):
    older, newer = made("older"), made("newer")
    for sa, spi in ((older, 0x1001), (newer, 0x1002)):
        sessions.established(sa)
        sa.children[spi] = SimpleNamespace(inbound_spi=spi)
        sessions.child_established(sa, sa.children[spi], 0.0)
    assert sessions.behind(0x1001) == ("mn", older)
    assert sessions.behind(0x1002) == ("mn", newer)
    assert sessions.behind(0x1003) == (None, None)


def test_of_three_the_one_that_was_never_used_is_one_too_many(sessions):
    first, second, third = made("first"), made("second"), made("third")
    sessions.established(first)
    sessions.established(second)
    assert sessions.established(third) == ("mn", second)
    sessions.closed(second)
    assert sessions.of("mn") == (third, first)
    assert sessions.established(third) == ("mn", None)


def test_when_the_newer_one_comes_to_nothing_the_older_one_is_the_newest(sessions):
    older, newer = made("older"), made("newer")
    sessions.established(older)
    sessions.established(newer)
    sessions.closed(newer)
    assert sessions.current("mn") is older
    assert sessions.take_superseded("mn", older) is None
    sessions.closed(older)
    assert sessions.of("mn") == ()
