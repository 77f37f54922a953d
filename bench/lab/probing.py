"""The correspondent's traffic: echo probes to every home address, bulk transfers to one, numbered packets both ways."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from bench.lab.errors import LabError
from bench.lab.laboratory import Laboratory
from bench.lab.processes import LabProcess
from bench.lab.product import bench_command
from bench.lab.streams import FileFollower, JsonObject
from bench.lab.topology import Host

_BULK_PORT = 5001
_PATIENCE_S = 60.0


class EchoProbes:
    """The prober process in the correspondent's namespace, and what it has said so far."""

    def __init__(self, laboratory: Laboratory, correspondent: Host, targets: int, *options: str) -> None:
        command = bench_command("prober", "--targets", str(targets), *options)
        self._process = laboratory.spawn(correspondent.namespace, "prober", command, stdin=True)
        self._follower = FileFollower(self._process.output)
        self.targets = targets
        #: Targets that have answered at least once.
        self.reached = 0
        #: Seconds from the mark to the first answer after it, by target.
        self.outages: dict[int, float] = {}
        self.interval_s = float(self._follower.wait_for("started", _PATIENCE_S)["interval_s"])

    def set_target(self, target: int, address: IPv6Address) -> None:
        """Probe this address as `target` from now on."""
        self._command(f"target {target} {address}")

    def mark(self, at: float) -> None:
        """The failure happened at this CLOCK_MONOTONIC time."""
        self.outages.clear()
        self._command(f"mark {at!r}")

    def poll(self) -> list[JsonObject]:
        """Take in what the prober has said; the targets' first answers after the mark among it.

        Raises:
            LabError: the prober has ended.
        """
        self._process.require_running()
        answered = []
        for row in self._follower.read():
            if row["event"] == "progress":
                self.reached = int(row["reached"])
            elif row["event"] == "answered":
                self.outages[int(row["target"])] = float(row["outage_s"])
                answered.append(row)
        return answered

    def reach_all(self) -> bool:
        """Whether every target has answered at least once, by now."""
        self.poll()
        return self.reached == self.targets

    def are_answered(self) -> bool:
        """Whether every target has answered since the mark, by now."""
        self.poll()
        return len(self.outages) == self.targets

    def pause(self) -> None:
        """Send no more; answers under way still count."""
        self._command("pause")

    def report(self) -> list[JsonObject]:
        """Every target's history."""
        self._command("report")
        targets: list[JsonObject] = self._follower.wait_for("report", _PATIENCE_S)["targets"]
        return targets

    def stop(self) -> None:
        """End the probing."""
        self._command("stop")
        self._process.wait(_PATIENCE_S)

    def _command(self, line: str) -> None:
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()


@dataclass(frozen=True, slots=True)
class Transfer:
    """A bulk transfer that was started; it runs by itself."""

    process: LabProcess

    @property
    def running(self) -> bool:
        """Whether it is still under way."""
        return self.process.running

    def result(self) -> dict[str, Any]:
        """What the sender measured.

        Raises:
            LabError: it failed or its content arrived damaged.
        """
        lines = self.process.output.read_text().splitlines()
        result: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        if self.process.return_code != 0:
            raise LabError(f"bulk transfer failed: {result.get('error') or result or self.process.complaint()}")
        return result


class BulkTransfers:
    """Transfers from the correspondent to one mobile node."""

    def __init__(self, laboratory: Laboratory, correspondent: Host, node: Host) -> None:
        self._laboratory = laboratory
        self._correspondent = correspondent
        receiver = laboratory.spawn(
            node.namespace, "bulk-receive", bench_command("bulk", "receive", "--port", str(_BULK_PORT))
        )
        FileFollower(receiver.output).wait_for("listening", _PATIENCE_S)

    def start(self, name: str, to: IPv6Address, size: int) -> Transfer:
        """Begin to send `size` bytes to a home address."""
        command = bench_command("bulk", "send", str(to), "--port", str(_BULK_PORT), "--bytes", str(size))
        return Transfer(self._laboratory.spawn(self._correspondent.namespace, f"bulk-{name}", command))


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one end's packets, as the other end has counted them."""

    sent: int
    missing: int
    repeated: int
    first_missing: tuple[int, ...] = ()


class NumberedPackets:
    """Numbered packets between a correspondent and a mobile node's end of the tunnel, both ways at once."""

    def __init__(
        self,
        laboratory: Laboratory,
        correspondent: Host,
        node: Host,
        home_address: IPv6Address,
        home_agent: IPv6Address | IPv4Address,
        rate_per_s: float = 500.0,
        *,
        care_of: IPv4Address | None = None,
    ) -> None:
        """Begin to send.

        Args:
            laboratory: what the processes belong to.
            correspondent: one end.
            node: the other one.
            home_address: of the node.
            home_agent: where its tunnel ends.
            rate_per_s: packets a second, each way.
            care_of: an IPv4 address of the node's that its tunnel goes to, instead of its IPv6 address.
        """
        arguments = (f"--rate={rate_per_s}", str(correspondent.address), str(home_address))
        inside = (f"--device={node.device}", f"--care-of={care_of or node.address}", f"--home-agent={home_agent}")
        self._processes = {
            "decapsulated": laboratory.spawn(
                correspondent.namespace, "numbers-out", bench_command("numbered_packets", *arguments), stdin=True
            ),
            "encapsulated": laboratory.spawn(
                node.namespace, "numbers-in", bench_command("numbered_packets", *inside, *arguments), stdin=True
            ),
        }
        self._followers = {way: FileFollower(each.output) for way, each in self._processes.items()}
        for follower in self._followers.values():
            follower.wait_for("started", _PATIENCE_S)
        for way in self._processes:
            self._command(way, "go")

    def deliveries(self, patience_s: float = 10.0) -> dict[str, Delivery]:
        """Ends the sending and counts, by what the home agent did to the packets.

        Args:
            patience_s: how long to wait for packets that are missing.
        """
        sent = {way: int(self._ask(way, "pause", "paused")["sent"]) for way in self._processes}
        deadline = time.monotonic() + patience_s
        while True:
            # What one end has sent, the other one has received.
            counted = {
                receiving: self._ask(receiving, f"count {sent[sending]}", "counted")
                for receiving, sending in (("decapsulated", "encapsulated"), ("encapsulated", "decapsulated"))
            }
            if not any(row["missing"] for row in counted.values()) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return {
            way: Delivery(
                row["received"] + row["missing"], row["missing"], row["repeated"], tuple(row["first_missing"])
            )
            for way, row in counted.items()
        }

    def _ask(self, way: str, command: str, answer: str) -> JsonObject:
        self._command(way, command)
        return self._followers[way].wait_for(answer, _PATIENCE_S)

    def _command(self, way: str, line: str) -> None:
        process = self._processes[way]
        process.require_running()
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
