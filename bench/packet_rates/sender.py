"""Sends packets to a program by BPF_PROG_TEST_RUN in a process of its own, until its standard input ends.

Arguments: descriptor of the program, interface index, core, bytes of the first frame, packets of one call. Says
`sending` after the first call; at the end, as JSON, when each call began and ended (monotonic seconds) and the seconds
of CPU time it took.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time

from datapath.bpf_syscall import program_test_run

if __name__ == "__main__":
    descriptor, interface, core, size, packets = map(int, sys.argv[1:])
    os.sched_setaffinity(0, {core})
    calls = []
    while not select.select([sys.stdin], [], [], 0)[0]:
        began, used = time.monotonic(), time.thread_time()
        program_test_run(descriptor, bytes(size), interface=interface, repeat=packets)
        calls.append((began, time.monotonic(), time.thread_time() - used))
        if len(calls) == 1:
            print("sending", flush=True)
    print(json.dumps(calls))
