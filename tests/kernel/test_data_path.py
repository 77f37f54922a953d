"""The data path on the kernel that Debian ships: its verifier is older than that of the kernel most tests run on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datapath import bpffs, generations
from datapath.bpf_syscall import program_info
from datapath.compiler import CompiledText
from datapath.layout import HASH_KEY, HOME_LINK_PROGRAM_NAME
from datapath.loader import LoaderOptions, load
from datapath.pinned_maps import create_maps
from datapath.show import show
from datapath.specialisation import Specialisation
from datapath.unload import unload
from datapath.verification import VERIFIER_LIMIT
from tests.kernel.network import veth
from tests.kernel.programs import AGENT, FEATURES, SMALL

pytestmark = pytest.mark.kernel

PIN_PATH = Path("/sys/fs/bpf/homeagent-load")


@pytest.fixture
def interface() -> Iterator[str]:
    with veth("load0"):
        yield "load0"
        unload(PIN_PATH)


@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
def test_the_verifier_accepts_the_program_and_it_is_attached_natively(interface: str, features: dict[str, Any]) -> None:
    assert os.uname().release.endswith("-cloud-amd64")
    links = {"home_links": [interface]} if "home_links" in features else {}
    report = load(LoaderOptions([interface], PIN_PATH, [AGENT], SMALL, **features | links))
    assert [(row.name, str(row.actual_mode)) for row in report.interfaces] == [("load0", "native")]
    assert 0 < report.verified_instructions < VERIFIER_LIMIT / 2
    assert show(PIN_PATH)["interfaces"][0]["name"] == "load0"


def test_the_compiler_works_here_too(tmp_path: Path) -> None:
    """What the other tests load has been compiled where it is faster."""
    bpffs.ensure_directory(PIN_PATH)
    try:
        create_maps(PIN_PATH, SMALL)
        specialisation = Specialisation(PIN_PATH, SMALL, bytes(HASH_KEY.size), [AGENT])
        text = CompiledText(specialisation, HOME_LINK_PROGRAM_NAME, cache=tmp_path)
        with text.loaded(HOME_LINK_PROGRAM_NAME) as program:
            assert program_info(program.descriptor).verified_instructions > 0
    finally:
        generations.discard(PIN_PATH)
