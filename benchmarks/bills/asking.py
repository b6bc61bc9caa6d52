"""The planner's question of a published run, and its answer in GPU hours."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.bills.bill import Bill, stages
from benchmarks.whole.answers import Answer, Answers
from benchmarks.whole.asked import Asked
from planner.errors import QuestionError
from planner.figures import Estimate
from planner.trace.source import cache_folder
from planner.units import SECONDS_PER_HOUR
from planner.validate.architectures import resolvable

#: Cells that are fields of the question by the same name, and numbers.
NUMBERS = (
    "tensor_parallel",
    "pipeline_parallel",
    "pipeline_chunks",
    "expert_parallel",
    "image_size",
    "micro_batch",
    "global_batch",
)
#: Parts of a run that a rate of steps holds.
STEPS = ("training", "stragglers")
#: Cells that are fields of the question by the same name, and words.
WORDS = ("task", "parallel", "precision", "gradient_checkpointing", "attention")


@dataclass(frozen=True)
class Answered:
    """Our GPU hours beside the published ones. ``clean``: of steps alone, as a benchmark of some
    steps would show them. ``error``: ours over theirs, less one."""

    bill: Bill
    gpu_hours: Estimate
    mfu: float | None
    clean: float = 0.0
    fits: bool = True

    @property
    def error(self) -> float:
        assert self.bill.gpu_hours is not None
        return self.gpu_hours.p50 / self.bill.gpu_hours - 1

    @property
    def clean_error(self) -> float:
        assert self.bill.gpu_hours is not None
        return self.clean / self.bill.gpu_hours - 1

    @property
    def covered(self) -> bool:
        assert self.bill.gpu_hours is not None
        return self.gpu_hours.p10 <= self.bill.gpu_hours <= self.gpu_hours.p90


def question(bill: Bill) -> dict[str, Any]:
    """The fields of the planner's question of this run. Prices are worked out from GPU hours
    afterwards; the one given here only keeps any from being looked up."""
    row = bill.row
    architecture = json.loads(row["architecture"]) if row["architecture"] else None
    asked: dict[str, Any] = {
        "model": resolvable(row["model"], architecture, cache_folder() / "published"),
        "strategy": row["strategy"],
        "gpu": bill.gpu,
        "gpus": bill.planned_gpus,
        "samples": math.ceil(bill.samples),
        "tokens_per_sample": bill.sequence_length,
        "max_length": bill.sequence_length,
        "padding": "max" if bill.sequence_length else None,
        "epochs": 1,
        "prepared": True,
        "price": 1.0,
        "offline": True,
    }
    asked |= {name: row[name] for name in WORDS if row[name]}
    asked |= {name: int(row[name]) for name in NUMBERS if row[name]}
    asked |= dict(_further(row["more"]))
    return {name: value for name, value in asked.items() if value is not None}


def _further(cell: str) -> Mapping[str, Any]:
    """``name=value name=value``; numbers and truths as such."""
    found: dict[str, Any] = {}
    for part in cell.split():
        name, _, text = part.partition("=")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def answer(bill: Bill, answers: Answers) -> Answered:
    """Raises QuestionError where the planner refuses."""
    found = [(stage, _told(stage, answers)) for stage in stages(bill)]
    hours = [one for _, told in found if (one := _clocked(bill, told)) is not None]
    # the stages share the errors of one device and one kind of model: their ranges add
    wall = Estimate(*(sum(getattr(h, side) for h in hours) for side in ("p10", "p50", "p90")))
    last = found[-1][1].step or {}
    clean = sum(one.steps * one.step_seconds for _, one in found) / SECONDS_PER_HOUR
    return Answered(
        bill,
        wall.scale(bill.planned_gpus),
        last.get("mfu"),
        clean * bill.planned_gpus,
        all(one.fits for _, one in found),
    )


def _clocked(bill: Bill, told: Answer) -> Estimate | None:
    """Hours as the published ones were counted: ``trainer``, from the first batch; ``throughput``,
    an amount at a rate of steps, which nothing interrupts; else what is paid."""
    clock, parts = bill.row["clock"], told.parts or {}
    if told.hours is None or not clock:
        return told.hours
    if clock == "trainer":
        return told.without_start_up
    spare = told.hours.p50 - sum(parts.get(name, 0.0) for name in STEPS)
    middle = told.hours.p50 - spare
    low, high = told.hours.p10 - spare, told.hours.p90 - spare
    return Estimate(min(middle, max(0.0, low)), middle, max(middle, high))


def _told(stage: Bill, answers: Answers) -> Answer:
    found = answers.of(Asked(fields=question(stage)))
    if found.refused:
        raise QuestionError(found.refused)
    return found
