"""A user's own model: ``package.module:function`` or ``package.module:Class``.

What is named is called without arguments. It returns ``(module, batch, loss)``, or an ``nn.Module``
that says itself how it is fed (``own_module.py``). ``batch(B)``, ``batch(B, S)`` or ``batch(B, S,
T)`` returns what the module takes: a mapping of tensors, or a tensor, a tuple, a dataclass, nested
as they come; its parameters say which sizes the batch has. ``loss(module, batch)`` returns a
scalar, or what holds one (``own_module.scalar_loss``). All of it runs under
``torch.device("meta")``, so that tensors and weights take no memory.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from planner.blame import raised_by_planner
from planner.errors import FieldName, ModelError
from planner.models.building.built import BuiltModel, largest_module_list
from planner.models.building.meta import on_device
from planner.models.building.own_module import (
    WHOLE,
    as_tree,
    call,
    output_of,
    own_parts,
    scalar_loss,
    whole,
)
from planner.models.building.real_batch import with_values
from planner.models.factory_source import make_importable
from planner.models.facts import ModelFacts

if TYPE_CHECKING:
    import torch

    BatchFunction = Callable[..., Any]
    LossFunction = Callable[[torch.nn.Module, Any], Any]


def build_factory(
    facts: ModelFacts,
    *,
    attention: str,
    dtype: torch.dtype,
    classes: int | None,
    image_size: int | None,
    audio_samples: int | None,
    task: str,
    channels_last: bool,
    device: str,
) -> BuiltModel:
    """See ``planner.models.building.build.build``; ``classes``, sizes and attention are the
    factory's own business."""
    make = _function(facts.architecture or facts.name)
    with on_device(device, dtype):
        made = _call(make, facts.name, classes, facts.arguments or {})
    module, batch, loss = _parts(made, facts.name)
    module = module.to(device=device, dtype=dtype)
    blocks = largest_module_list(module)
    return BuiltModel(
        module=module,
        facts=facts,
        task=task,
        symbols=_symbols(batch, facts.name),
        make_batch=_batch_maker(batch, dtype, device),
        loss_function=_loss_function(loss, facts.name),
        logits_function=_logits,
        head=_head(module),
        blocks=blocks,
        checkpoint=_checkpointing(blocks, facts.name),
    )


def _function(name: str) -> Callable[[], Any]:
    module_name, _, attribute = name.partition(":")
    make_importable()
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # the user's own module may raise anything while it is imported
        raise ModelError(
            f"cannot be imported: {type(error).__name__}: {error}", where=name
        ) from error
    if not callable(found):
        raise ModelError(f"{attribute!r} is not a function", where=name)
    return found


def _call(
    make: Callable[..., Any], name: str, classes: int | None, sizes: Mapping[str, Any]
) -> Any:
    """A factory with an argument ``classes`` gets the question's number; ``sizes``: those of its
    data, which it was seen to take."""
    try:
        takes = classes is not None and "classes" in inspect.signature(make).parameters
        return make(**sizes, **({"classes": classes} if takes else {}))
    except Exception as error:
        if raised_by_planner(error):
            raise
        raise ModelError(
            f"the factory failed: {type(error).__name__}: {error}",
            where=name,
            mend="It runs under torch.device('meta') and takes no arguments",
        ) from error


def _parts(made: Any, name: str) -> tuple[torch.nn.Module, BatchFunction, LossFunction]:
    import torch

    if isinstance(made, torch.nn.Module):
        return (made, *own_parts(made, name))
    if (
        isinstance(made, tuple)
        and len(made) == 3
        and isinstance(made[0], torch.nn.Module)
        and callable(made[1])
        and callable(made[2])
    ):
        module, batch, loss = made
        return module, cast("BatchFunction", batch), cast("LossFunction", loss)
    raise ModelError(
        "the factory must return (module, batch, loss), or a module with a method example_batch",
        where=name,
        mend="batch(B) or batch(B, S) returns a mapping of tensors, loss(module, batch) a "
        "scalar tensor",
    )


def _symbols(batch: BatchFunction, name: str) -> tuple[str, ...]:
    symbols = tuple(inspect.signature(batch).parameters)
    if symbols not in (("B",), ("B", "S"), ("B", "S", "T")):
        raise ModelError(
            f"the batch function takes {symbols}; it must take (B), (B, S) or (B, S, T)", where=name
        )
    return symbols


def _batch_maker(
    batch: BatchFunction, dtype: torch.dtype, device: str
) -> Callable[[int, int | None, int | None], dict[str, Any]]:
    """The user's batch, on the device and with floating tensors in the weights' dtype. What is no
    mapping stands under ``WHOLE``."""
    from torch.utils._pytree import tree_map

    def make(B: int, S: int | None, T: int | None) -> dict[str, Any]:
        given = [size for size in (B, S, T)][: len(inspect.signature(batch).parameters)]
        with on_device(device, dtype), with_values(device):
            made = batch(*given)
        placed = tree_map(lambda value: _placed(value, dtype, device), as_tree(made))
        return placed if isinstance(placed, dict) else {WHOLE: placed}

    return make


def _placed(value: Any, dtype: torch.dtype, device: str) -> Any:
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    return value.to(device=device, dtype=dtype if value.is_floating_point() else value.dtype)


def _loss_function(loss: LossFunction, name: str) -> LossFunction:
    return lambda module, batch: scalar_loss(loss(module, whole(batch)), name)


def _logits(module: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
    return output_of(call(module, whole(batch), without=("labels",)))


def _head(module: torch.nn.Module) -> tuple[str, ...]:
    """The last child that has parameters."""
    children = [
        name for name, child in module.named_children() if any(True for _ in child.parameters())
    ]
    return tuple(children[-1:])


def _checkpointing(blocks: list[torch.nn.Module], name: str) -> Callable[..., None]:
    def enable(**options: Any) -> None:
        from torch.utils.checkpoint import checkpoint

        if not blocks:
            raise ModelError(
                "no repeated blocks (an nn.ModuleList) to checkpoint",
                where=name,
                mend=f"Leave {FieldName('gradient_checkpointing')} out",
            )
        for block in blocks:
            forward = block.forward
            block.forward = lambda *args, forward=forward, **kwargs: checkpoint(
                forward, *args, use_reentrant=False, **options, **kwargs
            )

    return enable
