"""How a user's own module is fed and judged, by what it says itself.

The batch: a method ``example_batch(B)`` (or ``(B, S)``, ``(B, S, T)``), else an attribute
``example_input_array`` as Lightning's modules have, whose first size is the batch. The loss: a
method ``training_step(batch, batch_idx)`` of Lightning's, a method ``loss(batch)`` or
``loss(output, batch)``, else what the forward pass returns.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from planner.errors import ModelError

if TYPE_CHECKING:
    import torch

#: The key of a batch that is no mapping.
WHOLE = "whole_batch"


def own_parts(module: Any, name: str) -> tuple[Callable[..., Any], Callable[[Any, Any], Any]]:
    """(batch, loss) of a module that has them. Raises ModelError where it does not say how it is
    fed."""
    return _own_batch(module, name), _own_loss(module)


def _own_batch(module: Any, name: str) -> Callable[..., Any]:
    if callable(getattr(module, "example_batch", None)):
        return cast("Callable[..., Any]", module.example_batch)
    example = getattr(module, "example_input_array", None)
    if example is None:
        raise ModelError(
            f"{type(module).__name__} does not say how it is fed",
            where=name,
            mend="Give it a method example_batch(B), which returns what its forward pass takes, or "
            "return (module, batch, loss)",
        )

    def batch(B: int) -> Any:  # noqa: N803  (the symbol's name)
        from torch.utils._pytree import tree_map

        return tree_map(lambda value: _of_size(value, B), as_tree(example))

    return batch


def _of_size(value: Any, samples: int) -> Any:
    import torch

    if not isinstance(value, torch.Tensor) or not value.dim():
        return value
    return torch.empty((samples, *value.shape[1:]), dtype=value.dtype)


def _own_loss(module: Any) -> Callable[[Any, Any], Any]:
    step = getattr(module, "training_step", None)
    if callable(step):
        return lambda model, batch: _step(model, batch)
    if callable(getattr(module, "loss", None)):
        return _by_method
    return lambda model, batch: call(model, batch)


def _step(model: Any, batch: Any) -> Any:
    """Lightning's. A module outside of a Trainer cannot log: its calls are taken as done."""
    owner = model
    while not hasattr(type(owner), "training_step") and hasattr(owner, "get_base_model"):
        owner = owner.get_base_model()  # a wrapped one (PEFT's)
    for logging in ("log", "log_dict"):
        if callable(getattr(owner, logging, None)):
            object.__setattr__(owner, logging, lambda *_args, **_kwargs: None)
    takes = inspect.signature(owner.training_step).parameters
    return owner.training_step(batch, 0) if len(takes) > 1 else owner.training_step(batch)


def _by_method(model: Any, batch: Any) -> Any:
    if len(inspect.signature(model.loss).parameters) == 1:
        return model.loss(batch)
    return model.loss(call(model, batch), batch)


def call(model: Any, batch: Any, without: tuple[str, ...] = ()) -> Any:
    """The forward pass: a mapping's entries by the names that the module takes, where it has all
    that are needed; a tuple's parts in order; anything else as one argument."""
    if isinstance(batch, Mapping):
        named = _by_name(model, batch, without)
        return model(batch) if named is None else model(**named)
    if isinstance(batch, (tuple, list)) and not _is_named(batch):
        return model(*batch[: _positional(model, len(batch))])
    return model(batch)


def _parameters(model: Any) -> list[inspect.Parameter]:
    """Of the module's own forward pass, under wrappers (PEFT's)."""
    owner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return list(inspect.signature(owner.forward).parameters.values())


def _by_name(
    model: Any, batch: Mapping[str, Any], without: tuple[str, ...]
) -> dict[str, Any] | None:
    """The arguments by name; None where the batch lacks one that the module needs."""
    parameters = _parameters(model)
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    needed = {p.name for p in named if p.default is p.empty}
    if not needed - set(without) <= set(batch):
        return None
    everything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    taken = set(batch) if everything else {p.name for p in named}
    left_out = set(without) - needed
    return {name: v for name, v in batch.items() if name in taken and name not in left_out}


def _positional(model: Any, given: int) -> int:
    """How many of a tuple's parts the forward pass takes: (inputs, labels) of a data loader may
    feed a module that takes the inputs."""
    parameters = _parameters(model)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return given
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return min(given, len(places))


def _is_named(value: Any) -> bool:
    return hasattr(value, "_fields")


def whole(batch: Mapping[str, Any]) -> Any:
    """What the user's batch function returned."""
    return batch[WHOLE] if set(batch) == {WHOLE} else batch


def as_tree(value: Any) -> Any:
    """Mappings as dictionaries, so that torch's trees know them; the user's dataclasses are
    registered as such trees. Other containers stay."""
    if isinstance(value, Mapping):
        return {name: as_tree(part) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [as_tree(part) for part in value]
        return type(value)(*parts) if _is_named(value) else type(value)(parts)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        _register(type(value))
    return value


def _register(kind: type) -> None:
    from torch.utils import _pytree as trees

    if kind in trees.SUPPORTED_NODES:
        return
    names = [field.name for field in dataclasses.fields(kind)]
    trees.register_pytree_node(
        kind,
        lambda value: ([getattr(value, name) for name in names], None),
        lambda parts, _context: kind(**dict(zip(names, parts, strict=True))),
    )


def scalar_loss(found: Any, name: str) -> torch.Tensor:
    """The scalar in what a step returned: itself, an attribute or entry ``loss``, the first part of
    a tuple, or the sum of a dictionary of losses. Raises ModelError where there is none."""
    import torch

    value = found
    if isinstance(found, Mapping):
        value = found["loss"] if "loss" in found else _sum(found)
    elif not isinstance(found, torch.Tensor) and getattr(found, "loss", None) is not None:
        value = found.loss
    elif isinstance(found, (tuple, list)) and found:
        value = found[0]
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return value.reshape(())
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else ""
    raise ModelError(
        f"its step returns no scalar loss but {type(value).__name__}{shape}",
        where=name,
        mend="Return the loss, a dictionary or an object with 'loss', or a tuple that begins with "
        "it; a method loss(output, batch) may make it of the outputs",
    )


def _sum(losses: Mapping[str, Any]) -> Any:
    """Of a dictionary of scalars, as torchvision's detectors return."""
    import torch

    parts = [v for v in losses.values() if isinstance(v, torch.Tensor) and v.numel() == 1]
    return sum(parts) if parts and len(parts) == len(losses) else losses


def output_of(found: Any) -> Any:
    """What a distillation compares: the logits, or the first tensor."""
    import torch

    if isinstance(found, torch.Tensor):
        return found
    for name in ("logits", "output", "prediction"):
        value = found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)
        if isinstance(value, torch.Tensor):
            return value
    parts = found.values() if isinstance(found, Mapping) else found
    return next((part for part in parts if isinstance(part, torch.Tensor)), found)
