"""The process of one IKE worker: ``python -m control.daemon.ike_worker COMMANDS QUESTIONS PORT-500 [PORT-4500]``.

The arguments are descriptors that the daemon leaves it. It ends when the daemon does.
"""

from __future__ import annotations

import ctypes
import logging
import os
import pickle
import selectors
import signal
import socket
import sys
import time
from functools import partial
from typing import NoReturn

from control.config.problems import ConfigurationError
from control.daemon.garbage import settle
from control.daemon.ike_configuration import home_agent_policy, ike_configuration, node_directory, use_certificates
from control.daemon.ike_worker_start import LOG_FORMAT, WorkerStart
from control.daemon.revocation_files import RevocationFiles
from control.ike_workers import messages as m
from control.ike_workers.certificates import unpack
from control.ike_workers.framing import Unframer, frame
from control.ike_workers.steering import spi_shaper
from control.ike_workers.worker import IkeWorker, WorkerSpis
from control.ike_workers.worker_policy import WorkerPolicy
from control.ikev2.endpoint import IkeEndpoint
from control.ipsec.spi_sequence import SpiSequence
from control.key_export import KeyExport
from control.sockets.ike_udp import IkeSockets

_PIECE = 1 << 18
_ANSWER_SIZE = 1 << 16
_REPORT_EVERY_S = 0.25
_REVOCATION_POLL_S = 30.0
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_LINUX_CAPABILITY_VERSION_3 = 0x20080522


class _DaemonGone(Exception):
    """The other end of a channel is closed."""


class WorkerProcess:
    """Sockets and time around one worker."""

    def __init__(self, start: WorkerStart, channel: socket.socket, questions: socket.socket, ports: list[int]) -> None:
        """Put it together.

        Raises:
            ConfigurationError: a revocation list is not what it should be.
            OSError: the key file cannot be written.
        """
        settings = start.configuration
        self._channel = channel
        self._questions = questions
        directory = node_directory(settings, start.nodes)
        for identity, home_address in start.home_addresses.items():
            directory.adopt(identity, home_address)
        keys = KeyExport(settings.key_export.ike, None)
        spis = WorkerSpis(SpiSequence(os.urandom), start.index, start.workers)
        shape_spi = spi_shaper(start.index, start.workers)
        certificates = unpack(start.certificates)
        configuration = ike_configuration(settings, keys.ike, start.workers, shape_spi, certificates)
        own_policy = home_agent_policy(settings, directory, configuration)
        policy = WorkerPolicy(own_policy, directory, self._ask)
        endpoint = IkeEndpoint(configuration, policy, os.urandom, spis.allocate)
        self._worker = IkeWorker(endpoint, directory, spis, partial(use_certificates, endpoint, own_policy))
        bound = [socket.socket(fileno=descriptor) for descriptor in ports]
        self._sockets = IkeSockets(settings.home_agent.address, nat_traversal=len(ports) > 1, bound=bound)
        lists = configuration.revocation
        self._revocation = None if lists is None else RevocationFiles(lists, settings.ike.crls)
        self._unframer = Unframer()
        self._busy_s = 0.0

    def run(self) -> NoReturn:
        """Work until the daemon is gone.

        Raises:
            _DaemonGone: it is.
        """
        selector = selectors.DefaultSelector()
        selector.register(self._channel, selectors.EVENT_READ)
        for sock in self._sockets.sockets:
            selector.register(sock, selectors.EVENT_READ)
        report_at = revocation_at = time.monotonic()
        while True:
            due = min(report_at, self._worker.next_timer() or report_at)
            ready = selector.select(max(0.0, due - time.monotonic()))
            woken_at = now = time.monotonic()
            commands = sum(key.fileobj is self._channel for key, _ in ready)
            if commands:
                self._read_commands(now)
            if len(ready) > commands:
                self._worker.receive_datagrams(self._sockets.receive(), now)
            self._worker.handle_timer(now)
            self._pump(with_statistics=now >= report_at)
            now = time.monotonic()
            self._busy_s = max(self._busy_s, now - woken_at)
            if now >= report_at:
                report_at = now + _REPORT_EVERY_S
            if self._revocation is not None and now >= revocation_at:
                revocation_at = now + _REVOCATION_POLL_S
                self._revocation.refresh()

    def _read_commands(self, now: float) -> None:
        piece = self._channel.recv(_PIECE)
        if not piece:
            raise _DaemonGone
        for message in self._unframer.feed(piece):
            self._worker.obey(m.COMMANDS.decode(message), now)

    def _pump(self, *, with_statistics: bool) -> None:
        self._worker.collect(self._busy_s, with_statistics=with_statistics)
        messages = self._worker.messages()
        if messages:
            self._busy_s = 0.0
            self._channel.sendall(b"".join(frame(m.REPORTS.encode(message)) for message in messages))
        self._sockets.send(self._worker.datagrams_to_send())

    def _ask(self, question: m.Question) -> m.Answer:
        self._questions.sendall(m.QUESTIONS.encode(question))
        answer = self._questions.recv(_ANSWER_SIZE)
        if not answer:
            raise _DaemonGone
        return m.ANSWERS.decode(answer)


def _first_frame(channel: socket.socket) -> bytes:
    size = int.from_bytes(_exactly(channel, 4), "big")
    return _exactly(channel, size)


def _exactly(channel: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        piece = channel.recv(min(_PIECE, size - len(received)))
        if not piece:
            raise _DaemonGone
        received += piece
    return bytes(received)


def _end_with_parent() -> None:
    """SIGKILL as soon as the daemon is dead, were this process in an endless loop; nothing gives it privileges."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _drop_capabilities() -> None:
    """What the sockets needed privileges for is done; the rest of the work needs none."""
    libc = ctypes.CDLL(None, use_errno=True)
    nothing = (ctypes.c_uint32 * 6)()
    if libc.capset((ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0), nothing):
        raise OSError(ctypes.get_errno(), "capset")


def main(descriptors: list[int]) -> int:
    """Work as a worker; the exit status."""
    _end_with_parent()
    # The terminal and the service manager signal the whole group; when to stop is the daemon's to say.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel, questions = (socket.socket(fileno=descriptor) for descriptor in descriptors[:2])
    try:
        start = pickle.loads(_first_frame(channel))
        logging.basicConfig(level=start.log_level, format=LOG_FORMAT)
        process = WorkerProcess(start, channel, questions, descriptors[2:])
        del start
        _drop_capabilities()
        settle()
        process.run()
    except (_DaemonGone, ConnectionError):
        return 0
    except (ConfigurationError, OSError) as error:
        print(f"an IKE worker cannot start: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main([int(argument) for argument in sys.argv[1:]]))
