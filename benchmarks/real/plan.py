"""What the planner says of a case before it is run, asked through its public face."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.real.cases import RealCase
from planner.units import SECONDS_PER_HOUR

#: How the planner calls what a case is run with.
STACKS = {"trainer": "trainer", "plain": "loop"}


@dataclass(frozen=True)
class Planned:
    """Seconds. ``phases``: medians that sum to ``wall[1]``; ``wall``: p10, p50, p90. ``step``: of
    one optimizer step. ``lengths``: S and T of the mean batch."""

    phases: dict[str, float]
    wall: tuple[float, float, float]
    step: float
    steps: int
    lengths: tuple[int | None, int | None] = (None, None)
    said: tuple[str, ...] = field(default=(), repr=False)


def question(case: RealCase, loop: str, model: Path, trained: Path) -> dict[str, Any]:
    """Fields of ``planner.Question``: what a user knows of his script before it runs."""
    asked: dict[str, Any] = dict(
        model=str(model),
        data=str(trained),
        task=case.task,
        classes=case.classes,
        strategy=["fine_tune"],
        gpu="cpu",
        stack=STACKS[loop],
        precision="fp32",
        optimizer="adamw",
        gradient_checkpointing="none",
        epochs=case.epochs,
        micro_batch=case.micro_batch,
        max_length=case.max_length,
        evaluations_per_epoch=1,
        evaluation_samples=case.held_out,
        evaluation_batch=case.evaluation_batch,
        saves_per_epoch=1,
        loader_workers=0,
        offline=True,
    )
    if case.max_length:
        asked["padding"] = "longest"
    if case.beams is not None:
        asked |= dict(evaluation_generates=True, generated_tokens=case.generated, beams=case.beams)
    return asked


def planned(case: RealCase, loop: str, model: Path, trained: Path) -> Planned:
    """Raises what ``planner.estimate`` raises."""
    from planner import Question, estimate

    answer = estimate(Question(**question(case, loop, model, trained)))
    return of_answer(answer)


def of_answer(answer: dict[str, Any]) -> Planned:
    option = answer["options"][0]
    run, step = option["run"], option["step"]
    wall = run["wall_hours"]
    return Planned(
        phases={name: hours * SECONDS_PER_HOUR for name, hours in run["breakdown_hours"].items()},
        wall=tuple(wall[name] * SECONDS_PER_HOUR for name in ("p10", "p50", "p90")),
        step=step["seconds"]["p50"],
        steps=run["steps"],
        lengths=(step["sequence_length"], step["target_length"]),
        said=(
            *(line["text"] for line in answer["first_lines"]),
            *option["assumptions"],
            *option["warnings"],
        ),
    )
