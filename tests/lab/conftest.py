from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from bench.lab.laboratory import Laboratory


@pytest.fixture
def laboratory() -> Iterator[Laboratory]:
    assert os.geteuid() == 0, "tests in namespaces need root: run them with sudo"
    with Laboratory("test") as lab:
        yield lab
