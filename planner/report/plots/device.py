"""Pictures of a measured device: its roofline, and each kind's measured sizes on its fitted
curves."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from planner.devices.curves import Curve, Point
from planner.devices.profile import DeviceProfile
from planner.errors import QuestionError
from planner.operations.registry import family_kind, features_of, kind_named
from planner.report.plots.style import COLOURS, DASHES, INK, MARKS, PALE, check, write
from planner.units import GIGA

#: Curves of a kind that still tell apart, those with most sizes; least intensity (FLOP a byte) that
#: a roofline needs to show.
MOST_CURVES, LEAST_INTENSITY = 8, 0.01
STEPS, COLUMNS = 80, 4


def draw(profile: DeviceProfile, path: Path) -> None:
    """Write the picture of a profile. Raises QuestionError for a format that is none or a profile
    without curves, MissingExtraError without matplotlib, MachineError where the file cannot be
    written."""
    check(path)
    if not profile.curves:
        raise QuestionError(
            "no operation was measured, so there is nothing to draw",
            where=str(profile.device["name"]),
        )
    write(lambda: _picture(profile), path)


def _picture(profile: DeviceProfile):
    from matplotlib.figure import Figure

    kinds = _by_kind(profile)
    rows = math.ceil(len(kinds) / COLUMNS)
    figure = Figure(figsize=(17, 4.8 + 4.4 * rows), layout="constrained")
    grid = figure.add_gridspec(rows + 1, COLUMNS, height_ratios=[1.15, *([1.0] * rows)])
    figure.suptitle(_title(profile), fontsize=13, fontweight="bold", x=0.01, ha="left")
    _roofline(figure.add_subplot(grid[0, :]), profile, kinds)
    for index, (kind, curves) in enumerate(kinds.items()):
        _kind(figure.add_subplot(grid[1 + index // COLUMNS, index % COLUMNS]), kind, curves)
    return figure


def _title(profile: DeviceProfile) -> str:
    parts = [
        str(profile.device["name"]),
        str(profile.provenance.get("date") or ""),
        f"torch {profile.provenance['torch']}" if profile.provenance.get("torch") else "",
    ]
    return _safe(" · ".join(filter(None, parts)))


def _safe(text: str) -> str:
    """Matplotlib reads dollars as mathematics."""
    return "".join(c for c in text if c.isprintable())[:120].replace("$", r"\$")


def _by_kind(profile: DeviceProfile) -> dict[str, list[Curve]]:
    """Curves by kind, those with most measured sizes first."""
    found: dict[str, list[Curve]] = defaultdict(list)
    for family, curve in profile.curves.items():
        found[family.partition(".")[0]].append(curve)
    return dict(
        sorted(
            found.items(),
            key=lambda item: (
                not kind_named(item[0]).model_work,
                -sum(len(c.points) for c in item[1]),
            ),
        )
    )


# ---- the roofline


def _roofline(axes, profile: DeviceProfile, kinds: Mapping[str, Sequence[Curve]]) -> None:
    """FLOP/s over FLOP per byte, log-log, under the best rates and the best bandwidth that were
    measured."""
    shown = {
        kind: [
            p
            for curve in curves
            for p in curve.points
            if p.bytes > 0 and p.flops / p.bytes >= LEAST_INTENSITY
        ]
        for kind, curves in kinds.items()
    }
    shown = {kind: points for kind, points in shown.items() if points}
    for index, (kind, points) in enumerate(shown.items()):
        axes.plot(
            [p.flops / p.bytes for p in points],
            [p.flops / p.seconds / GIGA for p in points],
            label=f"{kind} ({len(points)} sizes)",
            **_marked(index, 5.0),
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="intensity, FLOP per byte moved",
        ylabel="achieved, GFLOP/s",
    )
    axes.set_title("Roofline: measured sizes under the best rates seen", loc="left")
    intensities = [p.flops / p.bytes for points in shown.values() for p in points]
    if intensities:
        _ceilings(axes, profile, min(intensities), max(intensities))
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def _marked(index: int, size: float) -> dict[str, Any]:
    """How the points of a series look: colour and mark, hollow from the ninth series on."""
    colour, hollow = COLOURS[index % len(COLOURS)], index >= len(COLOURS)
    return {
        "color": colour,
        "marker": MARKS[index % len(MARKS)],
        "markersize": size,
        "linestyle": "none",
        "alpha": 0.7,
        "markerfacecolor": "none" if hollow else colour,
        "markeredgewidth": 0.9 if hollow else 0.0,
    }


def _ceilings(axes, profile: DeviceProfile, low: float, high: float) -> None:
    """A roof for each type of number, all on the slope of the fastest memory that was seen."""
    bandwidth = profile.fastest_bytes_per_s
    peaks: dict[str, float] = {}
    for family, curve in profile.curves.items():
        if family_kind(family).model_work:
            dtype = family.rpartition(".")[2]
            peaks[dtype] = max(
                peaks.get(dtype, 0.0), max(p.flops / p.seconds for p in curve.points)
            )
    ridge = max(peaks.values(), default=high * bandwidth) / bandwidth
    slope = np.geomspace(low, max(low, ridge), 2)
    axes.plot(
        slope,
        slope * bandwidth / GIGA,
        color=PALE,
        linewidth=1.4,
        zorder=1,
        label=f"memory, {_rate(bandwidth, 'B/s')}",
    )
    for dashes, (dtype, peak) in zip(
        itertools.cycle(DASHES), sorted(peaks.items(), key=lambda item: -item[1])
    ):
        flat = (peak / bandwidth, max(high, 2 * ridge))
        axes.plot(
            flat,
            (peak / GIGA, peak / GIGA),
            color=INK,
            linestyle=dashes,
            linewidth=1.4,
            zorder=1,
            label=f"{dtype}, {_rate(peak, 'FLOP/s')}",
        )


def _rate(value: float, unit: str) -> str:
    scale, letter = next(
        ((s, p) for s, p in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")) if value >= s),
        (1.0, ""),
    )
    return f"{value / scale:.3g} {letter}{unit}"


# ---- a kind's curves


def _kind(axes, kind: str, curves: Sequence[Curve]) -> None:
    """Achieved rate over size: measured sizes as marks, the fitted curve as a line through the
    middle of the other sizes."""
    computing = kind_named(kind).model_work
    chosen = sorted(curves, key=lambda c: -len(c.points))[:MOST_CURVES]
    for index, curve in enumerate(chosen):
        points = [p for p in curve.points if _size(p, computing) > 0]
        if not points:
            continue
        label = (
            f"{curve.family.removeprefix(kind + '.')}  {len(points)} sizes, "
            f"±{math.expm1(curve.error.median):.0%}"
        )
        axes.plot(
            [_size(p, computing) for p in points],
            [_size(p, computing) / p.seconds / GIGA for p in points],
            label=label,
            **_marked(index, 4.0),
        )
        sizes, rates = _line(curve, points, computing)
        axes.plot(sizes, rates, color=COLOURS[index % len(COLOURS)], linewidth=1.3)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="FLOP" if computing else "bytes moved",
        ylabel="GFLOP/s" if computing else "GB/s",
    )
    left = f" ({len(chosen)} of {len(curves)} curves)" if len(curves) > len(chosen) else ""
    axes.set_title(f"{kind}{left}", loc="left")
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.12, -0.2),
        fontsize=7.5,
        handletextpad=0.1,
        borderaxespad=0,
        labelspacing=0.3,
    )


def _size(point: Point, computing: bool) -> float:
    return point.flops if computing else point.bytes


def _line(curve: Curve, points: Sequence[Point], computing: bool) -> tuple[np.ndarray, np.ndarray]:
    """(sizes, rates) of the curve from its smallest to its largest measured size. Where a size has
    several dimensions, all grow together from the middle of what was measured, FLOP and bytes as
    the measured ones do."""
    order = np.array([math.log(_size(p, computing)) for p in points])
    grid = np.linspace(order.min(), order.max(), STEPS)
    trend = _trend(order, grid)
    features = [
        np.exp(trend([p.features[i] for p in points]))
        for i in range(len(features_of(curve.family)))
    ]
    flops, moved_bytes = (
        np.exp(trend([getattr(p, name) for p in points]))
        if any(getattr(p, name) for p in points)
        else np.zeros(STEPS)
        for name in ("flops", "bytes")
    )
    sizes = flops if computing else moved_bytes
    return sizes, sizes / curve.seconds(features, flops, moved_bytes)[0] / GIGA


def _trend(order: np.ndarray, grid: np.ndarray) -> Callable[[Sequence[float]], np.ndarray]:
    """A straight line through logarithms over ``order``, read at ``grid``."""

    def read(values: Sequence[Any]) -> np.ndarray:
        logs = np.log(np.maximum(np.array(values, dtype=float), 1.0))
        slope, start = np.polyfit(order, logs, 1) if np.ptp(order) > 0 else (0.0, logs.mean())
        return start + slope * grid

    return read
