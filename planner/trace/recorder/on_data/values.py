"""Values beside meta tensors, for models whose own code asks its data (``.item()``, ``nonzero``, a
boolean index): the same step is really run on the processor beside the one that is recorded.

A meta tensor's values lie in a twin of its storage, so that views and writes in place agree. Each
operation runs twice: on meta, as it is recorded, and on the twins. What has no kernel on a
processor has no values from there on. What meta cannot run for want of values takes the shape that
the twins give. A batch is one made-up sample repeated, and dropout keeps all, so that sizes that
follow from the data grow with the batch alone.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from planner.blame import owner_of_file

UNKNOWN = object()
_SEED = 0


class Values(TorchDispatchMode):
    """Enter it outside the recorder. ``asked``: what was asked of the data, with its place in the
    model's code, in order. ``on_answer`` is told where the host waits for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, None] = {}
        self.on_answer: Callable[[], None] = lambda: None
        self._twins: dict[int, torch.UntypedStorage] = {}
        self._refs: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        real = self._really(func, args, kwargs)
        try:
            out = func(*args, **kwargs)
        except (NotImplementedError, RuntimeError):
            if real is UNKNOWN:
                raise
            self.note(func._schema.name.partition("::")[2].lstrip("_"))
            self.on_answer()
            out = tree_map(_as_meta, real)
        if real is not UNKNOWN:
            self._keep(out, real)
        return out

    def of(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The values of a tensor, None where they are not known."""
        if not tensor.is_meta:
            return tensor.detach()
        twin = self._twins.get(tensor.untyped_storage()._cdata)
        if twin is None:
            return None
        empty = torch.empty(0, dtype=tensor.dtype)
        return empty.set_(twin, tensor.storage_offset(), tensor.shape, tensor.stride())

    def adopt(self, meta: Any, real: Any) -> None:
        """Give the tensors of a tree the values of those of an equal one."""
        leaves = zip(tree_leaves(meta), tree_leaves(real), strict=True)
        for one, other in leaves:
            if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
                self._keep(one, other.detach())

    def note(self, what: str) -> None:
        """``what`` was asked of the data, by the model's code that runs now."""
        place = place_of_model()
        self.asked[f"{what} ({place})" if place else what] = None

    def _really(self, func, args, kwargs) -> Any:
        """What ``func`` gives on the values; UNKNOWN where one is not known or it has no kernel."""
        try:
            given, named = tree_map(self._known, (args, kwargs))
            with torch._C.DisableTorchFunctionSubclass(), torch.random.fork_rng():
                torch.manual_seed(_SEED)
                return (_STAND_INS.get(str(func)) or func)(*given, **named)
        except Exception:  # whatever is wrong with it is told where the value is asked for
            return UNKNOWN

    def _known(self, value: Any) -> Any:
        if isinstance(value, torch.device):
            return torch.device("cpu") if value.type == "meta" else value
        if not isinstance(value, torch.Tensor):
            return value
        known = self.of(value)
        if known is None:
            raise LookupError("its values are not known")
        return known

    def _keep(self, out: Any, real: Any) -> None:
        leaves = zip(tree_leaves(out), tree_leaves(real))
        for meta, value in leaves:
            if isinstance(meta, torch.Tensor) and meta.is_meta and isinstance(value, torch.Tensor):
                self._keep_one(meta, value)

    def _keep_one(self, meta: torch.Tensor, value: torch.Tensor) -> None:
        storage = meta.untyped_storage()
        address = storage._cdata
        if address in self._twins or meta.shape != value.shape:
            return  # a view of, or written into, what is known
        self._twins[address] = torch.zeros(storage.nbytes(), dtype=torch.uint8).untyped_storage()
        self._refs[address] = weakref.ref(storage, lambda _ref, a=address: self._died(a))
        known = self.of(meta)
        if known is not None:
            known.copy_(value)

    def _died(self, address: int) -> None:
        self._twins.pop(address, None)
        self._refs.pop(address, None)


def _as_meta(value: Any) -> Any:
    return torch.empty_like(value, device="meta") if isinstance(value, torch.Tensor) else value


def place_of_model() -> str | None:
    """``net.py, line 12``: the innermost line of the model's code that is running."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith("<") and owner_of_file(file) == "model":
            return f"{Path(file).name}, line {frame.f_lineno}"
        frame = frame.f_back
    return None


# ---- the recorder's own operations, and dropout, on values


def _attention(q, k, v, mask, _dropout, causal):
    if k.shape[1] != q.shape[1]:
        times = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(times, 1), v.repeat_interleave(times, 1)
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, 0.0, causal)
    return out, q.new_zeros(q.shape[:3], dtype=torch.float32)


def _rms_norm(x, shape, weight):
    dims = tuple(range(-len(shape), 0))
    scale = x.float().square().mean(dims, keepdim=True).add(1e-6).rsqrt()
    out = (x.float() * scale).to(x.dtype)
    return (out * weight if weight is not None else out), scale


def _dropout(x, _probability, _train):
    return x.clone(), torch.ones_like(x, dtype=torch.bool)


_STAND_INS: dict[str, Callable[..., Any]] = {
    "planner.attention.default": _attention,
    "planner.flex_attention.default": lambda q, k, v, causal: _attention(
        q, k, v, None, 0.0, causal
    ),
    "planner.rms_norm.default": _rms_norm,
    "aten.native_dropout.default": _dropout,
}


# ---- a batch of one sample repeated


def repeated(make: Callable[..., Any], point: dict[str, int]) -> Any:
    """The batch of ``make(B, S, T)`` on the processor, every sample as the first."""
    size = point["B"]
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        one = make(1, point.get("S"), point.get("T"))
        all_of_them = make(size, point.get("S"), point.get("T"))
    return tree_map(lambda a, b: _repeat(a, b, size), one, all_of_them)


def _repeat(one: Any, whole: Any, times: int) -> Any:
    if not isinstance(one, torch.Tensor) or one.dim() != whole.dim():
        return whole
    counts = [times if n != m else 1 for n, m in zip(one.shape, whole.shape)]
    again = one.repeat(counts) if one.dim() else one
    return again if again.shape == whole.shape else whole
