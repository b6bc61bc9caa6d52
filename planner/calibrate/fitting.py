"""From the journal of a calibration to a device profile: medians become curves, host costs, facts
and power by kind."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from planner.calibrate.beside import beside_datasheet
from planner.devices.curves import Curve, Point, fit_curve
from planner.devices.load import HOST, UnderLoad
from planner.devices.profile import DeviceProfile
from planner.errors import ProfileError
from planner.operations.cases import from_dict
from planner.operations.registry import cost, kind_of, terms

#: Of a device's facts, what a profile keeps: what tells it from others, and nothing of the
#: machine's owner.
_KEPT = (
    "name",
    "kind",
    "vendor",
    "key",
    "total_memory_bytes",
    "compute_capability",
    "sm_count",
    "l2_bytes",
    "mig",
    "cores",
    "flags",
    "clock_hz",
    "architecture",
    "power_limit_watts",
)
_PROVENANCE = (
    "date",
    "torch",
    "cuda",
    "hip",
    "driver",
    "cudnn",
    "python",
    "system",
    "planner",
    "bitsandbytes",
    "threads",
    "seconds",
    "source",
)


def profile_from(records: Iterable[Mapping[str, Any]], search: bool = True) -> DeviceProfile:
    """The profile of what was measured. ``search`` False: curves with usual length scales, for a
    profile written on the way.

    Records are those of ``planner.calibrate.journal``; the last one of a case, host cost or fact
    counts. Raises ProfileError when nothing says which device, or nothing was measured.
    """
    found = _sorted_out(records)
    sessions, operations = found.sessions, found.operations
    if not sessions:
        raise ProfileError(
            "the journal does not say which device was measured",
            mend="Run planner calibrate --again",
        )
    device = _device(sessions)
    points, watts = _points(operations.values())
    if not points and not found.host and not found.loader:
        raise ProfileError(
            "nothing was measured while the machine was quiet"
            if found.left_out
            else "nothing was measured",
            where=str(device["name"]),
            mend="End what else runs and calibrate again: it goes on from here"
            if found.left_out
            else "Give it more time: planner calibrate --seconds 60",
        )
    multiprocessors = int(device.get("sm_count") or 0) if device.get("kind") == "cuda" else 0
    curves = {
        family: fit_curve(family, sizes, multiprocessors, search)
        for family, sizes in sorted(points.items())
    }
    profile = DeviceProfile(
        device=device,
        provenance=_provenance(sessions, operations),
        curves=curves,
        host=_floors(found.host),
        facts=found.facts,
        watts=watts,
        doubts=tuple(found.doubts.items()),
        exact=_exact(operations),
        loader=_loader(found.loader),
        load=_under_load(found),
    )
    return replace(profile, datasheet=beside_datasheet(profile, operations.values()))


@dataclass
class _Measured:
    """A journal's records by type: of a case, a host cost or a fact the last one."""

    sessions: list[Mapping[str, Any]] = field(default_factory=list)
    operations: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    host: dict[str, float] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)
    loader: list[Mapping[str, Any]] = field(default_factory=list)
    left_out: list[Mapping[str, Any]] = field(default_factory=list)
    is_watched: bool = False


def _sorted_out(records: Iterable[Mapping[str, Any]]) -> _Measured:
    found = _Measured()
    for record in records:
        record_type = record.get("record")
        if record_type == "session":
            found.sessions.append(record)
        elif record_type == "operation" and record.get("seconds"):
            found.operations[record["key"]] = record
        elif record_type == "host":
            found.host[record["name"]] = float(record["value"])
        elif record_type == "fact" and isinstance(record.get("value"), (int, float)):
            found.facts[record["name"]] = float(record["value"])
        elif record_type == "trust":
            found.doubts[record["what"]] = record.get("mend", "")
        elif record_type == "loader":
            found.loader.append(record)
        elif record_type == "left_out":
            found.left_out.append(record)
        found.is_watched |= record_type == "reference"
    return found


def _device(sessions: list[Mapping[str, Any]]) -> dict[str, Any]:
    facts = sessions[-1].get("device", sessions[-1])
    if not facts.get("name"):
        raise ProfileError(
            "the journal does not name its device", mend="Run planner calibrate --again"
        )
    return {name: facts[name] for name in _KEPT if facts.get(name) not in (None, "", [])}


def _provenance(sessions: list[Mapping[str, Any]], operations: Mapping[str, Any]) -> dict[str, Any]:
    """Versions and date of the last visit, the seconds of all, how much was measured and what could
    not be."""
    last = {
        **sessions[-1].get("device", {}),
        **{k: v for k, v in sessions[-1].items() if k != "device"},
    }
    found = {name: last[name] for name in _PROVENANCE if last.get(name) not in (None, "")}
    return found | {
        "visits": len(sessions),
        "cases": len(operations),
        "seconds": round(sum(float(s.get("seconds") or 0.0) for s in sessions), 1),
    }


