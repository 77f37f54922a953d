"""The Python enum of reasons is the one of the C header."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from datapath import reasons
from datapath.compiler import source_directory
from datapath.generate_reasons import generate
from datapath.layout import MAX_REASONS
from datapath.reasons import Reason, Verdict


def test_the_module_is_what_the_header_generates():
    header = (source_directory() / "reasons.h").read_text(encoding="utf-8")
    written = Path(reasons.__file__).read_text(encoding="utf-8")

    assert written == generate(header), "run `python -m datapath.generate_reasons`"


def test_every_reason_of_the_header_is_there():
    header = (source_directory() / "reasons.h").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^\t([A-Z_0-9]+) = (\d+),$", header, re.MULTILINE))

    assert {name: int(number) for name, number in entries.items()} == {reason.name: int(reason) for reason in Reason}
    assert len(entries) > 30


@pytest.mark.parametrize("reason", Reason)
def test_name_verdict_and_description_agree(reason):
    assert reason.name.startswith(f"{reason.verdict.name}_")
    assert reason < MAX_REASONS
    assert re.fullmatch(r"[a-z0-9-]+", reason.slug)
    assert reason.description.endswith(".")


def test_a_changed_header_changes_the_module():
    header = (source_directory() / "reasons.h").read_text(encoding="utf-8")
    longer = header.replace("PASS_NOT_IPV6 = 64,", "PASS_NOT_IPV6 = 64,\n\t/* Something new. */\n\tPASS_NEW = 95,")

    assert "    PASS_NEW = 95\n" in generate(longer)
    assert '    Reason.PASS_NEW: "Something new.",\n' in generate(longer)


def test_verdicts():
    assert Reason.FORWARD_ENCAPSULATED.verdict is Verdict.FORWARD
    assert Reason.DROP_NO_ROUTE.verdict is Verdict.DROP
    assert Reason.DROP_NO_ROUTE.slug == "drop-no-route"
