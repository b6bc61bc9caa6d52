"""How training programs bring data to a device: what is done to it once, what at every step, and by
how many processes. Rows of ``profiles/stacks/pipelines.csv``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from planner import tables
from planner.datasets.profile import DatasetProfile
from planner.errors import ProfileError
from planner.models.building.speech import is_ctc
from planner.plan.inputs.practice import CTC
from planner.plan.phases.stages import Work
from planner.question.stack import ANY, Stack

#: What a row is found by, the strongest first.
BY = ("trainer", "library", "strategy", "task")
#: A model whose library no row knows is fed as models of its data's kind are.
TASK_OF = {"image": "image_classification", "image_text": "contrastive"} | {
    "audio": "audio_classification"
}


@dataclass(frozen=True)
class Pipeline:
    """Stages (``stages.py``) before the first step and of every sample, and processes of each;
    ``loader_workers`` 0: the training process loads."""

    before: tuple[str, ...]
    loaded: tuple[str, ...]
    map_workers: int
    loader_workers: int
    source: str


def pipeline_of(work: Work, data: DatasetProfile, stack: Stack) -> Pipeline:
    """Of the trainer, the model's library, the strategy and the task. Raises ProfileError."""
    facts = work.facts
    task = CTC if is_ctc(work.task, facts.config or {}) else work.task
    if facts.library == "factory":
        task = TASK_OF.get(data.modality, ANY)
    return _pipeline(stack.trainer, facts.library, work.strategy, task)


@cache
def _pipeline(*found_by: str) -> Pipeline:
    """The nearest row: each of ``BY`` outweighs all that come behind it."""
    wanted = dict(zip(BY, found_by, strict=True))
    fitting = [
        row
        for row in tables.rows("stacks", "pipelines.csv")
        if all(row[name] in (value, ANY) for name, value in wanted.items())
    ]
    if not fitting:
        raise ProfileError("no row for any task", where="profiles/stacks/pipelines.csv")
    row = max(fitting, key=lambda row: [row[name] != ANY for name in BY])
    return Pipeline(
        before=tuple(row["before"].split()),
        loaded=tuple(row["loaded"].split()),
        map_workers=int(row["map_workers"]),
        loader_workers=int(row["loader_workers"]),
        source=row["source"],
    )
