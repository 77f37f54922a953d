"""The section [datapath] of the configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from control.config.section import Settings, about


class DatapathSettings(Settings, frozen=True, kw_only=True):
    """The XDP programs and their maps. `homeagent datapath load` reads this; the daemon opens what it has pinned."""

    interfaces: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[^/\s:]{1,15}$")], ...],
        about(
            "Interfaces that get the XDP program: those towards correspondents and those towards mobile nodes.",
            ["core0"],
            min_length=1,
            extra={"wanted": "a list of one or more interface names, each of at most 15 characters"},
        ),
    ]
    pin_path: Annotated[
        Path,
        about("Folder on a BPF file system for pinned programs and maps.", "/sys/fs/bpf/homeagent"),
    ] = Path("/sys/fs/bpf/homeagent")
    max_bindings: Annotated[
        int,
        about(
            "Capacity of the binding map. `homeagent datapath upgrade` puts another one in force.",
            131072,
            ge=1,
            le=8_000_000,
        ),
    ] = 131072
    xdp_mode: Annotated[
        Literal["auto", "native", "generic"],
        about(
            "How to attach: in the driver (native), in the stack (generic, slow), or native where it works (auto).",
            "auto",
        ),
    ] = "auto"
    home_links: Annotated[
        tuple[str, ...],
        about(
            "Those of the interfaces, or VLAN devices on them, that have hosts of a home link behind them, which find "
            "home addresses by neighbour discovery. Home prefixes that are routed to this home agent need none. See "
            "[A home link with hosts on it](operations.md#a-home-link-with-hosts-on-it).",
            ["home0"],
        ),
    ] = ()
    vlans: Annotated[
        bool,
        about(
            "Whether frames with an 802.1Q tag are served, as far as the interfaces have VLAN devices: `eth0.10` on "
            "`eth0` is not named itself. See [VLANs](operations.md#vlans).",
            False,
        ),
    ] = False
