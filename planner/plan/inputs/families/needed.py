"""What a task learns from and the data does not hold: priced all the same, and said first."""

from __future__ import annotations

from planner.datasets.profile import DatasetProfile
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.question.training_setting import OBJECT_TASKS

#: Task → what its loss is made of, in words.
LEARNS_FROM = {
    "token_classification": "a tag for each token",
    "question_answering": "questions with the places of their answers in a context",
    "object_detection": "boxes",
    "instance_segmentation": "boxes and masks",
    "semantic_segmentation": "masks",
    "mask_generation": "masks",
}
#: Format of annotated images → the tasks that it is for, the likeliest first.
ANNOTATED = {
    "coco": ("object_detection", "instance_segmentation"),
    "yolo": ("object_detection", "instance_segmentation"),
    "masks": ("semantic_segmentation", "mask_generation", "instance_segmentation"),
}


def needed_lines(facts: ModelFacts, data: DatasetProfile, task: str) -> list[FirstLine]:
    """A warning where data that was read cannot teach the task."""
    what = LEARNS_FROM.get(task)
    if what is None or data.source == "counts" or _holds(facts, data, task):
        return []
    text = (
        f"the data holds no {what.removeprefix('a ')}, from which {task} learns: its steps are "
        f"priced as if it did; give such data, or another {FieldName('task')}"
    )
    return [FirstLine("data", text, warning=True)]


def _holds(facts: ModelFacts, data: DatasetProfile, task: str) -> bool:
    if task in OBJECT_TASKS:
        return data.objects is not None and bool(data.objects.sum())
    if facts.modality == "text":
        return data.told_task == task
    return data.format in ANNOTATED
