"""The result of the bench as a JSON object with stable names; each unit is the end of its name."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from bench.lab.outages import percentile
from bench.packet_rates.changes import ChangesUnderTraffic
from bench.packet_rates.installs import InstallTimes
from bench.packet_rates.live import BATCH, STREAMS, Burst
from bench.packet_rates.options import RateOptions
from bench.packet_rates.run import LEAST_INSTALLED, Measurements, PopulationMeasurements
from bench.packet_rates.samples import summary
from bench.packet_rates.targets import judge_all
from bench.rehearsal.machine import machine, versions

REPORTED = (1, 1_000, 100_000, 1_000_000)
"""Numbers of bindings that always have a place in the result, null when they were not measured."""

DIRECTIONS = ("encap", "decap")
_DRIVERS = ("encap", "decap", "encap_dependent", "decap_dependent")


def build_report(options: RateOptions, measured: Measurements) -> dict[str, Any]:
    """Everything measured, the ratios, and the targets with whether they are met."""
    by_number = measured.populations
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "floor_ns": _floors(by_number),
        "driver_ns": {name: summary(_all_values(by_number, f"driver_{name}")) for name in _DRIVERS},
        **{f"{direction}_ns": _test_runs(by_number, direction) for direction in DIRECTIONS},
        "others_ns": {
            name: {"reason": times.reason.slug, **summary(times.ns)} for name, times in measured.corpus.items()
        },
        **_veth(by_number),
        **_installs(by_number),
        **_loads(options, by_number),
        "bytes_per_binding": round(statistics.median(one.bytes_per_binding for one in by_number.values()), 1),
        **_visibility(by_number),
        "changes_under_traffic": {
            str(number): _changes(by_number[number].changes) if number in by_number else None
            for number in _numbers(by_number, LEAST_INSTALLED)
        },
        "ratios": _ratios(by_number),
    }
    result["targets"] = judge_all(result)
    result |= {
        "calibration_ms": {
            "before": round(measured.calibration_ms[0], 3),
            "after": round(measured.calibration_ms[1], 3),
        },
        "program": {
            "verified_instructions": max(one.instructions for one in by_number.values()),
            "xdp_modes": sorted({mode for one in by_number.values() for mode in one.modes}),
        },
        "parameters": {
            "populations": list(options.populations),
            "map_sizes": {str(number): options.capacity(number) for number in options.populations},
            "rounds": options.rounds,
            "repeat": options.repeat,
            "live_rounds": options.live_rounds,
            "live_frames": options.live_frames,
            "live_batch": BATCH,
            "installs": options.installs,
            "changes": options.changes,
        },
        "machine": machine(),
        "versions": versions(),
    }
    return result


def _all_values(by_number: dict[int, PopulationMeasurements], case: str) -> list[float]:
    return [value for one in by_number.values() for value in one.test_runs[case].values]


def _floors(by_number: dict[int, PopulationMeasurements]) -> dict[str, Any]:
    floors = [floor for one in by_number.values() for case in one.test_runs.values() for floor in case.floors]
    return {"empty": summary(_all_values(by_number, "empty")), "adjust_write": summary(floors)}


def _numbers(by_number: dict[int, PopulationMeasurements], least: int = 1) -> list[int]:
    return [number for number in sorted({*REPORTED, *by_number}) if number >= least]


def _test_runs(by_number: dict[int, PopulationMeasurements], direction: str) -> dict[str, Any]:
    """By number of bindings: random independent keys, and beside them one key only and dependent ones."""
    result: dict[str, Any] = {}
    for number in _numbers(by_number):
        one = by_number.get(number)
        result[str(number)] = one and {
            **one.test_runs[direction].summary(),
            "hot": one.test_runs[f"{direction}_hot" if number > 1 else direction].summary(),
            "dependent": one.test_runs[f"{direction}_dependent"].summary(),
        }
    return result


def _veth(by_number: dict[int, PopulationMeasurements]) -> dict[str, Any]:
    """Medians and the best bursts; what does not touch bindings is taken over all of the run."""
    bursts: dict[str, Sequence[Burst] | None] = {}
    for stream in STREAMS:
        if stream.reason is None:
            bursts[stream.name] = [burst for one in by_number.values() for burst in one.bursts[stream.name]]
            continue
        for number in _numbers(by_number):
            one = by_number.get(number)
            bursts[f"{stream.name}_{number}"] = one.bursts[stream.name] if one else None

    def table(figure: Callable[[Sequence[Burst]], float]) -> dict[str, float | None]:
        return {name: None if of_one is None else round(figure(of_one), 3) for name, of_one in bursts.items()}

    return {
        "veth_mpps": table(lambda of_one: statistics.median(burst.mpps for burst in of_one)),
        "veth_best_mpps": table(lambda of_one: max(burst.mpps for burst in of_one)),
        "veth_arrived_share": table(lambda of_one: min(burst.share for burst in of_one)),
    }


def _installs(by_number: dict[int, PopulationMeasurements]) -> dict[str, Any]:
    parts: dict[str, Callable[[InstallTimes], list[float]]] = {
        "install_s": lambda times: times.install_s,
        "remove_s": lambda times: times.remove_s,
    }
    result: dict[str, Any] = {}
    for name, part in parts.items():
        result[name] = {}
        for number in _numbers(by_number, LEAST_INSTALLED):
            times = by_number[number].installs if number in by_number else None
            result[name][str(number)] = times and round(statistics.median(part(times)), 6)
    return result


def _loads(options: RateOptions, by_number: dict[int, PopulationMeasurements]) -> dict[str, Any]:
    """The time with maps of the default size, and the time of every load: large maps take long to make."""
    least = min(options.capacity(number) for number in by_number)
    default = [one for number, one in by_number.items() if options.capacity(number) == least]
    return {
        "load_s": round(statistics.median(one.load_s for one in default), 3),
        "load_again_s": round(statistics.median(one.load_again_s for one in default), 3),
        "loads_s": {str(number): round(one.load_s, 3) for number, one in by_number.items()},
    }


def _visibility(by_number: dict[int, PopulationMeasurements]) -> dict[str, Any]:
    details: dict[str, Any] = {}
    for number in _numbers(by_number):
        one = by_number.get(number)
        details[str(number)] = one and {
            **summary(one.visibility.seen_us),
            "p90": round(percentile(one.visibility.seen_us, 0.9) or 0.0, 1),
            "call_median": round(statistics.median(one.visibility.call_us), 1),
        }
    largest = details[str(max(by_number))]
    return {"update_visible_us": largest["median"], "update_visible_details_us": details}


def _changes(changes: ChangesUnderTraffic | None) -> dict[str, Any] | None:
    if changes is None:
        return None
    tally = changes.tally
    return {
        "mpps_before": round(changes.before_mpps, 3),
        **{
            name: {
                "bindings": phase.bindings,
                "s": round(phase.seconds, 6),
                "per_s": round(phase.bindings / phase.seconds),
                "mpps": round(phase.mpps, 3),
            }
            for name, phase in changes.phases.items()
        },
        "packets": {
            "in_all": tally.packets,
            "to_first": tally.to_first,
            "to_second": tally.to_second,
            "unbound": tally.unbound,
            "lost": tally.lost,
            "astray": tally.astray,
        },
    }


def _ratios(by_number: dict[int, PopulationMeasurements]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for direction in DIRECTIONS:
        to_floor: dict[str, Any] = {}
        to_kernel: dict[str, Any] = {}
        for number in _numbers(by_number):
            one = by_number.get(number)
            to_floor[str(number)] = one and one.test_runs[direction].ratios()
            to_kernel[str(number)] = one and _to_kernel(one.bursts[direction], one.bursts["kernel_forward"])
        result[f"{direction}_to_adjust_write"] = to_floor
        result[f"{direction}_to_kernel_forward"] = to_kernel
    return result


def _to_kernel(ours: Sequence[Burst], kernel: Sequence[Burst]) -> float:
    """The median of the pairs, each of one round."""
    pairs = [one.mpps / other.mpps for one, other in zip(ours, kernel, strict=True)]
    return round(statistics.median(pairs), 2)
