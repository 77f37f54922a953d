"""The laboratory builds what it says and leaves nothing behind, however its run ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.lab import addresses
from bench.lab.capture import Capture
from bench.lab.cpu_quota import CpuQuota
from bench.lab.errors import LabError
from bench.lab.laboratory import RUN_ROOT, Laboratory
from bench.lab.namespaces import Namespace, existing_namespaces
from bench.lab.streams import FileFollower
from bench.lab.topology import STANDBY_METRIC, RoutedCore
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.namespaces

HOLD_A_RUN = """
import sys, time
from pathlib import Path
from bench.lab.cpu_quota import CpuQuota
from bench.lab.laboratory import Laboratory
with Laboratory(sys.argv[1]) as lab:
    namespace = lab.namespace("cn")
    lab.pin_path("cn").mkdir()
    process = lab.spawn(namespace, "sleeper", ["sleep", "60"])
    while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\\n":
        time.sleep(0.01)
    CpuQuota(lab.run_name, 50).add([process.pid])
    print(lab.run_name, process.pid, flush=True)
    time.sleep(60)
"""


def start_run(kind: str) -> tuple[subprocess.Popen[str], str, int]:
    holder = subprocess.Popen([sys.executable, "-c", HOLD_A_RUN, kind], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    run_name, pid = holder.stdout.readline().split()
    return holder, run_name, int(pid)


def traces_of(run_name: str) -> list[str]:
    traces = existing_namespaces(run_name)
    traces += [str(path) for path in Path("/sys/fs/bpf").glob(f"homeagent-{run_name}-*")]
    traces += [str(path) for path in RUN_ROOT.glob(run_name)]
    traces += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{run_name}")]
    return traces


def alive(pid: int) -> bool:
    """A zombie waiting for its new parent counts as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def wait_until_dead(pid: int) -> None:
    wait_until(lambda: not alive(pid), "processes end with the run that started them")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_removes_everything(number: signal.Signals) -> None:
    holder, run_name, sleeper = start_run("signal")
    assert len(traces_of(run_name)) == 4
    assert alive(sleeper)
    holder.send_signal(number)
    holder.wait(PATIENCE_S)
    assert traces_of(run_name) == []
    wait_until_dead(sleeper)


def test_the_next_run_removes_what_a_killed_one_left() -> None:
    holder, run_name, sleeper = start_run("crash")
    holder.kill()
    holder.wait(PATIENCE_S)
    wait_until_dead(sleeper)
    assert len(traces_of(run_name)) == 4
    with Laboratory("crash"):
        assert traces_of(run_name) == []


def test_a_living_run_is_left_alone() -> None:
    holder, run_name, sleeper = start_run("alive")
    with Laboratory("alive") as other:
        assert other.run_name != run_name
        assert len(traces_of(run_name)) == 4
        assert alive(sleeper)
    holder.terminate()
    holder.wait(PATIENCE_S)


def test_runs_that_begin_together_leave_each_other_alone() -> None:
    begin_often = (
        "from bench.lab.laboratory import Laboratory\nfor _ in range(200):\n    with Laboratory('together'): pass"
    )
    runs = [subprocess.Popen([sys.executable, "-c", begin_often]) for _ in range(4)]
    assert [run.wait(PATIENCE_S) for run in runs] == [0, 0, 0, 0]


def test_processes_get_no_more_cpu_time_than_they_may(laboratory: Laboratory) -> None:
    namespace = laboratory.namespace("slow")
    busy = laboratory.spawn(namespace, "busy", [sys.executable, "-c", "while True: pass"])
    CpuQuota(laboratory.run_name, 20).add([busy.pid])
    began, before = time.monotonic(), busy.usage().cpu_s
    time.sleep(1.0)
    share = (busy.usage().cpu_s - before) / (time.monotonic() - began)
    assert 0 < share < 0.25  # two ticks of the clock that counts it are 0.02


def test_a_process_that_is_gone_cannot_be_bounded(laboratory: Laboratory) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(LabError, match=f"process {gone.pid} cannot be bounded"):
        CpuQuota(laboratory.run_name, 20).add([gone.pid])


def test_an_error_inside_removes_everything() -> None:
    lab = Laboratory("error")

    def run() -> None:
        with lab:
            lab.namespace("cn").ip(["link set dev nonsense up"])

    with pytest.raises(LabError):
        run()
    assert traces_of(lab.run_name) == []


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Laboratory("handlers"):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_actions_on_close_run_while_everything_is_there() -> None:
    seen: list[list[str]] = []
    with Laboratory("closing") as lab:
        lab.namespace("cn")
        lab.on_close(lambda: seen.append(traces_of(lab.run_name)))
    assert len(seen) == 1
    assert f"{lab.run_name}-cn" in seen[0]


def test_a_process_is_the_command_itself_inside_the_namespace(laboratory: Laboratory) -> None:
    namespace = laboratory.namespace("cn")
    process = laboratory.spawn(namespace, "sleeper", ["sleep", "60"])
    comm = Path(f"/proc/{process.pid}/comm")
    wait_until(lambda: comm.read_text().strip() == "sleep", comm.read_text)
    assert os.stat(f"/proc/{process.pid}/ns/net").st_ino == namespace.path.stat().st_ino
    assert process.pid in namespace.process_ids()
    assert process.usage().peak_rss_bytes > 0
    process.kill()
    assert process.return_code == -signal.SIGKILL
    with pytest.raises(LabError, match="ended with status -9"):
        process.require_running()
    with pytest.raises(LabError, match="is gone"):
        process.usage()


