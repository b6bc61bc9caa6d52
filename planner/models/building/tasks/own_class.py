"""Classes of transformers that no task of this program covers: fed after the names of their forward
pass's arguments, trained on their own loss where labels of a shape that they take are found."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from planner.datasets.constants import speech_rate_hz
from planner.errors import ModelError
from planner.libraries import import_library
from planner.models.building.tasks.base import Feed, TrainingTask
from planner.models.building.tasks.images import image_shape
from planner.models.building.tasks.sound import sound_of
from planner.models.constants import constant

SAID = (
    "fed after the names of its arguments; trained on its own loss where it takes labels of a "
    "usual shape, else on the mean square of what it returns; images of the usual crop and a "
    "second of sound where neither config nor question says"
)
#: Alternatives of a multiple choice.
_CHOICES = 4


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


def _arguments(kind: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(kind.forward).parameters


# ---- inputs


def _tokens(feed: Feed, b: int, s: int) -> Any:
    if "MultipleChoice" in type(feed.module).__name__:
        return feed.ids(b, _CHOICES, s)
    return feed.ids(b, s)


def _video(feed: Feed, b: int, _s: int) -> Any:
    frames = getattr(getattr(feed.config, "vision_config", feed.config), "num_frames", None)
    return feed.values(b, frames or int(constant("usual_frames")), *_image(feed))


def _pixels(feed: Feed, b: int, s: int) -> Any:
    """Videos under the name of images, where the class says so."""
    if "Video" in type(feed.module).__name__:
        return _video(feed, b, s)
    return feed.values(b, *_image(feed))


def _image(feed: Feed) -> tuple[int, int, int]:
    """As the config says, or that of its backbone; the usual crop where neither does."""
    for config in (feed.config, getattr(feed.config, "backbone_config", None)):
        try:
            return image_shape(replace(feed, config=config))
        except (ModelError, AttributeError):
            pass
    size = int(constant("usual_image_size"))
    return getattr(feed.config, "num_channels", 3), size, size


def _sound(feed: Feed, b: int, _s: int) -> Any:
    """A second of it where the question says no length."""
    return sound_of(replace(feed, audio_samples=feed.audio_samples or speech_rate_hz()), b)


_KNOWN: dict[str, Callable[[Feed, int, int], Any]] = {
    "input_ids": _tokens,
    "pixel_values": _pixels,
    "pixel_values_videos": _video,
    "input_values": _sound,
    "input_features": _sound,
}


def _inputs(feed: Feed, b: int, s: int | None) -> dict[str, Any]:
    """What the forward pass takes, of the arguments that are known by name."""
    names = _arguments(type(feed.module))
    given = _senses(feed, names, b, s or 0) | _more_tokens(feed, names, b, s or 0)
    unknown = {
        name
        for name, parameter in names.items()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and name not in ("self", *given)
    }
    if unknown or not given:
        raise ModelError(
            f"{type(feed.module).__name__} is fed with {', '.join(sorted(unknown)) or 'what'}, of "
            "which no shape is known here",
            where=feed.name,
            mend="Give a factory package.module:function",
        )
    return given


def _more_tokens(
    feed: Feed, names: Mapping[str, inspect.Parameter], b: int, s: int
) -> dict[str, Any]:
    """Token ids and masks under other names, where the class needs them."""
    needed = [n for n, p in names.items() if p.default is p.empty and n not in _KNOWN]
    ids = {name: feed.ids(b, s) for name in needed if name.endswith("input_ids")}
    return ids | {n: feed.mask(b, s) for n in needed if n.endswith("attention_mask")}


def _senses(feed: Feed, names: Mapping[str, inspect.Parameter], b: int, s: int) -> dict[str, Any]:
    """The known arguments; of those that may be left out, the ones that its config gives a size
    for."""
    main, given = getattr(feed.module, "main_input_name", None), {}
    for name, make in _KNOWN.items():
        if name not in names:
            continue
        try:
            given[name] = make(feed, b, s)
        except ModelError:
            if name == main or names[name].default is inspect.Parameter.empty:
                raise
    return given


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
    given = _inputs(feed, b, s)
    if feed.module not in _FOUND:
        _FOUND[feed.module] = _found(feed, given, b, s)
    number = _FOUND[feed.module]
    if number is None:
        return given
    return given | {"labels": list(_labels(feed, given, b, s))[number]}


def _found(feed: Feed, given: Mapping[str, Any], b: int, s: int | None) -> int | None:
    """Which labels the class makes a loss of, by trying; None where of none."""
    import torch

    if "labels" not in _arguments(type(feed.module)):
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


def _with_tokens(config: Any) -> TrainingTask | None:
    return TOKENS if "input_ids" in _arguments(class_named(config)) else None


PLAIN = TrainingTask(
    "custom",
    (),
    _batch,
    symbols=("B",),
    logits=_logits,
    loss=_loss,
    frozen=_said,
    variant=_with_tokens,
)
TOKENS = TrainingTask(
    "custom", (), _batch, symbols=("B", "S"), logits=_logits, loss=_loss, frozen=_said
)
TASKS = (PLAIN,)
