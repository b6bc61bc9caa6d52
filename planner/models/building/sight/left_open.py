"""What a config leaves open and a model cannot do without: published checkpoints state it, a
family's default config does not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from planner.models.building.sight.processors import processor_size, sees
from planner.models.constants import constant

#: Ids that stand for the places of what is not text.
_PLACEHOLDER = re.compile(r"(image|video|audio|speech|sound|frame)_token_(id|index)")
#: By what a list of one entry a class is called: the entry of a class.
_PER_CLASS: dict[str, Callable[[int], float]] = {
    "class_thresholds": lambda _number: 0.5,
    "class_order": lambda number: number,
}
#: What a config says of the places that one image fills among the tokens.
_PLACES = ("mm_tokens_per_image",)


def fill_in(config: Any) -> tuple[str, ...]:
    """Gives a config, in place, the ids and names that it leaves open; what is said of it."""
    return (*_placeholders(config), *_by_class(config), *_language(config))


def _placeholders(config: Any) -> tuple[str, ...]:
    left = [n for n in vars(config) if _PLACEHOLDER.fullmatch(n) and getattr(config, n) is None]
    vocabulary = getattr(config.get_text_config(), "vocab_size", None)
    if not isinstance(vocabulary, int) or not left:
        return ()
    for number, name in enumerate(left, 1):
        setattr(config, name, vocabulary - number)
    return (f"its config names no {', no '.join(left)}: the last ids of the vocabulary stand in",)


def _by_class(config: Any) -> tuple[str, ...]:
    """Lists of one entry a class, which a detector of a page's parts reads in every step."""
    classes = getattr(config, "num_labels", None)
    left = [n for n in vars(config) if n in _PER_CLASS and getattr(config, n) is None]
    if not left or not isinstance(classes, int):
        return ()
    for name in left:
        setattr(config, name, [_PER_CLASS[name](number) for number in range(classes)])
    return (f"its config names no {', no '.join(left)}: an entry a class was filled in",)


def _language(config: Any) -> tuple[str, ...]:
    """Of adapters by language (X-MOD)."""
    languages = getattr(config, "languages", None)
    if not languages or getattr(config, "default_language", "") is not None:
        return ()
    config.default_language = languages[0]
    return (f"its config names no default_language: {languages[0]} was taken",)


def give_size(library: Any, config: Any, task: str, image_size: int | None) -> tuple[str, ...]:
    """Gives a config that does not say how large its images are the size of its family's image
    processor, else the usual one, and one whose images are too small for the places that they fill
    the smallest that fills them; what is said of it. ``image_size``: pixels that the question
    states."""
    vision = getattr(config, "vision_config", config)
    if image_size is not None or not sees(task, config):
        return ()
    stated = getattr(vision, "image_size", None)
    if stated is not None and not _too_small(config, vision, stated):
        return ()
    if stated is not None:
        vision.image_size = side = _smallest(config, vision)
        why = "the smallest that fill its places among the tokens"
        return (f"images are taken as {side} × {side} pixels, {why}",)
    # a classifier's processor has one size for all of a family, weights of other sizes among them
    of_family = task != "image_classification"
    found = processor_size(library, config.model_type) if of_family else None
    if found is None and task == "custom":
        return ()
    usual = int(constant("usual_image_size"))
    height, width = found or (usual, usual)
    vision.image_size = height if height == width else (height, width)
    if found is None:
        return (f"images are taken as {height} × {width} pixels, as its config does not say",)
    return (
        f"images are {height} × {width} pixels, as the image processor of {config.model_type} "
        "makes them; an image size that is asked for changes it",
    )


def _smallest(config: Any, vision: Any) -> int:
    """Pixels of the side of an image that gives a patch for each of its places."""
    places = next(_numbers(config, _PLACES), 0)
    return math.ceil(math.sqrt(places)) * vision.patch_size


def _too_small(config: Any, vision: Any, stated: Any) -> bool:
    """Whether an image gives fewer patches than the places that it fills."""
    patch = getattr(vision, "patch_size", None)
    places = next(_numbers(config, _PLACES), None)
    if not isinstance(stated, int) or not isinstance(patch, int) or places is None:
        return False
    return (stated // patch) ** 2 < places


def _numbers(config: Any, names: tuple[str, ...]) -> Iterator[int]:
    found = (getattr(config, name, None) for name in names)
    return (value for value in found if isinstance(value, int))
