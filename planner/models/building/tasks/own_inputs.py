"""What a class of transformers is fed with, by the names of its forward pass's arguments: several
shapes of a name are tried without data, and the first that its code runs with is taken."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice, product
from typing import Any
from weakref import WeakKeyDictionary

from planner.datasets.constants import speech_rate_hz
from planner.errors import ModelError, PlannerError
from planner.models.building.tasks.base import Feed, config_parts
from planner.models.building.tasks.images import image_shape
from planner.models.building.tasks.own_sound import sounds
from planner.models.constants import constant

Inputs = dict[str, Any]
Shapes = dict[str, list[Any]]
Maker = Callable[[Feed, int, int], Any]
#: Alternatives of a multiple choice, numbers of a box, pictures of a pair.
_CHOICES, _CORNERS, _PAIR = 4, 4, 2
#: Combinations of shapes that are tried before a class is left as it is.
_MOST_TRIES = 64
#: Layers that read what is fed to a model: the dimension of their weights that is its channels.
_MOST_CHANNELS = 16


def arguments(kind: Any) -> Mapping[str, inspect.Parameter]:
    """Of the forward pass of a class."""
    return inspect.signature(kind.forward).parameters


# ---- shapes by name


def _tokens(feed: Feed, b: int, s: int) -> Iterator[Any]:
    """Ids of texts; of several alternatives each; of codebooks side by side."""
    if "MultipleChoice" in type(feed.module).__name__:
        yield feed.ids(b, _CHOICES, s)
    yield feed.ids(b, s)
    books = _anywhere(feed.config, "num_codebooks", "n_codebooks")
    if books:
        yield feed.ids(b * books, s)
        yield feed.ids(b, books, s)
        yield feed.ids(b, s, books)
        yield feed.ids(b, s, books + 1)  # the text beside them


def _video(feed: Feed, b: int, _s: int) -> Iterator[Any]:
    frames = _anywhere(feed.config, "num_frames") or int(constant("usual_frames"))
    yield feed.values(b, frames, *_image(feed))


def _pixels(feed: Feed, b: int, s: int) -> Iterator[Any]:
    """Images; videos under their name; pairs of images, and several of a sample."""
    shape = _image(feed)
    if "Video" in type(feed.module).__name__:
        yield from _video(feed, b, s)
    yield feed.values(b, *shape)
    yield feed.values(b, 1, *shape)
    yield feed.values(b, _PAIR, *shape)
    yield from _video(feed, b, s)


def _image(feed: Feed) -> tuple[int, int, int]:
    """As the config says, or that of its backbone; the usual crop where neither does. As many
    channels as its first convolution reads (an image with its trimap, say)."""
    read = _first_channels(feed.module)
    for config in (feed.config, getattr(feed.config, "backbone_config", None)):
        try:
            channels, height, width = image_shape(replace(feed, config=config))
            return read or channels, height, width
        except (ModelError, AttributeError):
            pass
    size = int(constant("usual_image_size"))
    return read or getattr(feed.config, "num_channels", 3), size, size


def _first_channels(module: Any) -> int | None:
    """What the first convolution over images reads, None where there is none."""
    import torch

    for part in module.modules():
        if isinstance(part, (torch.nn.Conv2d, torch.nn.Conv3d)):
            return part.in_channels if 1 < part.in_channels <= _MOST_CHANNELS else None
    return None


def _sound(feed: Feed, b: int, _s: int) -> Iterator[Any]:
    """A second of it where the question says no length."""
    return sounds(replace(feed, audio_samples=feed.audio_samples or speech_rate_hz()), b)


def _patches(feed: Feed, b: int, _s: int) -> Iterator[Any]:
    """Flat patches, each after its row and its column."""
    width = _anywhere(feed.config, "patch_embed_hidden_size")
    if width is None:
        raise ModelError("its config does not say how large its patches are", where=feed.name)
    yield feed.values(b, int(constant("usual_patches")), width + 2)


def _boxes(feed: Feed, b: int, s: int) -> Iterator[Any]:
    """One a token: whole numbers that index tables, or shares of the page."""
    yield feed.ids(b, s, _CORNERS)
    yield feed.values(b, s, _CORNERS)


def _task_texts(feed: Feed, b: int, _s: int) -> Iterator[Any]:
    yield feed.ids(b, getattr(feed.config, "task_seq_len", None) or int(constant("clip_tokens")))


def _actions(feed: Feed, b: int, _s: int) -> Iterator[Any]:
    """Of a robot: those of a chunk of moments."""
    moments, width = (_anywhere(feed.config, n) for n in ("chunk_size", "max_action_dim"))
    if moments and width:
        yield feed.values(b, moments, width)


_KNOWN: dict[str, Callable[[Feed, int, int], Iterator[Any]]] = {
    "input_ids": _tokens,
    "pixel_values": _pixels,
    "pixel_values_videos": _video,
    "input_values": _sound,
    "input_features": _sound,
    "flattened_patches": _patches,
}
#: Arguments that a class may do without, or not: given where it does not run as it is.
_BESIDE: dict[str, Callable[[Feed, int, int], Iterator[Any]]] = {
    "bbox": _boxes,
    "task_inputs": _task_texts,
    "actions": _actions,
    "decoder_input_ids": lambda feed, b, s: iter((feed.ids(b, s),)),
    "image_embeds_position_mask": lambda feed, b, s: iter((feed.mask(b, s),)),
    "image_attention_mask": lambda feed, b, s: iter((feed.mask(b, s, 1),)),
    "attention_mask": lambda feed, b, s: iter((feed.mask(b, s),)),
    "pixel_attention_mask": lambda feed, b, _s: iter((feed.mask(b, 1),)),
    "token_type_ids": lambda feed, b, s: iter((feed.ids(b, s),)),
}
#: Token ids and masks under other names, by how they end.
_ENDINGS: dict[str, Maker] = {
    "input_ids": lambda feed, b, s: feed.ids(b, s),
    "attention_mask": lambda feed, b, s: feed.mask(b, s),
}


def _anywhere(config: Any, *names: str) -> Any:
    """The first of the names that a config or one of its parts holds; None where none does."""
    found = (getattr(part, name, None) for part in config_parts(config) for name in names)
    return next((value for value in found if isinstance(value, int)), None)


# ---- which of them


def inputs(feed: Feed, b: int, s: int | None, ends: Mapping[str, Any]) -> Inputs:
    """The arguments that the class runs with, without labels. ``ends``: labels that stand in for
    a decoder's inputs where it makes those itself. Raises ModelError where one that it needs is
    not known."""
    length = s or int(constant("clip_tokens"))
    sets = _every(feed, b, length)
    if feed.module not in _CHOSEN:
        _CHOSEN[feed.module] = _first_that_runs(feed.module, sets, ends)
    return next(islice(_combined(sets), _CHOSEN[feed.module], None))


_CHOSEN: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


def _every(feed: Feed, b: int, s: int) -> list[Shapes]:
    """What is tried, in the same order at every size: sets of arguments, each with its shapes."""
    names = arguments(type(feed.module))
    needed = [name for name, p in names.items() if _is_needed(name, p)]
    shapes = _senses(feed, names, b, s)
    for name in needed:
        if name not in shapes:
            shapes |= _of_name(feed, name, b, s)
    unknown = [name for name in needed if name not in shapes]
    if unknown or not shapes:
        raise ModelError(
            f"{type(feed.module).__name__} is fed with {', '.join(sorted(unknown)) or 'what'}, of "
            "which no shape is known here",
            where=feed.name,
            mend="Give a factory package.module:function",
        )
    optional = {n: list(make(feed, b, s)) for n, make in _BESIDE.items() if n in names}
    beside = {name: values for name, values in optional.items() if values and name not in shapes}
    main = getattr(feed.module, "main_input_name", None) or ""
    senses = [name for name in shapes if name not in needed]
    senses.sort(key=lambda name: name not in main)
    return _sets(shapes, needed, senses, beside)


def _sets(shapes: Shapes, needed: list[str], senses: list[str], beside: Shapes) -> list[Shapes]:
    """All that is known, and one sense of several beside what is needed; then each of these with
    one of what may stand beside, then with all of it."""
    must = {name: shapes[name] for name in needed}
    few = [shapes, *(must | {name: shapes[name]} for name in senses if len(shapes) > 1)]
    more = [one | {name: values} for one in few for name, values in beside.items()]
    return [*few, *more, *(one | beside for one in few if beside)]


def left_out(feed: Feed, given: Mapping[str, Any]) -> tuple[str, ...]:
    """The arguments that are known by name and not given: what else the class could read."""
    return tuple(name for name in arguments(type(feed.module)) if name in {*_KNOWN} - {*given})


def _is_needed(name: str, parameter: inspect.Parameter) -> bool:
    return (
        parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and name != "self"
    )


def _combined(sets: list[dict[str, list[Any]]]) -> Iterator[Inputs]:
    for shapes in sets:
        for values in product(*shapes.values()):
            yield dict(zip(shapes, values))


def _of_name(feed: Feed, name: str, b: int, s: int) -> Shapes:
    """Of what is needed under another name; nothing where its shape is not known."""
    if name in _BESIDE:
        return {name: list(_BESIDE[name](feed, b, s))}
    make = next((make for ending, make in _ENDINGS.items() if name.endswith(ending)), None)
    if make:
        return {name: [make(feed, b, s)]}
    width = _anywhere(feed.config, f"max_{name}_dim", f"{name}_dim")  # a robot's state, say
    return {name: [feed.values(b, width)]} if width else {}


def _senses(feed: Feed, names: Mapping[str, Any], b: int, s: int) -> dict[str, list[Any]]:
    """The known arguments; of those that may be left out, the ones that its config gives a size
    for."""
    main, found = getattr(feed.module, "main_input_name", None), {}
    for name, make in _KNOWN.items():
        if name not in names:
            continue
        try:
            found[name] = list(make(feed, b, s))
        except ModelError:
            if name == main or names[name].default is inspect.Parameter.empty:
                raise
    return found


def _first_that_runs(module: Any, sets: list[Shapes], ends: Mapping[str, Any]) -> int:
    """Its number among all that may be tried: alone, else with labels beside, where the class makes
    a decoder's inputs of those. The first of all, whose own error is then told, where none runs."""
    for more in ({}, ends) if ends else ({},):
        found = _runs_with(module, sets, more)
        if found is not None:
            return found
    return 0


