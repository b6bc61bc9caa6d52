"""Activations that wait in the host's memory from the forward pass to the backward pass.

Source: torchtune's ``OffloadActivations`` (``training/_activation_offloading.py``), which TRL and
axolotl have taken over: tensors that autograd saves, but for parameters and small ones, are copied
to pinned memory on a stream of their own and fetched when the backward pass asks for them.
While they are copied the last five are held; what was fetched for one node of the graph is freed
when the next one begins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define("offload(Tensor activation) -> ()")
_LIBRARY.define("fetch(Tensor like, int[] size, int[] stride) -> Tensor")
_LIBRARY.impl("offload", lambda activation: None, "Meta")
_LIBRARY.impl("fetch", lambda like, size, stride: like.new_empty_strided(size, stride), "Meta")

#: ``max_fwd_stash_size`` in tensors.
HELD = 5
#: Tensors of fewer elements stay. The library's limit is 1,024 bytes, at the sizes of a run: of the
#: few tokens that are recorded, as many elements tell what grows with the batch.
FEW = 32


@dataclass(frozen=True)
class _Waiting:
    """What is known of a tensor that waits: how it is made again."""

    number: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    like: torch.Tensor  # no elements


@dataclass
class OffloadedActivations:
    """Use as ``with offloaded.hooks():`` around the forward pass. ``stays(tensor)``: it is left
    where it is; parameters are."""

    stays: Callable[[torch.Tensor], bool] = lambda tensor: False
    ended: bool = False
    _held: dict[int, torch.Tensor] = field(default_factory=dict)
    _fetched: dict[int, torch.Tensor] = field(default_factory=dict)
    _node: Any = None
    _count: int = 0

    @contextlib.contextmanager
    def hooks(self, heads: Iterable[torch.nn.Module]) -> Iterator[None]:
        """From where one of ``heads`` begins nothing is offloaded: what it and the loss save is
        wanted at once."""

        def end(*_: Any) -> None:
            self.ended = True

        hooks = [head.register_forward_pre_hook(end) for head in heads]
        try:
            with saved_tensors_hooks(self._pack, self._unpack):
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def end(self) -> None:
        """The step is over: nothing is held."""
        self._held.clear()
        self._fetched.clear()
        self._node = None

    def _pack(self, tensor: torch.Tensor) -> Any:
        if (
            self.ended
            or not tensor.is_meta
            or isinstance(tensor, torch.nn.Parameter)
            or self.stays(tensor)
        ):
            return tensor
        if tensor.numel() < FEW:
            return tensor
        self._count += 1
        number = self._count
        for earlier in [key for key in self._held if key <= number - HELD]:
            del self._held[earlier]
        torch.ops.planner.offload(tensor)
        self._held[number] = tensor
        return _Waiting(number, tuple(tensor.shape), tensor.stride(), tensor.new_empty(0))

    def _unpack(self, saved: Any) -> torch.Tensor:
        if not isinstance(saved, _Waiting):
            return saved
        node = torch._C._current_autograd_node()
        if node is not self._node:
            self._node = node
            self._fetched.clear()
        still = self._held.get(saved.number)
        if still is not None:
            if node is not None:
                node.register_hook(lambda *_: self._held.clear())
            return still
        found = torch.ops.planner.fetch(saved.like, list(saved.size), list(saved.stride))
        self._fetched[saved.number] = found
        return found
