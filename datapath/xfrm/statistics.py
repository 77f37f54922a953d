"""What the kernel's IPsec counts beside its states: packets it has dropped, by reason."""

from __future__ import annotations

from pathlib import Path

XFRM_STATISTICS = Path("/proc/self/net/xfrm_stat")
"""Of the network namespace of this process; missing in kernels without ``CONFIG_XFRM_STATISTICS``."""


def dropped_packets(path: Path = XFRM_STATISTICS) -> dict[str, int]:
    """Packets by the kernel's names of the reasons, ``XfrmInTmplMismatch`` for example; empty where it does not count.

    They are of the whole network namespace, whoever uses IPsec in it.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines)
    return {field[0]: int(field[1]) for field in fields if len(field) == 2 and field[1].isdecimal()}
