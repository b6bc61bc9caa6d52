"""What the ranges of whole runs rest on: reported against planned hours become
``profiles/priors/run_spread.csv``.

    python benchmarks/whole_runs.py --figures runs.csv > whole_runs.md    # ask, 54 runs
    python benchmarks/fit_runs.py runs.csv [--out profiles/priors/run_spread.csv]

The residual is ln(reported / our p50) of a trusted report, of clean steps: what an earlier fit
moved the middle by is taken out of our p50 first. A source is an author: its runs share habits and
machines, so that all of them together weigh as the root of their number, and each kind of run (its
modality, strategy, trainer, devices) is shrunk towards all runs by its sources. The middle of hours
is the weighted median, shrunk towards none by the sources, and never below none, as no run is
faster than its steps. The quantiles of both sides are then stretched until p10 to p90 holds 80 % of
runs whose source was left out of everything; the errors and the coverage that are printed are of
those.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import io
import math
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.fit_uncertainty import COVERAGE, weighted_quantile  # noqa: E402
from benchmarks.tables.common import read_rows  # noqa: E402
from benchmarks.whole.asking import question  # noqa: E402
from benchmarks.whole.figures import read_figures  # noqa: E402
from benchmarks.whole.report import Report, shipped  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.figures import Z90  # noqa: E402
from planner.question.stack import DEFAULT, stack_of  # noqa: E402
from planner.uncertainty.runs import ANY, WHOLE, kinds  # noqa: E402

OUT = ROOT / "profiles" / "priors" / "run_spread.csv"
TAIL = 0.1
#: Sources at which a kind's own runs weigh as much as all runs do.
HALF = 5
#: What the sides may be stretched by.
STRETCHES = tuple(1.02**power for power in range(-40, 41))
#: Fewer peaks under a trainer teach no range.
ENOUGH = 10
#: No side of a range is narrower, in logarithms.
LEAST = 0.05
BASIS = "datasheet"
HEAD = (
    "# How far whole runs are from their plans: quantiles of ln(reported / planned hours or peak "
    "memory), lower at p10 and upper at p90, around the middle, which is how much longer hours of "
    "steps are in long runs than clean steps, in logarithms. holds: whether the error of the step "
    "is in it, or is joined with it. "
    "A run takes the geometric mean of the rows of its kinds.\n"
)
COLUMNS = tuple(
    "quantity basis dimension kind holds lower upper middle sigma_log runs sources source "
    "date".split()
)


@dataclass(frozen=True)
class Residual:
    """``value``: ln(reported / planned). ``kinds`` by dimension."""

    id: str
    source: str
    value: float
    kinds: Mapping[str, str]


@dataclass(frozen=True)
class Sides:
    lower: float
    upper: float
    runs: int
    sources: int
    middle: float = 0.0


Fit = Mapping[tuple[str, str], Sides]


def source_of(text: str) -> str:
    """The author of a report's citation: the first part of its path."""
    words = text.removeprefix("huggingface.co/").split("@")[0].split(" ")[0]
    owner = words.split("/")[0].lower()
    # notebooks and courses of one house differ by repository
    return "/".join(words.split("/")[:2]).lower() if owner == "huggingface" else owner


def residuals(reports: Iterable[Report], figures: Path) -> list[Residual]:
    """Of every trusted report that has a figure of hours."""
    found = read_figures(figures)
    made = []
    for report in reports:
        compared = found.get((report.id, "hours"))
        if not report.trusted or compared is None:
            continue
        asked = question(report).fields
        trainer = stack_of(asked.get("stack") or DEFAULT).trainer
        own = kinds(asked["task"], asked["strategy"], trainer, asked["gpus"])
        clean = compared.ours.p50 - compared.long_run
        value = math.log(compared.theirs / clean)
        made.append(Residual(report.id, source_of(report["source"]), value, own))
    return made


def peak_residuals(reports: Iterable[Report], figures: Path) -> dict[str, list[Residual]]:
    """Trainer → ln(reported / our p50) of peaks of memory. All of a trainer's are of one author
    today: what is left out is a family of models."""
    found = read_figures(figures)
    made: dict[str, list[Residual]] = {}
    for report in reports:
        compared = found.get((report.id, "memory"))
        if not report.trusted or compared is None:
            continue
        asked = question(report).fields
        trainer = stack_of(asked.get("stack") or DEFAULT).trainer
        one = Residual(report.id, family_of(asked["model"]), -compared.log_ratio, {})
        made.setdefault(trainer, []).append(one)
    return {trainer: own for trainer, own in made.items() if len(own) >= ENOUGH}


