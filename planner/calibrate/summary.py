"""What a device profile says of itself, as plain numbers: how much was measured, how well its
curves predict what they did not see, and over which sizes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from planner.calibrate.fitting import CurveErrors, curve_errors
from planner.devices.curves import Curve
from planner.devices.load import UnderLoad
from planner.devices.profile import DeviceProfile


def summary(profile: DeviceProfile) -> dict[str, Any]:
    """JSON-able. Errors are relative (0.05: 5 %), of predicting each measured size from all others;
    None without curves."""
    device, provenance = profile.device, profile.provenance
    return {
        "key": profile.key,
        "name": str(device["name"]),
        "kind": device.get("kind"),
        "basis": "calibrated",
        "date": provenance.get("date"),
        "torch": provenance.get("torch"),
        "planner": provenance.get("planner"),
        "source": provenance.get("source"),
        "seconds": provenance.get("seconds"),
        "cases": profile.cases,
        "curves": len(profile.curves),
        "exact_operations": len(profile.exact),
        **_overall(list(profile.curves.values())),
        "device": dict(device),
        "kinds": _kinds(profile),
        "host_seconds": dict(profile.host),
        "facts": dict(profile.facts),
        "watts": dict(profile.watts),
        "loader": dict(profile.loader),
        "load": _load(profile.load),
        "collectives": [
            {
                "operation": curve.operation,
                "ranks": curve.ranks,
                "nodes": curve.nodes,
                "backend": curve.backend,
                "date": curve.date,
                "least_seconds": curve.points[0][1],
                "most_bytes_per_s": max(size / middle for size, middle, _ in curve.points),
            }
            for curve in profile.collectives
        ],
        "doubts": [{"what": what, "mend": mend} for what, mend in profile.doubts],
    }


def _load(load: UnderLoad | None) -> dict[str, Any] | None:
    """How much of it other programs disturbed; None where nobody looked."""
    return None if load is None else {**load.as_written(), "is_too_much": load.is_too_much}


def _overall(curves: Sequence[Curve]) -> dict[str, float | None]:
    """Over all measured sizes, each curve by its own sizes."""
    sizes = sum(curve.error.n for curve in curves)
    if not sizes:
        return {"median_relative_error": None, "p95_relative_error": None}
    middle = sum(curve.error.median * curve.error.n for curve in curves) / sizes
    high = sum(curve.error.p95 * curve.error.n for curve in curves) / sizes
    return {"median_relative_error": math.expm1(middle), "p95_relative_error": math.expm1(high)}


def _kinds(profile: DeviceProfile) -> list[dict[str, Any]]:
    by_kind: dict[str, list[Curve]] = defaultdict(list)
    for family, curve in profile.curves.items():
        by_kind[family.partition(".")[0]].append(curve)
    return [_kind(kind, by_kind[kind], error) for kind, error in curve_errors(profile).items()]


def _kind(kind: str, curves: Sequence[Curve], error: CurveErrors) -> dict[str, Any]:
    points = [point for curve in curves for point in curve.points]
    return {
        "kind": kind,
        "curves": error.curves,
        "sizes": error.sizes,
        "median_relative_error": math.expm1(error.median),
        "p95_relative_error": math.expm1(error.p95),
        "types": sorted({curve.family.rpartition(".")[2] for curve in curves}),
        "fastest_flops_per_s": max((p.flops / p.seconds for p in points if p.flops), default=None),
        "fastest_bytes_per_s": max((p.bytes / p.seconds for p in points if p.bytes), default=None),
        "least_bytes": min(p.bytes for p in points),
        "most_bytes": max(p.bytes for p in points),
        "least_seconds": min(p.seconds for p in points),
        "most_seconds": max(p.seconds for p in points),
    }
