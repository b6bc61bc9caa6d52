"""Images that a model writes about: the places that they take in a sequence, and what the vision
tower is given of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from planner.datasets.profile import DatasetProfile
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.models.building.sight.image_inputs import ImageInput, image_input
from planner.models.facts import ModelFacts
from planner.question import Question

TASK = "image_text_to_text"


@dataclass(frozen=True)
class Seen:
    """``count`` images a sample, each read as ``image`` says."""

    count: int
    image: ImageInput

    @property
    def places(self) -> int:
        """Tokens of a sample's sequence."""
        return self.count * self.image.places


def seen(question: Question, facts: ModelFacts, data: DatasetProfile) -> Seen | None:
    """What a sample holds beside its text; None for other tasks. Raises ModelError for a family
    whose images are not covered."""
    if (question.task or facts.task) != TASK:
        return None
    pixels = data.image_sizes[:2] if data.image_sizes else None
    image = image_input(facts.config or {}, facts.name, question.image_size, pixels)
    held = math.ceil(data.images_per_sample) if data.images_per_sample else 1
    return Seen(question.images_per_sample or max(1, held), image)


def seen_by_recipe(
    question: Question, facts: ModelFacts, data: DatasetProfile, task: str
) -> dict[str, Any]:
    """The recipe's pixels and pictures of a sample."""
    found = seen(question, facts, data) if task == TASK else None
    if found is None:
        return {}
    return {"image_size": found.image.side, "images": found.count * found.image.pictures}


def with_places(question: Question, facts: ModelFacts, data: DatasetProfile) -> DatasetProfile:
    """The data with the images' places among each sample's tokens."""
    found = seen(question, facts, data)
    if found is None or data.lengths is None:
        return data
    longest = None if data.longest_input is None else data.longest_input + found.places
    return replace(data, lengths=data.lengths + found.places, longest_input=longest)


def seen_lines(question: Question, facts: ModelFacts, data: DatasetProfile) -> list[FirstLine]:
    """How many images of which size, and what they take of a sequence."""
    found = seen(question, facts, data)
    if found is None:
        return []
    image = found.image
    count = f"{found.count} image{'' if found.count == 1 else 's'} a sample"
    cut = f", {image.pictures} pictures each" if image.pictures > 1 else ""
    size = f"{image.side} × {image.side} pixels{cut}"
    if image.assumed:
        size += f" (assumed: {FieldName('image_size')} says it)"
    text = f"{count} of {size}: {image.places:,} tokens each, counted with the text's"
    lines = [FirstLine("data", text, warning=image.assumed)]
    lines += _of_the_tower(question)
    held = data.images_per_sample
    if held is not None and question.images_per_sample is None and held != found.count:
        text = f"{held:.2g} images a sample in the mean are priced as {found.count} in each"
        lines.append(FirstLine("data", f"{text}; {FieldName('images_per_sample')} changes it"))
    return lines


def _of_the_tower(question: Question) -> list[FirstLine]:
    if question.vision_tower == "trained":
        return [FirstLine("model", "the vision tower trains with the language model, as asked")]
    text = (
        "the vision tower is frozen, as usual recipes have it, what joins it to the text trains; "
        f"{FieldName('vision_tower')} trained changes it"
    )
    return [FirstLine("model", text)]
