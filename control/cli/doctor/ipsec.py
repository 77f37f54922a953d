"""IPsec: which back end there will be and why, and the home link that the kernel's needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from control.cli.doctor.finding import Finding, ok, problem, told, warning
from control.config import Configuration
from control.daemon.back_end import choose_for_loading
from datapath.errors import DatapathError
from datapath.home_link import HomeLink, find
from datapath.layout import PROGRAM_NAME, pin_directory
from datapath.xfrm.probe import kernel_ipsec_available


def examine_ipsec(
    configuration: Configuration,
    unavailable: Callable[[], str | None] = kernel_ipsec_available,
    find_home_link: Callable[[], HomeLink | None] | None = None,
) -> Iterator[Finding]:
    """What ``[ipsec] back_end`` comes to on this machine.

    Args:
        configuration: the file.
        unavailable: tells why the kernel cannot, None if it can.
        find_home_link: looks for the home link.
    """
    try:
        choice = choose_for_loading(configuration, unavailable)
    except DatapathError as error:
        yield told("IPsec", error)
        return
    yield ok("IPsec", f"{choice.name} back end: {choice.reason}")
    pin_path = configuration.datapath.pin_path
    if not choice.kernel or not (pin_directory(pin_path) / PROGRAM_NAME).exists():
        return
    try:
        link = find_home_link() if find_home_link is not None else find(pin_path)
    except DatapathError as error:
        yield told("home link", error)
        return
    remedy = "Run `homeagent datapath load`, then restart the daemon."
    if link is None:
        insists = configuration.ipsec.back_end == "kernel"
        says = "there is none, so the daemon " + ("will not start" if insists else "does IPsec itself")
        yield (problem if insists else warning)("home link", says, remedy)
    elif set(link.prefixes) != set(configuration.home_agent.home_prefixes):
        yield problem("home link", f"{link.device} is for other home prefixes than the configuration's", remedy)
    else:
        prefixes = ", ".join(str(prefix) for prefix in link.prefixes)
        yield ok("home link", f"{link.device} ({link.kind}) for {prefixes}")
