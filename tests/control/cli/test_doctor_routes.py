"""What `homeagent doctor` says of routes to be announced."""

from __future__ import annotations

import pytest

from control.cli.doctor.finding import Level
from control.cli.doctor.routes import examine_routes


@pytest.mark.parametrize(
    ("interval_s", "level", "says"),
    [(30, Level.WARNING, "every 30 s"), (5, Level.OK, "10 to 15 s")],
)
def test_how_often_the_kernel_looks(tmp_path, interval_s, level, says):
    setting = tmp_path / "gc_interval"
    setting.write_text(f"{interval_s}\n")

    (finding,) = examine_routes(10, setting)

    assert finding.level is level
    assert says in finding.says


def test_routes_that_stay_need_nothing(tmp_path):
    assert list(examine_routes(0, tmp_path / "gc_interval")) == []
