"""`homeagent datapath trace`: where a packet goes, by the program that is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from control.cli.failures import told
from control.cli.options import configuration_option, json_option
from control.cli.output import print_json
from control.config import load_configuration
from datapath.trace import Trace, Tracer, UntraceableFrame

_ETHERNET = 1
_BYTES_A_LINE = 16


@click.command()
@configuration_option
@click.option("--packet", "packets", multiple=True, metavar="HEX", help="An Ethernet frame; may be repeated.")
@click.option("--pcap", type=click.Path(path_type=Path, dir_okay=False), help="All of a capture (pcap, pcapng).")
@click.option("--interface", metavar="NAME", help="As if received by it; otherwise by the first one that is served.")
@json_option
def trace(path: Path, packets: tuple[str, ...], pcap: Path | None, interface: str | None, as_json: bool) -> None:
    """Tell what the loaded program does with packets.

    Verdict, reason, and the frame that comes of it.

    The program itself is run on each frame, with the bindings and routes in force. Nothing is sent; but the frame is
    counted, and takes its share of the limits on ICMPv6 errors and on strangers.
    """
    if not packets and pcap is None:
        raise click.UsageError("name a frame with --packet, or a capture with --pcap")
    with told():
        tracer = Tracer(load_configuration(path).datapath.pin_path, interface)
        try:
            for number, (place, frame) in enumerate(_frames(packets, pcap), 1):
                result = _run(tracer, place, frame)
                row = _row(number, tracer.interface, frame, result)
                if as_json:
                    print_json(row, indent=False)
                else:
                    click.echo("\n".join(_text(row, frame, result)))
        finally:
            tracer.close()


def _run(tracer: Tracer, place: str, frame: bytes) -> Trace:
    try:
        return tracer.run(frame)
    except UntraceableFrame as error:
        raise UntraceableFrame(f"{place}: {error}") from None


def _frames(packets: Iterable[str], pcap: Path | None) -> Iterator[tuple[str, bytes]]:
    for number, packet in enumerate(packets, 1):
        try:
            yield f"packet {number}", bytes.fromhex(packet.replace(":", "").removeprefix("0x"))
        except ValueError:
            raise click.BadParameter(f"{packet[:40]!r} is not hexadecimal digits", param_hint="--packet") from None
    if pcap is not None:
        for number, frame in enumerate(_captured(pcap), 1):
            yield f"{pcap}, frame {number}", frame


def _captured(pcap: Path) -> Iterator[bytes]:
    from scapy.error import Scapy_Exception
    from scapy.utils import RawPcapReader

    try:
        with RawPcapReader(str(pcap)) as reader:
            for data, metadata in reader:
                link_type = getattr(metadata, "linktype", None) or getattr(reader, "linktype", _ETHERNET)
                if link_type != _ETHERNET:
                    problem = f"{pcap} has frames of link type {link_type}, not Ethernet"
                    raise click.BadParameter(problem, param_hint="--pcap")
                yield data
    except OSError as error:
        raise click.BadParameter(f"{pcap}: {error.strerror or error}", param_hint="--pcap") from None
    except (Scapy_Exception, EOFError) as error:
        raise click.BadParameter(f"{pcap} is no capture that can be read: {error}", param_hint="--pcap") from None


def _row(number: int, interface: str, frame: bytes, result: Trace) -> dict[str, Any]:
    is_changed = result.frame != frame
    return {
        "number": number,
        "interface": interface,
        "verdict": None if result.verdict is None else result.verdict.name.lower(),
        "reasons": [reason.slug for reason in result.reasons],
        "meaning": [reason.description for reason in result.reasons],
        "leaves_by": result.leaves_by,
        "received": frame.hex(),
        "frame": result.frame.hex() if is_changed else None,
    }


def _text(row: dict[str, Any], frame: bytes, result: Trace) -> Iterator[str]:
    verdict = row["verdict"] or "THE PROGRAM FAILED"
    yield f"{row['number']}: {verdict}, {' or '.join(row['reasons']) or 'reason unknown'}"
    for meaning in row["meaning"]:
        yield f"   {meaning}"
    yield f"   in  by {row['interface']}, {len(frame)} bytes: {_summary(frame)}"
    if row["frame"] is None:
        return
    by = f" by {row['leaves_by']}" if row["leaves_by"] else ""
    yield f"   out{by}, {len(result.frame)} bytes: {_summary(result.frame)}"
    for offset in range(0, len(result.frame), _BYTES_A_LINE):
        yield f"   {offset:04x}  {result.frame[offset : offset + _BYTES_A_LINE].hex(' ')}"


def _summary(frame: bytes) -> str:
    import scapy.layers.inet6  # noqa: F401 (by its import Ethernet learns what is in its frames)
    from scapy.layers.l2 import Ether

    return str(Ether(frame).summary())
