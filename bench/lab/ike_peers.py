"""Our IKEv2 endpoint in one network namespace, strongSwan in another, a veth pair between them."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from itertools import count
from pathlib import Path
from typing import Any

from bench.lab.entering import inside
from bench.lab.strongswan import PLUGINS, StrongSwan
from control.eap.authenticator import EapAuthenticator
from control.ikev2.address import IpAddress, SocketAddress
from control.ikev2.child import ChildPolicy, ChildRequest
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.payloads import ConfigurationPayload, Identity
from control.ikev2.policy import ConfigurationAnswer, IkeConfiguration, PeerPolicy
from control.ikev2.sa import IkeSa
from control.ipsec.traffic_selector import TrafficSelector
from control.sockets.ike_udp import IkeSockets

OURS, THEIRS = IPv6Address("2001:db8:5::1"), IPv6Address("2001:db8:5::2")
OUR_NAME, THEIR_NAME = "ha1.example.org", "mn1@example.org"
SHARED_KEY = b"secret"
_NUMBERS = count(1)  # a module's peers may be there while another fixture's are made


class Policy(PeerPolicy):
    """Grants whatever is asked for, to whom has the key; None as the key for certificates.

    Attributes:
        configuration: the answer to a CFG_REQUEST.
        asked: the last CFG_REQUEST.
    """

    def __init__(self, key: bytes | None = SHARED_KEY) -> None:
        self.key = key
        self.configuration: ConfigurationPayload | None = None
        self.asked: ConfigurationPayload | None = None

    def shared_key(self, local: Identity, remote: Identity) -> bytes | None:
        """The one key."""
        return self.key

    def eap_authenticator(self, remote: Identity) -> EapAuthenticator | None:
        """Nobody uses EAP."""
        return None

    def accept_peer(self, remote: Identity, as_initiator: bool) -> bool:
        """Everybody."""
        return True

    def select_child(
        self, sa: IkeSa, local: tuple[TrafficSelector, ...], remote: tuple[TrafficSelector, ...]
    ) -> ChildPolicy | None:
        """What is asked for."""
        return ChildPolicy(local, remote)

    def configuration_reply(self, sa: IkeSa, request: ConfigurationPayload) -> ConfigurationAnswer | None:
        """The one answer."""
        self.asked = request
        return None if self.configuration is None else ConfigurationAnswer(self.configuration)


class Ours:
    """Our endpoint with a socket in a namespace, driven by the test: nothing happens outside of ``pump``.

    Attributes:
        endpoint: the engine.
        reported: its events so far.
        observe: told of each event as it happens.
    """

    def __init__(self, namespace: str, address: IpAddress, policy: PeerPolicy, **settings: Any) -> None:
        """Open the sockets of both ports.

        Args:
            namespace: where.
            address: of this side, in it.
            policy: what it decides.
            settings: of the IkeConfiguration, other than its defaults.
        """
        self.reported: list[tuple[IkeSa, Any]] = []
        self.observe: Callable[[IkeSa, Any], None] = lambda sa, event: None
        self.local = SocketAddress(address)
        with inside(namespace):
            self.sockets = IkeSockets(address, nat_traversal=True)
        self.socket = self.sockets.plain
        assert self.sockets.nat_traversal is not None
        self.nat_traversal = self.sockets.nat_traversal
        configuration = IkeConfiguration(Identity.from_text(OUR_NAME), time.time)
        self.endpoint = IkeEndpoint(
            replace(configuration, **settings),
            policy,
            os.urandom,
            lambda: int.from_bytes(os.urandom(4), "big") | 0x1000,
        )

    def close(self) -> None:
        """Close the sockets."""
        self.sockets.close()

    def pump(self, seconds: float = 0.05) -> None:
        """Send what is to be sent, and take what has come or wait that long for it."""
        self.sockets.send(self.endpoint.datagrams_to_send())
        self._take_events()
        self.has_arrivals(seconds)
        for data, local, remote in self.sockets.receive():
            self.endpoint.receive_datagram(data, local, remote, time.monotonic())
        self.endpoint.handle_timer(time.monotonic())

    def wait(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Pump until ``condition`` holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.reported, self.endpoint.statistics)
            self.pump()
        self._take_events()

    def _take_events(self) -> None:
        for sa, event in self.endpoint.events():
            self.reported.append((sa, event))
            self.observe(sa, event)

    def has_arrivals(self, seconds: float) -> bool:
        """Whether there is something unread, now or within that time."""
        return bool(select.select([self.socket, self.nat_traversal], [], [], seconds)[0])

    def happened(self, kind: type) -> list[Any]:
        """The events of a kind so far."""
        return [event for _, event in self.reported if isinstance(event, kind)]

    def established(self) -> list[IkeSa]:
        """The IKE SAs that are in use."""
        return [sa for sa in self.endpoint.sas() if sa.is_established]


class Peers:
    """Both sides and the wire, for the length of the block.

    Args:
        directory: for strongSwan's files.
        policy: of our side.
        options: of strongSwan, see StrongSwan.
        plugins: the same.
        log_level: the same.
        settings: of our side, see Ours.
    """

    def __init__(
        self,
        directory: Path,
        policy: PeerPolicy | None = None,
        *,
        options: str = "",
        plugins: Iterable[str] = PLUGINS,
        log_level: int = 1,
        **settings: Any,
    ) -> None:
        self.policy = policy or Policy()
        self._settings = settings
        suffix = f"{os.getpid()}-{next(_NUMBERS)}"
        self.our_namespace, self.their_namespace = (f"hatest-{side}-{suffix}" for side in ("ours", "swan"))
        self.charon = StrongSwan(directory, self.their_namespace, options=options, plugins=plugins, log_level=log_level)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Peers:
        with contextlib.ExitStack() as stack:
            stack.enter_context(wire((self.our_namespace, OURS), (self.their_namespace, THEIRS)))
            self.ours = Ours(self.our_namespace, OURS, self.policy, **self._settings)
            stack.callback(lambda: self.ours.close())
            stack.enter_context(self.charon)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *details: Any) -> None:
        self._stack.__exit__(*details)

    def renew(self, policy: PeerPolicy | None = None, **settings: Any) -> None:
        """Put a new endpoint in the place of ours; strongSwan goes on."""
        self.ours.close()
        self.policy = policy or Policy()
        self.ours = Ours(self.our_namespace, OURS, self.policy, **settings)

    def end(self) -> None:
        """End all SAs at both sides, so that the next test may begin."""
        for sa in self.ours.established():
            sa.delete(time.monotonic())
        self.wait(lambda: not self.ours.established())
        for theirs in self.charon.sas().values():
            self.swanctl_and_pump("--terminate", "--ike-id", theirs["uniqueid"], "--force", "--timeout", "1")
        self.wait(lambda: not self.charon.sas())

    @property
    def endpoint(self) -> IkeEndpoint:
        """Our engine."""
        return self.ours.endpoint

    def wait(self, condition: Callable[[], object]) -> None:
        """Pump until ``condition`` holds; what strongSwan makes of it is told with a failure."""
        try:
            self.ours.wait(condition)
        except AssertionError as error:
            error.add_note(f"charon has {self.charon.sas()}, and said last:\n{self.charon.log()[-6000:]}")
            raise

    def swanctl_and_pump(self, *arguments: str) -> None:
        """A swanctl that waits for us, until it has ended."""
        process = self.charon.begin(*arguments)
        self.wait(lambda: process.poll() is not None)

    def begin(self, child: ChildRequest | None = None, **options: Any) -> IkeSa:
        """Begin, without waiting; ``options`` are those of IkeEndpoint.connect."""
        default = ChildRequest((TrafficSelector.host(OURS),), (TrafficSelector.host(THEIRS),))
        options.setdefault("remote_identity", Identity.from_text(THEIR_NAME))
        return self.endpoint.connect(
            self.ours.local, SocketAddress(THEIRS), time.monotonic(), first_child=child or default, **options
        )

    def connect(self, child: ChildRequest | None = None, **options: Any) -> IkeSa:
        """Begin, and wait until it is established."""
        sa = self.begin(child, **options)
        self.wait(self.ours.established)
        return sa


def run(*command: str) -> str:
    """Run a command, which must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def wire(*ends: tuple[str, IPv6Address]) -> Iterator[None]:
    """Two network namespaces with a veth pair between them, ``wire`` in both."""
    (first, _), (second, _) = ends
    with contextlib.ExitStack() as stack:
        for name in (first, second):
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "delete", name)
        run("ip", "-n", first, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", second)
        for name, address in ends:
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "address", "add", f"{address}/64", "dev", "wire", "nodad")
            run("ip", "-n", name, "link", "set", "wire", "up")
        yield