def test_failing_commands_say_what_failed(laboratory: Laboratory) -> None:
    namespace = laboratory.namespace("cn")
    with pytest.raises(LabError, match="nonsense"):
        namespace.ip(["link set dev nonsense up"])
    with pytest.raises(LabError, match="File exists"):
        Namespace(namespace.name, "cn").create()


def test_bpffs_is_visible_inside(laboratory: Laboratory) -> None:
    path = laboratory.pin_path("ha1")
    path.mkdir()
    assert laboratory.namespace("ha1").run(["ls", "-d", str(path)]).strip() == str(path)


def test_core_routes_between_hosts_and_floats_to_the_standby_when_the_link_is_cut(laboratory: Laboratory) -> None:
    core = RoutedCore(laboratory)
    correspondent = core.attach("cn", addresses.CORRESPONDENT_PREFIX, "eth0")
    agents = [
        core.attach_home_agent(f"ha{number}", addresses.home_agent_prefix(number), [addresses.HOME_PREFIX])
        for number in (1, 2)
    ]
    core.route(addresses.HOME_PREFIX, agents[0])
    core.route(addresses.HOME_PREFIX, agents[1], STANDBY_METRIC)
    core.prime_neighbours(correspondent, *agents)
    for agent in agents:
        correspondent.namespace.run(["ping", "-6", "-c", "1", "-W", "20", str(agent.address)])

    def who_answers() -> str:
        """The unbound home address is unreachable, says the home agent that has the route."""
        ping = ["ping", "-6", "-n", "-c", "1", "-W", "20", str(addresses.home_address(1))]
        return correspondent.namespace.run(["sh", "-c", " ".join(ping) + " || true"])

    assert f"From {agents[0].address}" in who_answers()
    core.cut(agents[0])
    assert f"From {agents[1].address}" in who_answers()


def test_prober_measures_an_outage_and_capture_sees_it(laboratory: Laboratory, tmp_path: Path) -> None:
    core = RoutedCore(laboratory)
    correspondent = core.attach("cn", addresses.CORRESPONDENT_PREFIX, "eth0")
    node = core.attach("mn1", addresses.node_prefix(1), "eth0")
    capture = Capture(laboratory, core.namespace, "mn1", tmp_path / "mn1.pcap")
    capture.wait_started()
    prober = laboratory.spawn(
        correspondent.namespace,
        "prober",
        [sys.executable, "-m", "bench.lab.prober", "--targets", "2", "--interval", "0.02"],
        stdin=True,
    )
    follower = FileFollower(prober.output)

    def command(line: str) -> None:
        prober.stdin.write(line.encode() + b"\n")
        prober.stdin.flush()

    command(f"target 0 {node.address}")
    follower.wait_for("started", PATIENCE_S)
    while follower.wait_for("progress", PATIENCE_S)["reached"] < 1:
        pass
    core.namespace.ip(["link set dev mn1 down"])
    command(f"mark {time.monotonic()}")
    time.sleep(0.3)

    def lost() -> bool:
        command("report")
        first = follower.wait_for("report", PATIENCE_S)["targets"][0]
        return bool(first["received"] < first["sent"])

    wait_until(lost, "nothing was sent meanwhile")
    # An interface that goes down forgets its addresses.
    router = addresses.router_address(addresses.node_prefix(1))
    core.namespace.ip(["link set dev mn1 up", f"address replace {router}/64 dev mn1 nodad"])
    assert follower.wait_for("answered", PATIENCE_S)["target"] == 0
    command("report")
    report = follower.wait_for("report", PATIENCE_S)["targets"]
    assert report[0]["outage_s"] >= 0.3
    assert report[0]["received"] < report[0]["sent"]
    assert max(report[0]["gaps_s"]) >= 0.3
    assert report[1]["address"] is None
    assert report[1]["sent"] == 0
    command("stop")
    assert prober.wait(PATIENCE_S) == 0
    capture.stop()
    assert (tmp_path / "mn1.pcap").stat().st_size > 200


def test_bulk_transfer_is_checked(laboratory: Laboratory) -> None:
    core = RoutedCore(laboratory)
    correspondent = core.attach("cn", addresses.CORRESPONDENT_PREFIX, "eth0")
    node = core.attach("mn1", addresses.node_prefix(1), "eth0")
    bulk = [sys.executable, "-m", "bench.lab.bulk"]
    receiver = laboratory.spawn(node.namespace, "bulk", [*bulk, "receive", "--port", "5001"])
    follower = FileFollower(receiver.output)
    follower.wait_for("listening", PATIENCE_S)
    sent = correspondent.namespace.run([*bulk, "send", str(node.address), "--port", "5001", "--bytes", "3000001"])
    assert '"intact": true' in sent
    received = follower.wait_for("received", PATIENCE_S)
    assert received["bytes"] == 3000001
    assert received["intact"] is True
