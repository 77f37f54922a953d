"""`python -m bench.key_exchange.memory METHOD NODES`: memory a home agent holds for an established node, as JSON.

It is what comes free when the home agent is dropped while its nodes live on: two child SAs, IKE SA, binding, the job's
remains, the verified certificate. It runs with ``PYTHONMALLOC=malloc``, so that glibc's own account of memory in use
covers Python's objects and OpenSSL's alike.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
from typing import cast, get_args

from bench.key_exchange.exchange import register_all, take_over_all
from bench.key_exchange.links import MemoryLink
from bench.key_exchange.methods import Method
from bench.key_exchange.scene import Population, Scene
from bench.lab.errors import LabError

_TIMEOUT_S = 300


class _Mallinfo2(ctypes.Structure):
    """``struct mallinfo2`` of glibc 2.33 and later."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


def bytes_in_use() -> int:
    """Bytes that malloc has given out and not taken back."""
    function = ctypes.CDLL(None).mallinfo2
    function.restype = _Mallinfo2
    info = function()
    return int(info.uordblks) + int(info.hblkhd)


def bytes_per_node(method: Method, count: int) -> float:
    """Bytes a home agent holds for each of ``count`` nodes it has taken over."""
    scene = Scene(Population.make(method, count))
    register_all(scene, MemoryLink())
    take_over_all(scene, MemoryLink())
    gc.collect()
    before = bytes_in_use()
    del scene.survivor
    gc.collect()
    return (before - bytes_in_use()) / count


def measure(method: Method, count: int) -> float:
    """The same from a process of its own, whose allocator was chosen for the purpose.

    Raises:
        LabError: the process failed.
    """
    command = [sys.executable, "-m", "bench.key_exchange.memory", method, str(count)]
    environment = {**os.environ, "PYTHONMALLOC": "malloc"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except subprocess.SubprocessError as error:
        raise LabError(f"memory could not be measured: {error}") from error
    return float(json.loads(done.stdout)["bytes_per_node"])


def main() -> None:
    """Measure in this process."""
    parser = argparse.ArgumentParser(prog="python -m bench.key_exchange.memory", description=__doc__)
    parser.add_argument("method", choices=get_args(Method))
    parser.add_argument("nodes", type=int)
    parsed = parser.parse_args()
    print(json.dumps({"bytes_per_node": bytes_per_node(cast(Method, parsed.method), parsed.nodes)}))


if __name__ == "__main__":
    main()