def family_of(model: str) -> str:
    """The first word of a model's name: ``llama``, ``gemma``."""
    name = model.rpartition("/")[2].lower().removeprefix("meta-")
    return (re.match(r"[a-z]+", name) or [name])[0]


def fit(found: Sequence[Residual], stretch: float = 1.0, moves: bool = True) -> Fit:
    """(dimension, kind) → sides around a middle, those of all runs among them. A kind's are those
    of all runs times how much farther off its runs are, shrunk towards not at all; those of all are
    the tails of the residuals over the factors of their kinds. The middle is one of all runs, none
    where it does not move (``moves``)."""
    middle = middle_of(found) if moves else 0.0
    found = [replace(one, value=one.value - middle) for one in found]
    scales = _scales(found)
    factors = [_factor(scales, one.kinds) for one in found]
    values = [one.value / factor for one, factor in zip(found, factors, strict=True)]
    weights = _weights(found)
    low, high = (weighted_quantile(values, weights, share) for share in (TAIL, 1 - TAIL))
    lower, upper = (max(LEAST, side) * stretch for side in (-low, high))
    rows = {(ANY, ANY): Sides(lower, upper, len(found), _sources(found), middle)}
    for (dimension, kind), factor in scales.items():
        own = [one for one in found if one.kinds[dimension] == kind]
        sides = Sides(lower * factor, upper * factor, len(own), _sources(own), middle)
        rows[dimension, kind] = sides
    return rows


def middle_of(found: Sequence[Residual]) -> float:
    """How much longer long runs take than planned, in logarithms: the median, each source as it
    weighs, shrunk by the sources towards none; at least 0."""
    share = _sources(found) / (_sources(found) + HALF)
    return max(0.0, share * weighted_quantile([one.value for one in found], _weights(found), 0.5))


def _scales(found: Sequence[Residual]) -> dict[tuple[str, str], float]:
    """Of every kind, how many times farther off its runs are than all are, shrunk by sources."""
    every = _typical(found)
    made = {}
    for dimension in dict.fromkeys(name for one in found for name in one.kinds):
        for kind in dict.fromkeys(one.kinds[dimension] for one in found):
            own = [one for one in found if one.kinds[dimension] == kind]
            share = _sources(own) / (_sources(own) + HALF)
            made[dimension, kind] = (_typical(own) / every) ** share
    return made


def _factor(scales: Mapping[tuple[str, str], float], own: Mapping[str, str]) -> float:
    """Of a run: the geometric mean over its kinds; 1 for a kind that taught nothing."""
    taken = [scales.get(item, 1.0) for item in own.items()] or [1.0]
    return math.exp(math.fsum(map(math.log, taken)) / len(taken))


def _typical(found: Sequence[Residual]) -> float:
    """The median distance, each source as it weighs."""
    return max(LEAST, weighted_quantile([abs(one.value) for one in found], _weights(found), 0.5))


def _sources(found: Sequence[Residual]) -> int:
    return len({one.source for one in found})


def _weights(found: Sequence[Residual]) -> list[float]:
    """A source's runs weigh as the root of their number."""
    sizes = Counter(one.source for one in found)
    return [1 / math.sqrt(sizes[one.source]) for one in found]


def sides_of(rows: Fit, own: Mapping[str, str]) -> tuple[float, float]:
    """(lower, upper) of a run, as the planner takes them."""
    every = rows[ANY, ANY]
    taken = [rows.get(item, every) for item in own.items()] or [every]
    lower, upper = (
        math.exp(math.fsum(math.log(getattr(row, side)) for row in taken) / len(taken))
        for side in ("lower", "upper")
    )
    return lower, upper


def left_out(
    found: Sequence[Residual], stretch: float, moves: bool = True
) -> list[tuple[Residual, float, float]]:
    """Every run, off from the middle that the other sources teach it, with their sides."""
    judged = []
    for source in dict.fromkeys(one.source for one in found):
        rows = fit([one for one in found if one.source != source], stretch, moves)
        middle = rows[ANY, ANY].middle
        judged += [
            (replace(one, value=one.value - middle), *sides_of(rows, one.kinds))
            for one in found
            if one.source == source
        ]
    return judged


