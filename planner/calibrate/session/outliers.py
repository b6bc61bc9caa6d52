"""Measurements that their neighbours do not expect: something else ran meanwhile, or the device has
an odd size there."""

from __future__ import annotations

from collections.abc import Iterable

from planner.calibrate.journal import Record
from planner.calibrate.priors import prior
from planner.devices.profile import DeviceProfile
from planner.operations.cases import from_dict
from planner.operations.registry import cost, terms


def outliers(records: Iterable[Record], profile: DeviceProfile) -> list[str]:
    """Keys of timed operations that took much longer than the curve through all of them says, the
    worst first. Interference only adds time, so what is much faster is none."""
    found = []
    for record in records:
        if record["record"] != "operation" or not record.get("seconds"):
            continue
        case = from_dict(record["case"])
        work = cost(case.signature, case.dims)
        parts = terms(
            case.call, float(work.flops), float(work.read_bytes + work.write_bytes), case.precision
        )
        curve = profile.curves.get(parts[0].family) if len(parts) == 1 else None
        if curve is not None:
            expected, _ = curve.seconds(parts[0].features, parts[0].flops, parts[0].bytes)
            found.append((record["seconds"] / float(expected[0]), record["key"]))
    threshold = prior("outlier_ratio")
    return [key for ratio, key in sorted(found, reverse=True) if ratio > threshold]
