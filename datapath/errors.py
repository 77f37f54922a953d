"""What can go wrong between the control plane and the data path.

The message of each error is one sentence for the operator: what is the matter and what to do about it.
"""

from __future__ import annotations


class DatapathError(Exception):
    """Root of all errors of this package.

    Attributes:
        reason: a short stable slug, fit for a metric label or a test.
    """

    reason = "datapath"


class PrivilegeRequired(DatapathError):
    """The caller may not use BPF or change interfaces."""

    reason = "privilege-required"


class BpffsUnavailable(DatapathError):
    """There is no BPF file system to pin to, and none can be mounted."""

    reason = "bpffs-unavailable"


class CompilerUnavailable(DatapathError):
    """bcc is not installed for this Python."""

    reason = "compiler-unavailable"


class KernelHeadersMissing(DatapathError):
    """No kernel headers to compile against."""

    reason = "kernel-headers-missing"


class CompileFailed(DatapathError):
    """The program does not compile, or the verifier refuses it."""

    reason = "compile-failed"


class NotLoaded(DatapathError):
    """Nothing is pinned where the data path should be."""

    reason = "not-loaded"


class StalePin(DatapathError):
    """What is pinned has another layout or another size."""

    reason = "stale-pin"


class InterfaceMissing(DatapathError):
    """There is no such interface in this network namespace."""

    reason = "interface-missing"


class InterfaceBusy(DatapathError):
    """Somebody else's XDP program is attached to the interface."""

    reason = "interface-busy"


class AttachFailed(DatapathError):
    """The interface or the kernel refuses XDP."""

    reason = "attach-failed"


class KernelIpsecUnavailable(DatapathError):
    """The kernel cannot protect signalling, and is asked to."""

    reason = "kernel-ipsec-unavailable"


class AddressNotServed(DatapathError):
    """A binding names an address that the data path was loaded without."""

    reason = "address-not-served"


class MapFull(DatapathError):
    """A map holds as many entries as it was made for."""

    reason = "map-full"


class BpfCallFailed(DatapathError):
    """A bpf(2) call failed in a way that has no error of its own.

    Attributes:
        errno: the system's error number.
    """

    reason = "bpf-call-failed"

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message)
        self.errno = errno
