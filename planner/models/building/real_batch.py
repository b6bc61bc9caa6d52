"""Batches with values, for a step that is really run: what ``make_batch`` gives on meta, filled
with something the model takes.

The values do not matter to the cost of a step, as long as indices are in range and no sample is
padded: the traces assume full masks too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from planner.datasets.constants import constant
from planner.models.building.sight.real_places import put_images

if TYPE_CHECKING:
    import torch

    from planner.models.building.built import BuiltModel

IGNORED = -100  # torch.nn.functional.cross_entropy's ignore_index
#: Classes of the objects of an image, which are no tokens.
CLASSES_OF_OBJECTS = ("class_labels",)
#: Ids that every table has, where a config does not say how many it has.
UNKNOWN_VOCABULARY = 2
SPECIAL_TOKENS = ("pad", "bos", "eos", "sep", "cls", "mask", "decoder_start")


def real_batches(
    built: BuiltModel, device: str
) -> Callable[[int, int | None, int | None], dict[str, Any]]:
    """(B, S, T) → the batch of ``built`` on ``device``, with values. Aliases stay aliases (a
    decoder's labels are its inputs)."""
    shapes, config, task = built.make_batch, getattr(built.module, "config", None), built.task

    def make(B: int, S: int | None, T: int | None) -> dict[str, Any]:
        made: dict[int, Any] = {}
        batch = {}
        for name, value in shapes(B, S, T).items():
            if id(value) not in made:
                made[id(value)] = _filled(name, value, config, task, device)
            batch[name] = made[id(value)]
        if task == "image_text_to_text":
            put_images(batch, config, built.facts.name)
        return batch

    return make


def _filled(name: str, like: Any, config: Any, task: str, device: str) -> Any:
    """A tensor of the same shape, type and layout, on the device."""
    import torch

    if not isinstance(like, torch.Tensor):
        return like
    if name == "boxes":  # centre and size as shares of the image: inside it, and not empty
        return torch.rand(like.shape, dtype=like.dtype, device=device) / 4 + 0.25
    if name in CLASSES_OF_OBJECTS:
        return torch.randint(0, config.num_labels, like.shape, dtype=like.dtype, device=device)
    if like.is_floating_point():
        return torch.empty_strided(
            like.shape, like.stride(), dtype=like.dtype, device=device
        ).normal_()
    if name.endswith("mask"):
        return torch.ones(like.shape, dtype=like.dtype, device=device)
    if name == "labels" and task.endswith("classification"):
        return torch.randint(
            0, min(2, getattr(config, "num_labels", 2)), like.shape, dtype=like.dtype, device=device
        )
    return _tokens(name, like.shape, getattr(config, "text_config", config), task, device)


def _tokens(name: str, shape: tuple[int, ...], config: Any, task: str, device: str) -> torch.Tensor:
    """Token ids without the special ones: padding would shorten a sample, a second end-of-sequence
    token end it. A classifier's samples end with their end-of-sequence token (BART's head looks for
    it)."""
    import torch

    special = {
        value
        for name_of_token in SPECIAL_TOKENS
        if isinstance(value := getattr(config, f"{name_of_token}_token_id", None), int)
    }
    vocabulary = getattr(config, "vocab_size", None) or UNKNOWN_VOCABULARY
    allowed = torch.ones(vocabulary, dtype=torch.bool)
    allowed[[token for token in special if 0 <= token < vocabulary]] = False
    usable = allowed.nonzero().flatten()
    ids = usable[torch.randint(0, len(usable), shape)]
    end = getattr(config, "eos_token_id", None)
    if task == "text_classification" and isinstance(end, int) and 0 <= end < vocabulary:
        ids[:, -1] = end
    if name == "labels" and task == "masked_lm":
        ids[torch.rand(shape) >= constant("masked_share")] = IGNORED
    return ids.to(device)


@contextlib.contextmanager
def with_values(device: str) -> Iterator[None]:
    """Inside, ``torch.empty`` of a factory's batch function holds values on a real device: zeros,
    which index anything, and normal floats. A function that draws its own values
    (``torch.randint``) is left alone."""
    if device == "meta":
        yield
        return
    from torch.overrides import TorchFunctionMode

    class Fill(TorchFunctionMode):
        def __torch_function__(
            self,
            function: Callable[..., Any],
            types: Any,
            args: tuple[Any, ...] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:
            made = function(*args, **(kwargs or {}))
            if getattr(function, "__name__", "") in (
                "empty",
                "empty_strided",
                "new_empty",
                "empty_like",
            ):
                return made.normal_() if made.is_floating_point() else made.zero_()
            return made

    with Fill():
        yield
