"""Planned against reported hours of whole runs, from the table of ``docs/whole_runs.md``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pictured import ROOT, Picture

DOCUMENT = ROOT / "docs" / "whole_runs.md"
FILE = "whole_runs.svg"
#: "2.16 (1.74 to 3.84)": what was planned with its 80 % range, hours.
PLANNED = re.compile(r"([\d.,e+-]+) \(([\d.,e+-]+) to ([\d.,e+-]+)\)")
LABELS = {"scratch": "from scratch", "fine_tune": "full fine-tuning", "lora": "LoRA"}
OTHERS = "other"
NEAR = 1.3


@dataclass(frozen=True)
class Run:
    """A trusted run of the table, hours of wall-clock time."""

    name: str
    strategy: str
    reported: float
    p10: float
    p50: float
    p90: float

    @property
    def inside(self) -> bool:
        return self.p10 <= self.reported <= self.p90


def runs(text: str) -> list[Run]:
    """The rows of "The runs" that have hours."""
    table = text[text.index("\n## The runs\n") :].split("\n## ", 2)[1]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    names, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    cells = (dict(zip(names, row, strict=True)) for row in rows if row[0].strip("-:"))
    return [run for row in cells if (run := _run(row)) is not None]


def _run(row: Mapping[str, str]) -> Run | None:
    planned = PLANNED.fullmatch(row["ours (p10 to p90)"])
    if planned is None or row["trust"] not in ("H", "M"):
        return None
    p50, p10, p90 = map(_number, planned.groups())
    return Run(row["run"], row["strategy"], _number(row["reported h"]), p10, p50, p90)


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def totals(text: str) -> tuple[int, int, int]:
    """Of hours, now: how many runs, their median error and the share inside the range, percent."""
    found = re.search(r"\| hours, now \| (\d+) \| (\d+)% \| \d+% \| [+-]?\d+% \| (\d+)% \|", text)
    if found is None:
        raise ValueError("docs/whole_runs.md has no totals of hours")
    count, error, inside = map(int, found.groups())
    return count, error, inside


def draw(folder: Path) -> None:
    from planner.report.plots.style import write

    text = DOCUMENT.read_text(encoding="utf-8")
    write(lambda: figure(runs(text), totals(text)), folder / FILE)


def figure(found: list[Run], total: tuple[int, int, int]) -> Any:
    """Hours, both axes in equal decades: the line of equality, a band of 30 %, a run a mark with
    its 80 % range, hollow where the range missed what was reported."""
    from matplotlib.figure import Figure

    count, error, inside = total
    made = Figure(figsize=(5.6, 5.2), layout="constrained")
    axes = made.subplots()
    low, high = 0.04, 250.0
    axes.plot((low, high), (low, high), color="#222222", linewidth=1.0, zorder=1)
    axes.fill_between(
        (low, high), (low / NEAR, high / NEAR), (low * NEAR, high * NEAR), color="#d9d9d9", zorder=0
    )
    for index, (label, members) in enumerate(_series(found).items()):
        _marks(axes, members, label, index, low)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(xlabel="reported, hours", ylabel="planned, hours (bar: 80 % range)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_title(
        f"{count} whole runs that people reported: hours off by {error} % in\n"
        f"the median, {inside} % inside the range",
        loc="left",
    )
    axes.legend(loc="lower right", title="band: within 30 %; hollow: outside its range")
    return made


def _series(found: list[Run]) -> dict[str, list[Run]]:
    names = {"qlora": "QLoRA", **LABELS}
    groups: dict[str, list[Run]] = {label: [] for label in (*names.values(), OTHERS)}
    for run in found:
        groups[names.get(run.strategy, OTHERS)].append(run)
    return {label: members for label, members in groups.items() if members}


def _marks(axes: Any, members: list[Run], label: str, index: int, low: float) -> None:
    from planner.report.plots.style import COLOURS, MARKS

    colour, mark = COLOURS[index], MARKS[index]
    for is_inside in (True, False):
        some = [run for run in members if run.inside is is_inside]
        if not some:
            continue
        # a range that reaches to nothing ends at the axis
        bars = [r.p50 - max(r.p10, low) for r in some], [r.p90 - r.p50 for r in some]
        axes.errorbar(
            [run.reported for run in some],
            [run.p50 for run in some],
            yerr=bars,
            fmt=mark,
            color=colour,
            markersize=4.5,
            markerfacecolor=(colour, 0.75) if is_inside else "white",
            elinewidth=0.8,
            ecolor=(colour, 0.4),
            label=f"{label} ({len(members)})" if is_inside else None,
        )


PICTURES = (Picture(FILE, "planned against reported hours of whole runs", draw),)
