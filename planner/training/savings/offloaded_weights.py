"""Weights that lie in the host's memory, and come to the device for the block that is running.

Source: DeepSpeed's ZeRO-3 with ``offload_param`` (``deepspeed/runtime/zero/parameter_offload.py``)
and torch's FSDP with ``CPUOffload``, on one device: a block's weights are fetched before it runs
and dropped after it, in the forward pass and again in the backward pass, those of the next block
while it runs. What autograd saves of a weight is not kept, but fetched again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

# defines the operations
from planner.training.savings import offloading as _offloading  # noqa: F401


@dataclass(frozen=True)
class _Unit:
    """What is fetched together. ``in_stack``: a block among others, whose neighbour is fetched
    ahead."""

    module: torch.nn.Module
    weights: tuple[torch.nn.Parameter, ...]
    in_stack: bool


@dataclass(frozen=True)
class _Kept:
    """What is known of a view of a weight that autograd saves."""

    weight: torch.nn.Parameter
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


class OffloadedWeights:
    """Use as ``with weights.away():`` around a recording, and in it ``with weights.hooks():``
    around the forward pass."""

    def __init__(self, module: torch.nn.Module, blocks: Collection[int]):
        """``blocks``: ids of the modules that are fetched whole."""
        self.units = list(_units(module, blocks))
        self.backward = False
        #: Told of what was fetched.
        self.told: Callable[[list[torch.Tensor]], None] = lambda tensors: None
        self._full: dict[int, torch.Tensor] = {}
        self._where: dict[int, torch.nn.Parameter] = {}
        self._live: list[int] = []
        self._empty: dict[torch.dtype, torch.Tensor] = {}
        self._of = {id(w): n for n, unit in enumerate(self.units) for w in unit.weights}

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """From here on weights have no elements but where they are fetched."""
        hooks: list[Any] = []
        for number, unit in enumerate(self.units):
            for weight in unit.weights:
                if id(weight) not in self._full:
                    self._full[id(weight)] = weight.data
                    weight.data = self._nothing(weight)

            def use(*_: Any, number: int = number) -> None:
                self._use(number)

            def again(*_: Any, number: int = number) -> None:
                if self.backward:
                    self._use(number)

            def leave(*_: Any, number: int = number) -> None:
                if not self.backward:
                    self._drop(number)

            # a gradient is laid out as its weight, which has to be there
            hooks += [w.register_hook(use) for w in unit.weights if w.requires_grad]
            hooks.append(unit.module.register_forward_pre_hook(use))
            # what is recomputed may begin inside of a block
            parts = [m for m in unit.module.modules() if m is not unit.module]
            hooks += [m.register_forward_pre_hook(again) for m in parts if unit.in_stack]
            hooks.append(unit.module.register_forward_hook(leave, always_call=True))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            self.back()

    def back(self) -> None:
        """Weights are there as if nothing had been done: what follows sees them whole."""
        for number in list(self._live):
            self._drop(number)
        for unit in self.units:
            for weight in unit.weights:
                weight.data = self._full.get(id(weight), weight.data)
        self._full.clear()

    @contextlib.contextmanager
    def hooks(self) -> Iterator[None]:
        """Around the forward pass."""

        def packed(tensor: torch.Tensor) -> Any:
            weight = self._where.get(tensor.untyped_storage()._cdata) if tensor.is_meta else None
            if weight is None:
                return tensor
            size, stride = tuple(tensor.shape), tensor.stride()
            return _Kept(weight, size, stride, int(tensor.storage_offset()))

        def unpacked(saved: Any) -> torch.Tensor:
            if not isinstance(saved, _Kept):
                return saved
            self._use(self._of[id(saved.weight)])
            return saved.weight.data.as_strided(saved.size, saved.stride, saved.offset)

        with saved_tensors_hooks(packed, unpacked):
            yield

    def _nothing(self, weight: torch.nn.Parameter) -> torch.Tensor:
        """Of no elements, and the same for all."""
        if weight.dtype not in self._empty:
            self._empty[weight.dtype] = weight.data.new_empty(0)
        return self._empty[weight.dtype]

    def _use(self, number: int) -> None:
        """Fetch a unit, and the next one of its stack; in the backward pass all others go."""
        ahead = number + (-1 if self.backward else 1)
        stacked = [n for n in (number, ahead) if 0 <= n < len(self.units)]
        wanted = stacked if all(self.units[n].in_stack for n in stacked) else [number]
        if self.backward:
            for other in [n for n in self._live if n not in wanted]:
                self._drop(other)
        for one in wanted:
            self._fetch(one)

    def _fetch(self, number: int) -> None:
        if number in self._live or not self._full:
            return
        self._live.append(number)
        made: list[torch.Tensor] = []
        for weight in self.units[number].weights:
            if weight.data.numel():
                continue  # another unit that is there has it too
            full = self._full[id(weight)]
            with torch.no_grad():
                fetched = torch.ops.planner.fetch(weight.data, list(full.shape), full.stride())
            weight.data = fetched
            self._where[fetched.untyped_storage()._cdata] = weight
            made.append(fetched)
        self.told(made)

    def _drop(self, number: int) -> None:
        if number not in self._live:
            return
        self._live.remove(number)
        still = {id(w) for n in self._live for w in self.units[n].weights}
        for weight in self.units[number].weights:
            if id(weight) not in still:
                self._where.pop(weight.data.untyped_storage()._cdata, None)
                weight.data = self._nothing(weight)


def _units(module: torch.nn.Module, blocks: Collection[int]) -> Iterator[_Unit]:
    """Blocks whole, elsewhere each module with weights of its own."""
    if id(module) in blocks:
        yield _Unit(module, tuple(module.parameters()), True)
        return
    own = tuple(module.parameters(recurse=False))
    if own:
        yield _Unit(module, own, False)
    for child in module.children():
        yield from _units(child, blocks)
