"""What the verifier of this kernel walks, for every combination of features."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

import pytest

from datapath import bpffs, generations, verification
from datapath.layout import HOME_LINK_PROGRAM_NAME, PROGRAM_NAME, SLOW_PATH_PROGRAM_NAMES
from datapath.pinned_maps import create_maps
from datapath.verification import VERIFIER_LIMIT, feature_sets, features, verify

AGENTS = (IPv6Address("2001:db8:f::1"), IPv6Address("2001:db8:f::2"))


@pytest.mark.namespaces
@pytest.mark.timeout(600)
def test_the_program_stays_below_half_the_limit_without_features_with_each_and_with_all(pin_path):
    chosen = [(), *((name,) for name in features()), features()]

    verified = list(verify(pin_path, AGENTS, chosen))

    assert [each.features for each in verified if each.program == PROGRAM_NAME] == chosen
    assert [each.program for each in verified if each.program != PROGRAM_NAME] == [
        *SLOW_PATH_PROGRAM_NAMES,
        HOME_LINK_PROGRAM_NAME,
    ]
    for each in verified:
        assert 0 < each.verified_instructions < VERIFIER_LIMIT / 2, each
        assert 0 < each.instructions <= each.verified_instructions, each
    sizes = {each.features: each.instructions for each in verified if each.program == PROGRAM_NAME}
    assert min(sizes, key=lambda chosen: sizes[chosen]) == (), "an unused feature costs instructions"
    assert not list(Path("/sys/fs/bpf").glob("*-verify-*"))


@pytest.mark.namespaces
def test_a_refusal_is_told_with_the_kernels_words(pin_path, monkeypatch):
    bodies = dict.fromkeys((HOME_LINK_PROGRAM_NAME, *SLOW_PATH_PROGRAM_NAMES), "0")
    bodies[PROGRAM_NAME] = "*(int *)(long)c->data"
    text = "".join(f"int {name}(struct xdp_md *c) {{ return {body}; }}\n" for name, body in bodies.items())
    monkeypatch.setattr("datapath.compiler.program_text", lambda *_: text)

    refused, *accepted = verify(pin_path, AGENTS, [()])

    assert refused.refusal
    assert refused.verified_instructions == 0
    assert all((each.refusal, each.instructions > 0) == ("", True) for each in accepted)


@pytest.mark.namespaces
def test_maps_of_those_that_were_killed_go_and_of_those_that_run_stay(pin_path):
    killed, running = (pin_path.with_name(f"{pin_path.name}-verify-{number}") for number in (1, 2))
    for directory in (killed, running):
        bpffs.ensure_directory(directory)
        create_maps(directory, 32)

    with bpffs.locked(running):
        assert next(verify(pin_path, AGENTS, [()])).verified_instructions > 0

    assert not killed.exists()
    assert running.exists()
    generations.discard(running)


def test_few_features_are_tried_in_every_combination(monkeypatch):
    monkeypatch.setattr(verification, "features", lambda: ("a", "b"))

    assert feature_sets() == [(), ("a",), ("b",), ("a", "b")]


def test_many_features_are_tried_alone_and_all_but_one(monkeypatch):
    names = tuple("abcdefg")
    monkeypatch.setattr(verification, "features", lambda: names)

    sets = feature_sets()

    assert len(sets) == 2 + 2 * len(names)
    assert {len(chosen) for chosen in sets} == {0, 1, 6, 7}


def test_the_features_are_those_that_can_be_switched():
    assert "mobile_networks" in features()
    assert "max_bindings" not in features()