def _runs_with(module: Any, sets: list[Shapes], more: Mapping[str, Any]) -> int | None:
    """Of a set of arguments that no shape runs with, the first that only data stops, before a
    smaller set."""
    number = 0
    for shapes in sets:
        stopped: int | None = None
        for given in islice(_combined([shapes]), max(0, _MOST_TRIES - number)):
            error = runs(module, {**given, **more})
            if error is None:
                return number
            if stopped is None and _asks_data(error):
                stopped = number
            number += 1
        if stopped is not None:
            return stopped
    return None


def runs(module: Any, given: Mapping[str, Any]) -> Exception | None:
    """What a forward pass without data fails with, None where it runs."""
    import torch

    try:
        with torch.no_grad(), _masks_are_full():
            module(**given)
    except Exception as error:  # the library's own refusal of other shapes
        return error
    return None


def _masks_are_full() -> Any:
    """Inside, a condition on data that is not there is taken as False, but that all of it holds."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Full(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            if func is torch.Tensor.__bool__ and args[0].is_meta:
                return getattr(args[0], "_planner_whole", False)
            found = func(*args, **(kwargs or {}))
            if func in (torch.all, torch.Tensor.all):
                found._planner_whole = True
            return found

    return Full()


def _asks_data(error: Exception) -> bool:
    """Whether values are missing, not a shape: torch says so, or the recorder in its place."""
    return isinstance(error, (NotImplementedError, PlannerError)) or "meta" in str(error)
