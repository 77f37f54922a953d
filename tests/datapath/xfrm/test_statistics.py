from __future__ import annotations

from pathlib import Path

from datapath.xfrm.statistics import dropped_packets


def test_lines_are_names_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "xfrm_stat"
    path.write_text("XfrmInError             \t0\nXfrmInTmplMismatch      \t17\nodd\nmore x\n")
    assert dropped_packets(path) == {"XfrmInError": 0, "XfrmInTmplMismatch": 17}


def test_a_kernel_that_does_not_count_has_no_numbers(tmp_path: Path) -> None:
    assert dropped_packets(tmp_path / "missing") == {}
