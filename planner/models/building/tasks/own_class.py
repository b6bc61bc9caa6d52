"""Classes of transformers that no task of this program covers: fed after the names of their forward
pass's arguments, trained on their own loss where labels of a shape that they take are found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from planner.errors import ModelError
from planner.libraries import import_library
from planner.models.building.tasks.base import Feed, TrainingTask
from planner.models.building.tasks.own_inputs import arguments, inputs, left_out

SAID = (
    "fed after the names of its arguments; trained on its own loss where it takes labels of a "
    "usual shape, else on the mean square of what it returns; images of the usual crop, a second "
    "of sound and texts of a CLIP tower's length where neither config nor question says"
)


def class_named(config: Any) -> Any:
    """The library's class that a config names. Raises ModelError where it has none."""
    name = (getattr(config, "architectures", None) or [""])[0]
    found = getattr(import_library("transformers", f"the class {name}"), name, None)
    if found is None:
        raise ModelError(
            f"the installed transformers has no class {name or 'for it'}",
            mend="Give a factory package.module:function",
        )
    return found


# ---- labels


_FOUND: WeakKeyDictionary[Any, int | None] = WeakKeyDictionary()


def _labels(feed: Feed, given: Mapping[str, Any], b: int, s: int | None) -> Iterator[Any]:
    """Labels of the usual shapes: a class a sample, a token, a pixel; a number a pixel, a sample, a
    sample and class."""
    yield feed.ids(b)
    yield feed.ids(b, s or 1)
    pixels = given.get("pixel_values")
    size = tuple(pixels.shape[-2:]) if pixels is not None and pixels.dim() == 4 else (1, 1)
    yield feed.ids(b, *size)
    yield feed.values(b, *size)
    yield feed.values(b, 3, *size)
    yield feed.values(b)
    yield feed.values(b, getattr(feed.config, "num_labels", 1) or 1)


def _batch(feed: Feed, b: int, s: int | None, _t: int | None) -> dict[str, Any]:
    takes = "labels" in arguments(type(feed.module))
    given = inputs(feed, b, s, {"labels": feed.ids(b, s or 1)} if takes else {})
    if feed.module not in _FOUND:
        _FOUND[feed.module] = _found(feed, given, b, s)
    number = _FOUND[feed.module]
    if number is None:
        return given
    return given | {"labels": list(_labels(feed, given, b, s))[number]}


def _found(feed: Feed, given: Mapping[str, Any], b: int, s: int | None) -> int | None:
    """Which labels the class makes a loss of, by trying; None where of none."""
    import torch

    if "labels" not in arguments(type(feed.module)):
        return None
    for number, labels in enumerate(_labels(feed, given, b, s)):
        try:
            with torch.no_grad():
                loss = getattr(feed.module(**given, labels=labels), "loss", None)
        except Exception:  # the library's own refusal of labels of another shape
            continue
        if isinstance(loss, torch.Tensor) and loss.numel() == 1:
            return number
    return None


def _loss(module: Any, batch: Mapping[str, Any]) -> Any:
    out = module(**batch)
    if "labels" in batch:
        return out.loss.reshape(())
    parts = [part.float().square().mean() for part in _floats(out)]
    if not parts:
        raise ModelError(f"{type(module).__name__} returns nothing that a loss could be made of")
    return sum(parts)


def _floats(out: Any) -> Iterator[Any]:
    import torch

    if isinstance(out, torch.Tensor):
        if out.is_floating_point() and out.requires_grad:
            yield out
        return
    values = out.values() if isinstance(out, Mapping) else out
    for value in values if isinstance(values, (list, tuple)) or hasattr(values, "mapping") else ():
        yield from _floats(value)


def _logits(module: Any, batch: Mapping[str, Any]) -> Any:
    out = module(**{name: value for name, value in batch.items() if name != "labels"})
    found = getattr(out, "logits", None)
    return found if found is not None else next(_floats(out))


def _said(_module: Any, _config: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    return frozenset(), (SAID,)


def _fed(feed: Feed) -> tuple[str, ...]:
    """The arguments by name, and those that no shape was found for."""
    given = _batch(feed, _TRIED_BATCH, _TRIED_LENGTH, None)
    without = left_out(feed, given)
    text = f"it is fed with {', '.join(given)}"
    return (text + (f"; {', '.join(without)} left out" if without else ""),)


def _with_tokens(config: Any) -> TrainingTask | None:
    return TOKENS if "input_ids" in arguments(class_named(config)) else None


#: Samples and tokens that shapes are tried with.
_TRIED_BATCH, _TRIED_LENGTH = 2, 48
PLAIN = TrainingTask(
    "custom",
    (),
    _batch,
    symbols=("B",),
    logits=_logits,
    loss=_loss,
    frozen=_said,
    fed=_fed,
    variant=_with_tokens,
)
TOKENS = TrainingTask(
    "custom", (), _batch, symbols=("B", "S"), logits=_logits, loss=_loss, frozen=_said, fed=_fed
)
TASKS = (PLAIN,)
