"""What a strategy is: which parameters train, what is stored, how a step runs. One file a strategy;
the registry finds it.

The descriptive half needs no torch. ``apply`` gets a model built on meta and returns it ready to be
recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Prepared:
    """A model with the strategy applied.

    ``forward(batch)`` returns the scalar loss to differentiate (with gradients) or, where
    ``inference`` is true, runs the network without gradients and returns what is kept; with a
    ``teacher`` it also takes two functions, called where the teacher's pass begins and ends;
    where it ``has_passes`` these two, of passes without gradients, one that is called where the
    host waits for a figure, and one where a pass of a model ends.
    ``trainable`` are the parameters that the optimizer gets. ``total_parameters`` counts the base
    model once, 4-bit weights by their elements, adapters included (``adapter_parameters``).
    ``kept_wide_bytes``: weights that the loader of few bits leaves as they are,
    ``kept_stored_bytes`` as others store them. ``unmatched_targets``: names of adapters' places
    that the model does not have. ``saved``: what a checkpoint of adapters holds, None for what
    trains. ``after_update`` runs after the optimizer.
    """

    module: Any
    trainable: list
    forward: Callable[..., Any]
    batch: Callable[..., dict]
    total_parameters: int
    adapter_parameters: int = 0
    teacher: Any = None
    inference: bool = False
    has_passes: bool = False
    kept_wide_bytes: int = 0
    kept_stored_bytes: int = 0
    unmatched_targets: list[str] = field(default_factory=list)
    saved: list | None = None
    assumptions: list[str] = field(default_factory=list)
    after_update: Callable[[], None] | None = None


@dataclass(frozen=True)
class Strategy:
    """A row of the comparison. ``extra`` names the optional dependency that recording it needs, if
    any."""

    name: str
    title: str
    trains: str
    # (built: BuiltModel, recipe: Recipe, build: Callable) -> Prepared
    apply: Callable[..., Prepared]
    order: int
    uses_lora: bool = False
    four_bit: bool = False


def count(parameters) -> int:
    """Elements of distinct parameters (tied ones once)."""
    return sum(p.numel() for p in {id(p): p for p in parameters}.values())


def freeze(module) -> None:
    for parameter in module.parameters():
        parameter.requires_grad_(False)


def plain(built, trainable: list, **more) -> Prepared:
    """The usual step: forward with the task's loss, backward, optimizer."""
    return Prepared(
        module=built.module,
        trainable=trainable,
        forward=lambda batch: built.loss(built.module, batch),
        batch=built.batch,
        total_parameters=count(built.module.parameters()),
        after_update=built.after_update,
        **more,
    )
