"""What of a workbook follows its inputs: names of cells, and the formulas that are made of them.

A formula is the document's figure times the ratio of an input to its value in the plan, so that an
untouched workbook shows the document. Hours of a phase that is repeated in every epoch follow the
epochs; start-up, preparation and saving do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PRICE, PRICE_PLANNED = "GPU_hour_price", "GPU_hour_price_in_plan"
EPOCHS, EPOCHS_PLANNED = "Epochs", "Epochs_in_plan"
TRIALS, TRIALS_PLANNED = "Trials", "Trials_in_plan"
RUN, RUN_PLANNED = "Run_USD", "Run_USD_in_plan"
RENTED, RENTED_PLANNED = "GPU_time_USD", "GPU_time_USD_in_plan"
WALL, WALL_PLANNED = "Wall_hours", "Wall_hours_in_plan"
PROJECT_LOW, PROJECT_HIGH = "Project_low_USD", "Project_high_USD"
#: Phases that every epoch repeats.
REPEATED = ("training", "evaluation", "generation", "scoring", "interruptions", "stragglers")
GPU_HOURS = "GPU-hours"
#: Lines of the bill that are hours of a phase, by their names.
PHASES = {
    "Preparing the data": "preparation",
    "Starting up": "start_up",
    "Training": "training",
    "Evaluation": "evaluation",
    "Writing completions": "generation",
    "Scoring completions": "scoring",
    "The reference's pass": "reference",
    "Saving checkpoints": "saving",
    "Work lost to interruptions": "interruptions",
    "Waiting for the slowest devices": "stragglers",
}
#: The line of whole runs more that succeed; others in this unit are runs that fail.
FURTHER, RUNS = "Further trials", "runs"
CACHED = "cached features"


@dataclass(frozen=True)
class Live:
    """Which inputs move the sums: ``price`` USD of a GPU-hour, ``epochs``, ``trials``; None where
    the plan has no such thing, and ``why_not`` then says why."""

    option: Mapping[str, Any] | None
    price: float | None
    epochs: float | None
    trials: float | None
    why_not: tuple[str, ...]
    saves_every_epoch: bool = False

    def follows_epochs(self, phase: str) -> bool:
        if self.epochs is None or self.option is None:
            return False
        asked = phase == "saving" and self.saves_every_epoch
        return asked or phase in REPEATED


def live(document: Mapping[str, Any]) -> Live:
    """Of the recommended option."""
    budget, question = document["budget"], document["question"]
    at = budget["headline"]["option"]
    option = None if at is None else document["options"][at]
    rented = [line for line in budget["lines"] if is_gpu_time(line)]
    run = (option or {}).get("run")
    if not rented or not run:
        return Live(option, None, None, None, ("No GPU is rented by the hour in this plan.",))
    why: list[str] = []
    epochs = run["epochs"] or None
    if not any(PHASES.get(line["name"]) in REPEATED for line in rented):
        epochs, _ = None, why.append("Epochs are no input: the bill does not tell phases apart.")
    elif question.get("max_steps") is not None:
        epochs, _ = None, why.append("Epochs are no input: the question sets the steps.")
    elif option and option.get("variant") == CACHED:
        epochs = None
        why.append("Epochs are no input: features are computed once, only the head repeats.")
    return Live(
        option,
        rented[0]["usd_per_unit"],
        epochs,
        question.get("trials") if budget["project"] else None,
        tuple(why),
        saves_every_epoch=question.get("saves_per_epoch") is not None,
    )


def is_gpu_time(line: Mapping[str, Any]) -> bool:
    """Hours of the rented GPUs, which the price of a GPU-hour and the epochs move."""
    return line["group"] == "run" and line["unit"] == GPU_HOURS


def is_repeats(line: Mapping[str, Any]) -> bool:
    """Whole runs beyond the one that is kept."""
    return line["group"] == "run" and line["unit"] == RUNS


def ratio(now: str, planned: str) -> str:
    return f"{now}/{planned}"


def in_proportion(value: float, planned: float) -> str:
    """A figure of the run that moves as the run's sum does; a plan that costs nothing has none."""
    return f"={value!r}*{ratio(RUN, RUN_PLANNED)}" if planned else f"={value!r}"
