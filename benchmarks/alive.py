"""The bytes that are alive while real operations run, as they are or as CUDA's allocator rounds
them."""

from __future__ import annotations

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from planner.memory.allocator import MIN_BLOCK


def rounded(size: int) -> int:
    """In bytes; nothing is nothing."""
    return -(-size // MIN_BLOCK) * MIN_BLOCK


class Alive(TorchDispatchMode):
    """The most bytes of tensors that were born inside and are alive at once; what single operations
    allocate within themselves is not seen. ``rounds``: as the allocator does."""

    def __init__(self, *, rounds: bool = False) -> None:
        super().__init__()
        self._rounds = rounds
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor, born=False)
        if func is torch.ops.aten.scatter_add.default:  # in place where no mode looks on
            func = torch.ops.aten.scatter_add_.default  # (FunctionsManual.cpp: gather_backward)
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor, born=True)
        self.peak = max(self.peak, self.now)
        return out

    def _see(self, tensor: torch.Tensor, *, born: bool) -> None:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._known:
            return
        size = storage.nbytes() if born else 0
        size = rounded(size) if self._rounds else size
        self.now += size
        self._known[address] = weakref.ref(storage, lambda _, a=address, s=size: self._died(a, s))

    def _died(self, address: int, size: int) -> None:
        self._known.pop(address, None)
        self.now -= size
