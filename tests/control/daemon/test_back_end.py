"""Who does IPsec, and why."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from control.daemon.back_end import BackEndChoice, choose_for_loading, choose_for_serving
from datapath.errors import KernelIpsecUnavailable

NO = "this kernel lacks ESP"


def configuration(back_end: str, workers: int = 1):
    return SimpleNamespace(
        ike=SimpleNamespace(workers=workers),
        ipsec=SimpleNamespace(back_end=back_end),
        datapath=SimpleNamespace(pin_path=Path("/sys/fs/bpf/none")),
    )


@pytest.mark.parametrize(
    ("wanted", "unavailable", "expected"),
    [
        ("auto", None, BackEndChoice(True, "this kernel can")),
        ("auto", NO, BackEndChoice(False, NO)),
        ("kernel", None, BackEndChoice(True, "the configuration says so")),
        ("userspace", None, BackEndChoice(False, "the configuration says so")),
        ("userspace", NO, BackEndChoice(False, "the configuration says so")),
    ],
)
def test_the_data_path_is_loaded_for(wanted, unavailable, expected):
    assert choose_for_loading(configuration(wanted), lambda: unavailable) == expected
    assert choose_for_serving(configuration(wanted), lambda: unavailable, lambda _: True) == expected


@pytest.mark.parametrize("choose", [choose_for_loading, choose_for_serving])
def test_insisting_on_what_the_kernel_cannot_is_refused_with_both_ways_out(choose):
    with pytest.raises(KernelIpsecUnavailable, match=r"lacks ESP.*another kernel.*userspace"):
        choose(configuration("kernel"), lambda: NO)


def test_without_a_home_link_the_daemon_does_it_itself_unless_told_otherwise():
    choice = choose_for_serving(configuration("auto"), lambda: None, lambda _: False)
    assert not choice.kernel
    assert "homeagent datapath load" in choice.reason
    with pytest.raises(KernelIpsecUnavailable, match="homeagent datapath load"):
        choose_for_serving(configuration("kernel"), lambda: None, lambda _: False)


def test_nobody_asks_the_kernel_for_what_was_decided():
    def fail() -> str:
        raise AssertionError("asked")

    assert choose_for_loading(configuration("userspace"), fail).name == "userspace"


def test_workers_go_with_the_daemons_own():
    assert choose_for_loading(configuration("auto", 2), lambda: None) == BackEndChoice(
        False, "IKE runs in worker processes"
    )
    with pytest.raises(KernelIpsecUnavailable, match=r"ike\.workers to 1"):
        choose_for_loading(configuration("kernel", 2), lambda: None)
