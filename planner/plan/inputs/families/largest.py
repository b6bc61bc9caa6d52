"""The largest batch of a detector's images, which its memory is of: its size and its objects as
asked, else as the data has them, else as the family's published recipe makes them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from planner.datasets.profile import DatasetProfile
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.models.images.largest import (
    FIXED,
    MIXED,
    Largest,
    Sides,
    Size,
    published_crowd,
    sides_of,
)
from planner.question import Question
from planner.training.recipe import Recipe


@dataclass(frozen=True)
class Told:
    """The largest batch, and what tells its size and its objects. ``mixed``: wide and high images
    meet in it, and pad each other."""

    largest: Largest
    size_from: str
    objects_from: str
    mixed: bool = False


def largest_batch(
    question: Question, facts: ModelFacts, data: DatasetProfile, recipe: Recipe
) -> Largest | None:
    """Of a recipe's run; None where no detector is trained on images."""
    if recipe.variant is not None:
        return None
    told = _told(question, facts, data, recipe.task)
    return None if told is None else told.largest


def largest_lines(
    question: Question, facts: ModelFacts, data: DatasetProfile, task: str
) -> list[FirstLine]:
    """Which batch the memory is of."""
    told = _told(question, facts, data, task)
    if told is None:
        return []
    wide, high = told.largest.size
    text = (
        f"memory is of the largest batch: images padded to {wide:,} × {high:,} pixels "
        f"({told.size_from}), {told.largest.crowd.most} objects in the fullest "
        f"({told.objects_from}); {FieldName('largest_image_size', 'most_objects')} change it"
    )
    if told.mixed:
        text += (
            "; its time is of images of the usual shape, without what mixed shapes are padded, and "
            "one image alone takes less memory than this"
        )
    return [FirstLine("data", text)]


def _told(question: Question, facts: ModelFacts, data: DatasetProfile, task: str) -> Told | None:
    sides = sides_of(facts, task, question.image_size, question.largest_image_size)
    if sides is None:
        return None
    size, size_from = _size(question, data, sides)
    most, objects_from = _most(question, data)
    usual = question.objects_per_image
    if usual is None and data.objects is not None:
        usual = float(data.objects.mean())
    largest = Largest(size, published_crowd(sides.padded)).with_objects(usual, most)
    mixed = sides.batches == MIXED and size[0] == size[1]
    return Told(largest, size_from, objects_from, mixed)


def _size(question: Question, data: DatasetProfile, sides: Sides) -> tuple[Size, str]:
    published = "as the published recipe of its family makes them"
    if question.largest_image_size is not None:
        return sides.largest, f"from {FieldName('largest_image_size')}"
    if sides.batches == FIXED or data.image_shapes is None:
        return sides.largest, published
    found = sides.of((int(wide), int(high)) for wide, high in data.image_shapes)
    if found == sides.largest:
        return found, "the data's own, as the published recipe makes them"
    if importlib.util.find_spec("torch") is None:
        return sides.largest, f"{published}; the data's own {found[0]} × {found[1]} needs torch"
    return found, "the largest of the data, as its recipe makes them"


def _most(question: Question, data: DatasetProfile) -> tuple[int | None, str]:
    if question.most_objects is not None:
        return question.most_objects, f"from {FieldName('most_objects')}"
    if data.objects is not None and data.objects.max() > 0:
        return int(data.objects.max()), "of the data"
    return None, "as in COCO"
