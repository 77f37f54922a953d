"""The data path: XDP programs, the maps they share with the control plane, and the steps that load and remove them.

Only :mod:`datapath.compiler` imports bcc (and with it LLVM). A daemon opens pinned maps through
:mod:`datapath.bpf_syscall` and needs neither.
"""
