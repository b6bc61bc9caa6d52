"""Which parts of a model are compiled: its blocks, and the loss over a vocabulary.

The whole model of a trainer's ``torch_compile`` and each block on its own (torchtune) keep nearly
the same values: what a block reads and what its products write. Between blocks nothing is fused
here.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import torch

from planner.models.building.built import BuiltModel
from planner.trace.recorder.repeat.stacks import Stack

if TYPE_CHECKING:
    from planner.trace.recorder.compiled.regions import Regions


def compiled(built: BuiltModel, stacks: list[Stack]) -> Regions:
    """Torch's compiler is imported here."""
    from planner.trace.recorder.compiled.regions import Regions

    regions, keys = Regions(), _keys(stacks)
    outer = [block for stack in stacks if not stack.inner for block in stack.blocks]
    for block in dict.fromkeys([*outer, *built.blocks]):
        if not _holds_another(block, outer):
            regions.wrap(block, keys.get(id(block), id(block)))
    # adapters hand on what they wrap
    model: Any = getattr(built.module, "get_base_model", lambda: built.module)()
    loss: Any = getattr(model, "loss_function", None)
    if callable(loss):
        model.loss_function = _Loss(regions, loss)
    return regions


def _keys(stacks: list[Stack]) -> dict[int, Hashable]:
    """The same for blocks that are equal."""
    found: dict[int, Hashable] = {}
    for stack in stacks:
        for run in stack.runs:
            for number in range(run.units):
                for place, block in enumerate(run.unit(number)):
                    found[id(stack.blocks[block])] = (id(stack), run.first, place)
    return found


def _holds_another(block: torch.nn.Module, others: list[torch.nn.Module]) -> bool:
    """Whether one of the others is a part of it."""
    ids = {id(other) for other in others}
    return any(part is not block and id(part) in ids for part in block.modules())


class _Loss:
    """The loss as a part of its own; one that makes its own products compiles what it calls."""

    def __init__(self, regions: Regions, own: Any):
        self.regions, self.own = regions, own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        by_chunk = getattr(self.own, "in_parts", None)
        if by_chunk is not None:
            return by_chunk(self._part)(*args, **kwargs)
        return self._part(self.own, *args, **kwargs)

    def _part(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        def call(_values: dict, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return self.regions.call(("loss", function), call, {}, args, kwargs)
