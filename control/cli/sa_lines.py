"""Security associations for people, in the words and the order of `swanctl --list-sas`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Row = Mapping[str, Any]


def sa_lines(sa: Row) -> Iterator[str]:
    """The lines about an IKE SA and its child SAs; ``*`` marks this side's SPI."""
    initiator, responder = ("*", "") if sa["role"] == "initiator" else ("", "*")
    spis = f"{sa['initiator_spi']}_i{initiator} {sa['responder_spi']}_r{responder}"
    eap = f" EAP: '{sa['eap_identity']}'" if sa["eap_identity"] else ""
    yield f"{sa['identity']}: {sa['state'].upper()}, IKEv2, {spis}"
    yield f"  local  '{sa['local_identity']}' @ {_end(sa['local'])}"
    yield f"  remote '{sa['identity']}' @ {_end(sa['remote'])}{eap}"
    yield f"  {sa['suite']}"
    yield f"  established {_seconds(sa['established_s'])} ago{_rekeying(sa['rekeying_in_s'])}{_extras(sa)}"
    for child in sa["children"]:
        yield from _child_lines(child)


def _child_lines(child: Row) -> Iterator[str]:
    state = "REKEYED" if child["replaced"] else "INSTALLED" if child["installed"] else "NOT INSTALLED"
    mode = child["mode"].upper() + ("-in-UDP" if child["in_udp"] else "")
    suite = child["suite"] + (f"/{child['group']}" if child["group"] else "")
    yield f"  {child['name'] or 'child'}: {state}, {mode}, ESP:{suite}"
    expiry = "" if child["expires_in_s"] is None else f", expires in {_seconds(child['expires_in_s'])}"
    rekeying = "" if child["replaced"] else _rekeying(child["rekeying_in_s"])
    yield f"    installed {_seconds(child['installed_s'])} ago{rekeying}{expiry}"
    for direction, spi in (("in", "inbound_spi"), ("out", "outbound_spi")):
        last, errors = child[f"last_{direction}_s"], child[f"errors_{direction}"]
        used = "" if last is None else f", {_seconds(last):>6} ago"
        refused = f", {errors} refused" if errors else ""
        counters = f"{child[f'bytes_{direction}']:6} bytes, {child[f'packets_{direction}']:5} packets"
        yield f"    {direction:3} {child[spi]}, {counters}{used}{refused}"
    yield f"    local  {' '.join(child['local_selectors'])}"
    yield f"    remote {' '.join(child['remote_selectors'])}"


def _extras(sa: Row) -> str:
    nat = sa["nat"] or {}
    names = {"local": "NAT at this side", "remote": "NAT at its side", "forced": "UDP wished for"}
    found = [text for key, text in names.items() if nat.get(key)]
    return "".join(f", {text}" for text in (*found, *(("MOBIKE",) if sa["mobike"] else ())))


def _end(text: str) -> str:
    address, _, port = text.rpartition(":")
    return f"{address.strip('[]')}[{port}]"


def _seconds(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds:.0f}s"


def _rekeying(rekeying_in_s: float | None) -> str:
    if rekeying_in_s is None:
        return ""
    return f", rekeying in {_seconds(rekeying_in_s)}" if rekeying_in_s else ", rekeying now"