def shares(judged: Sequence[tuple[Residual, float, float]], weighted: bool) -> tuple[float, float]:
    """(share below p10, share above p90), each run alike or as its source weighs."""
    runs = [one for one, _, _ in judged]
    weights = _weights(runs) if weighted else [1.0] * len(runs)
    below = sum(w for w, (one, low, _) in zip(weights, judged, strict=True) if one.value < -low)
    above = sum(w for w, (one, _, high) in zip(weights, judged, strict=True) if one.value > high)
    return below / sum(weights), above / sum(weights)


def stretched(found: Sequence[Residual], moves: bool = True) -> float:
    """What the sides are multiplied with so that four fifths of the runs whose source was left out
    lie inside: each run alike and by source, their mean."""

    def inside(factor: float) -> float:
        judged = left_out(found, factor, moves)
        return 1 - sum(sum(shares(judged, weighted)) for weighted in (False, True)) / 2

    return min(STRETCHES, key=lambda factor: (abs(inside(factor) - COVERAGE), factor))


def to_csv(
    rows: Fit,
    peaks: Mapping[str, Sides],
    source: str,
    date: str,
    kept: Iterable[Mapping[str, str]],
) -> str:
    """The fitted rows of hours and of ``peaks`` of memory by trainer, and of ``kept`` those of
    other bases."""
    out = io.StringIO()
    out.write(HEAD)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    every = [("hours", dimension, kind, sides) for (dimension, kind), sides in sorted(rows.items())]
    every += [("memory", "trainer", trainer, sides) for trainer, sides in sorted(peaks.items())]
    for quantity, dimension, kind, sides in every:
        sigma = (sides.lower + sides.upper) / 2 / Z90
        columns = (sides.lower, sides.upper, sides.middle, sigma)
        figures = [f"{value:.4f}" for value in columns]
        count = [sides.runs, sides.sources]
        writer.writerow([quantity, BASIS, dimension, kind, WHOLE, *figures, *count, source, date])
    writer.writerows([row[c] for c in COLUMNS] for row in kept if row["basis"] != BASIS)
    return out.getvalue()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path, help="figures of benchmarks/whole_runs.py")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument(
        "--source",
        default="residuals of profiles/measured/whole_runs, trusted (benchmarks/fit_runs.py)",
    )
    options = parser.parse_args(arguments)
    found = residuals(shipped(), options.figures)
    stretch = stretched(found)
    for line in told(found, stretch):
        print(line)
    peaks = {}
    for trainer, own in peak_residuals(shipped(), options.figures).items():
        stretch_of_peaks = stretched(own, moves=False)
        print(f"memory under {trainer}, families of models in place of authors:")
        for line in told(own, stretch_of_peaks, moves=False):
            print(line)
        authors = {source_of(one["source"]) for one in shipped() if one.id in {r.id for r in own}}
        peaks[trainer] = replace(fit(own, stretch_of_peaks, False)[ANY, ANY], sources=len(authors))
    kept = list(read_rows(options.out)) if options.out.is_file() else []
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    write(options.out, to_csv(fit(found, stretch), peaks, options.source, date, kept))
    return 0


def told(found: Sequence[Residual], stretch: float, moves: bool = True) -> list[str]:
    """What the fit says: its size, its stretch, its middle, and the errors and the coverage of runs
    of sources left out."""
    judged = left_out(found, stretch, moves)
    middle = fit(found, stretch, moves)[ANY, ANY].middle
    lines = [
        f"{len(found)} runs of {_sources(found)} sources; sides stretched by {stretch:.2f}; "
        f"middle moved by {math.expm1(middle):+.1%}"
    ]
    for name, off in (("as it was", found), ("moved", [one for one, _, _ in judged])):
        ratios = sorted(math.expm1(-one.value) for one in off)
        sizes = sorted(abs(ratio) for ratio in ratios)
        lines.append(
            f"left-out sources, middle {name}: {statistics.median(sizes):.1%} off in the median, "
            f"bias {statistics.median(ratios):+.1%}"
        )
    for name, weighted in (("each run alike", False), ("by source", True)):
        below, above = shares(judged, weighted)
        lines.append(
            f"left-out sources, {name}: {1 - below - above:.0%} inside, {below:.0%} below p10, "
            f"{above:.0%} above p90"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