def _points(
    operations: Iterable[Mapping[str, Any]],
) -> tuple[dict[str, list[Point]], dict[str, float]]:
    """(measured sizes by family, mean power by kind). A case of several terms (a convolution's
    whole backward pass) is no measurement of any of them: it is remembered as an exact time only.
    """
    points: dict[str, list[Point]] = defaultdict(list)
    power: dict[str, list[float]] = defaultdict(list)
    for record in operations:
        case = from_dict(record["case"])
        work = cost(case.signature, case.dims)
        found = terms(
            case.call, float(work.flops), float(work.read_bytes + work.write_bytes), case.precision
        )
        if len(found) == 1:
            term, seconds = found[0], float(record["seconds"])
            points[term.family].append(
                Point(
                    features=tuple(float(x) for x in term.features),
                    flops=float(term.flops),
                    bytes=float(term.bytes),
                    seconds=seconds,
                    low_seconds=float(record.get("low") or seconds),
                    high_seconds=float(record.get("high") or seconds),
                )
            )
        if record.get("watts"):
            power[kind_of(case.signature.op).name].append(float(record["watts"]))
    return dict(points), {kind: statistics.fmean(values) for kind, values in power.items()}


def _exact(operations: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """What was timed alone; a record that got its share of several kernels' time was not."""
    return {
        key: record["seconds"] for key, record in operations.items() if not record.get("shared")
    }


def _under_load(found: _Measured) -> UnderLoad | None:
    """How much load left of it; None where no reference was timed beside the measurements."""
    if not found.is_watched:
        return None
    kept = [record for record in found.operations.values() if record.get("doubt")]
    out = [record for record in found.left_out if record["of"] == "operation"]
    doubtful = [*kept, *out]
    of_host = [record["doubt"] for record in found.left_out if record["of"] == "host"]
    by_family: dict[str, list[float]] = defaultdict(list)
    for record in [*found.operations.values(), *out]:
        for family in _families(record):
            by_family[family].append(float(record.get("doubt") or 0.0))
    everything = [
        *(float(record.get("doubt") or 0.0) for record in found.operations.values()),
        *(float(record["doubt"]) for record in out),
    ]
    doubts = {family: _rms(each) for family, each in by_family.items() if any(each)}
    if of_host:
        doubts[HOST] = _rms([*of_host, *[0.0] * len(found.host)])
    return UnderLoad(
        share=len(doubtful) / max(1, len(everything)),
        slowdown=statistics.median(float(r["slowdown"]) for r in doubtful) if doubtful else 1.0,
        doubt_log=_rms(everything),
        doubts=doubts,
    )


def _families(record: Mapping[str, Any]) -> list[str]:
    case = from_dict(record["case"])
    work = cost(case.signature, case.dims)
    moved = float(work.read_bytes + work.write_bytes)
    return [term.family for term in terms(case.call, float(work.flops), moved, case.precision)]


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(sum(value**2 for value in values) / len(values)) if values else 0.0


def _floors(host: dict[str, float]) -> dict[str, float]:
    """A cost measured as a difference may come out below nothing."""
    return {name: max(0.0, value) for name, value in host.items()}


def _loader(records: list[Mapping[str, Any]]) -> dict[str, Any]:
    if not records:
        return {}
    from planner.datasets.loader.measure import loader_summary

    return loader_summary(records)


@dataclass(frozen=True)
class CurveErrors:
    """Of leave-one-out, relative (natural logarithm), weighted by sizes: the median, the 95th
    percentile, and over how many curves and measured sizes."""

    median: float
    p95: float
    curves: int
    sizes: int


def curve_errors(profile: DeviceProfile) -> dict[str, CurveErrors]:
    """By kind of operation."""
    by_kind: dict[str, list[Curve]] = defaultdict(list)
    for family, curve in profile.curves.items():
        by_kind[family.split(".")[0]].append(curve)
    return {kind: _errors(curves) for kind, curves in sorted(by_kind.items())}


def _errors(curves: list[Curve]) -> CurveErrors:
    weights = max(1, sum(curve.error.n for curve in curves))
    return CurveErrors(
        median=sum(curve.error.median * curve.error.n for curve in curves) / weights,
        p95=sum(curve.error.p95 * curve.error.n for curve in curves) / weights,
        curves=len(curves),
        sizes=sum(len(curve.points) for curve in curves),
    )
