"""Has an interface of the laboratory receive what XDP answers: run inside its namespace, with its name.

A veth device is woken for frames that the program at its other end sends back (XDP_TX) only if it has a program itself;
otherwise they wait in its ring until something else comes. Network cards know no such thing. So this one gets a
program that passes everything, which stays when this process ends.
"""

from __future__ import annotations

import os
import sys

from datapath import netlink
from datapath.program_loading import ProgramType, program_load

PASS_EVERYTHING = bytes.fromhex("b700000002000000 9500000000000000")
"""The program's instructions: ``r0 = XDP_PASS; exit``."""


def main(device: str) -> int:
    """Attach the program."""
    descriptor = program_load(ProgramType.XDP, PASS_EVERYTHING, "pass")
    try:
        netlink.attach(netlink.interface_state(device).index, descriptor, netlink.XdpMode.NATIVE)
    finally:
        os.close(descriptor)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
