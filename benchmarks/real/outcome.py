"""A plan and the run that followed it, set beside each other."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.real.plan import Planned
from benchmarks.real.stamps import PHASES

#: What the plan of a whole run is held to after calibration.
BAR = 0.1
#: A phase shorter than this share of its run is not judged alone.
TELLING = 0.02


@dataclass(frozen=True)
class Stamped:
    """What a run showed, in seconds: ``phases`` sum to ``wall``, by the clock of whoever started
    it. ``steps``: each optimizer step by itself, without the loading of its batch."""

    phases: dict[str, float]
    wall: float
    steps: tuple[float, ...]

    @property
    def step(self) -> float:
        return statistics.median(self.steps)


def stamped(document: dict[str, Any], ended: float) -> Stamped:
    """Of a run's document; ``ended``: when its process was gone, on the same clock. What lies
    between its last stamp and its end belongs to what surrounds the phases."""
    phases = {name: float(document["seconds"][name]) for name in PHASES}
    phases["start_up"] += ended - document["until"]
    return Stamped(phases, ended - document["began"], tuple(document["steps"]))


@dataclass(frozen=True)
class Outcome:
    case: str
    loop: str
    planned: Planned
    run: Stamped

    @property
    def error(self) -> float:
        """(planned − measured) / measured of the wall clock."""
        return self.planned.wall[1] / self.run.wall - 1

    @property
    def inside(self) -> bool:
        """Whether the run lies between the plan's p10 and p90."""
        return self.planned.wall[0] <= self.run.wall <= self.planned.wall[2]

    def phase_error(self, name: str) -> float | None:
        """None of a phase that took no time."""
        seen = self.run.phases[name]
        return self.planned.phases.get(name, 0.0) / seen - 1 if seen > 0 else None

    def telling(self) -> list[str]:
        """Phases that are a share of the run worth judging."""
        return [name for name, seen in self.run.phases.items() if seen >= TELLING * self.run.wall]


def table(outcomes: Iterable[Outcome]) -> str:
    """Markdown: the runs, then every run's phases."""
    found = list(outcomes)
    return "\n\n".join(
        ["## Whole runs", _runs(found), "## Phase by phase", _phases(found), totals(found)]
    )


def totals(outcomes: Iterable[Outcome]) -> str:
    found = list(outcomes)
    if not found:
        return "Nothing was run."
    errors = [abs(one.error) for one in found]
    each = [
        abs(error)
        for one in found
        for name in one.telling()
        if (error := one.phase_error(name)) is not None
    ]
    return (
        f"Whole runs within {BAR:.0%}: {sum(e <= BAR for e in errors)} of {len(errors)}, median "
        f"error {statistics.median(errors):.1%}, largest {max(errors):.1%}; inside the range: "
        f"{sum(one.inside for one in found)} of {len(found)}. Phases of at least {TELLING:.0%} of "
        f"their run within {BAR:.0%}: {sum(e <= BAR for e in each)} of {len(each)}."
    )


def _runs(found: list[Outcome]) -> str:
    head = ["case", "loop", "planned s (80 %)", "measured s", "error", "inside"]
    head += ["step planned ms", "step measured ms", "steps"]
    lines = [_row(head), _row(["---", "---", *["---:"] * (len(head) - 2)])]
    for one in found:
        low, middle, high = one.planned.wall
        lines.append(
            _row(
                [
                    one.case,
                    one.loop,
                    f"{middle:.1f} ({low:.1f} to {high:.1f})",
                    f"{one.run.wall:.1f}",
                    f"{one.error:+.1%}",
                    "yes" if one.inside else "no",
                    f"{1e3 * one.planned.step:.0f}",
                    f"{1e3 * one.run.step:.0f}",
                    str(len(one.run.steps)),
                ]
            )
        )
    return "\n".join(lines)


def _phases(found: list[Outcome]) -> str:
    head = ["case", "loop", *(name.replace("_", "-") for name in PHASES)]
    lines = [_row(head), _row(["---", "---", *["---:"] * len(PHASES)])]
    lines += [_row([one.case, one.loop, *(_both(one, name) for name in PHASES)]) for one in found]
    return "\n".join(lines)


def _both(one: Outcome, name: str) -> str:
    """``planned → measured (error)``; of next to nothing no error."""
    said, seen, error = one.planned.phases.get(name, 0.0), one.run.phases[name], None
    if name in one.telling():
        error = one.phase_error(name)
    return f"{said:.2f} → {seen:.2f}" + (f" ({error:+.0%})" if error is not None else "")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
