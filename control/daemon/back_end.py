"""Who does IPsec, this process or the kernel: what the configuration asks for, made a decision with its reason."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from control.config import Configuration
from control.daemon.kernel_ipsec import KernelIpsec
from datapath.errors import DatapathError, KernelIpsecUnavailable
from datapath.xfrm.channel import XfrmChannel
from datapath.xfrm.probe import kernel_ipsec_available


@dataclass(frozen=True, slots=True)
class BackEndChoice:
    """Which back end protects signalling.

    Attributes:
        kernel: the kernel's; else this process's own.
        reason: why, in a clause without a full stop.
    """

    kernel: bool
    reason: str

    @property
    def name(self) -> str:
        """As the configuration calls it."""
        return "kernel" if self.kernel else "userspace"


def choose_for_loading(
    configuration: Configuration, unavailable: Callable[[], str | None] = kernel_ipsec_available
) -> BackEndChoice:
    """The back end that the data path is to be loaded for.

    Args:
        configuration: the file.
        unavailable: tells why the kernel cannot, None if it can.

    Raises:
        KernelIpsecUnavailable: the configuration insists on the kernel, which cannot.
    """
    wanted = configuration.ipsec.back_end
    if wanted == "userspace":
        return BackEndChoice(False, "the configuration says so")
    # Security associations of IKE workers have not been seen at work in the kernel yet.
    workers = "IKE runs in worker processes" if configuration.ike.workers != 1 else None
    if workers and wanted == "kernel":
        raise KernelIpsecUnavailable(
            f'ipsec.back_end is "kernel", but {workers}. Set ike.workers to 1, or ipsec.back_end to "userspace".'
        )
    reason = workers or unavailable()
    if reason is None:
        return BackEndChoice(True, "the configuration says so" if wanted == "kernel" else "this kernel can")
    if wanted == "kernel":
        raise KernelIpsecUnavailable(
            f'ipsec.back_end is "kernel", but {reason}. Use another kernel, or set it to "auto" or "userspace".'
        )
    return BackEndChoice(False, reason)


def choose_for_serving(
    configuration: Configuration,
    unavailable: Callable[[], str | None] = kernel_ipsec_available,
    has_home_link: Callable[[Path], bool] | None = None,
) -> BackEndChoice:
    """The back end to serve with: that of :func:`choose_for_loading`, if the data path was loaded for it.

    Raises:
        KernelIpsecUnavailable: the configuration insists on the kernel, which cannot, or there is no home link.
    """
    choice = choose_for_loading(configuration, unavailable)
    if not choice.kernel or (has_home_link or _has_home_link)(configuration.datapath.pin_path):
        return choice
    reason = "the data path was loaded without a home link: run `homeagent datapath load` again"
    if configuration.ipsec.back_end == "kernel":
        raise KernelIpsecUnavailable(f'ipsec.back_end is "kernel", but {reason}.')
    return BackEndChoice(False, reason)


def remove_kernel_leftovers() -> None:
    """Remove states and policies that a daemon of this network namespace left in the kernel, if any."""
    with contextlib.suppress(DatapathError), XfrmChannel() as channel:
        KernelIpsec(channel, os.urandom)  # begins by removing them


def _has_home_link(pin_path: Path) -> bool:
    from datapath.home_link import find  # pyroute2 takes half a second

    return find(pin_path) is not None
