"""What an operation answers on meta, remembered by what it was asked with. Many of torch's meta
kernels are Python references that take milliseconds; the sizes they answer follow from the sizes
they are given, and a model asks for the same ones block after block.

Only operations that return fresh tensors are remembered: none that returns a view, writes in place
or answers something else than tensors.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch

#: A compiler's kernel: what it does is told by no argument.
UNNAMED = "planner::fused"

#: Answers that are kept; then all are forgotten.
MOST = 100_000
_PLAIN_TENSORS = (torch.Tensor, torch.nn.Parameter)
_PLAIN_VALUES = (int, float, bool, str, type(None), torch.dtype, torch.layout, torch.device)
_PLAIN_VALUES += (torch.memory_format,)


class _Unknown(Exception):
    """An argument that is not described by a few plain values."""


class Remembered:
    """Of one process: answers do not depend on the model."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, Any] = {}
        self._fresh: dict[Any, bool] = {}

    def run(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """``func(*args, **kwargs)``, or an answer like the one it gave before. Where another mode
        waits below this one, it is asked each time."""
        if not self._returns_fresh(func) or torch._C._len_torch_dispatch_stack():
            return func(*args, **kwargs)
        try:
            # what is made of no tensor is of the default type
            key = (
                func,
                torch.get_default_dtype(),
                _described(args),
                _described((*kwargs.items(),)),
            )
        except _Unknown:
            return func(*args, **kwargs)
        told = self._answers.get(key)
        if told is None:
            out = func(*args, **kwargs)
            self._keep(func, key, args, kwargs, out)
            return out
        return _made(told)

    def _returns_fresh(self, func: Any) -> bool:
        fresh = self._fresh.get(func)
        if fresh is None:
            schema = func._schema
            named = not schema.is_mutable and schema.name != UNNAMED
            fresh = self._fresh[func] = named and all(
                returned.alias_info is None for returned in schema.returns
            )
        return fresh

    def _keep(self, func: Any, key: Hashable, args: tuple, kwargs: dict, out: Any) -> None:
        given = {t.untyped_storage()._cdata for t in _tensors((args, tuple(kwargs.values())))}
        made = [t.untyped_storage()._cdata for t in _tensors((out,))]
        if given.intersection(made) or len(set(made)) < len(made):
            self._fresh[func] = False  # it says nothing of it, yet what it returns is a view
            return
        told = _told(out)
        if told is None:
            return
        if len(self._answers) >= MOST:
            self._answers.clear()
        self._answers[key] = told


def _described(values: tuple | list) -> Hashable:
    """Raises _Unknown."""
    return tuple([_described_one(value) for value in values])


def _described_one(value: Any) -> Hashable:
    kind = type(value)
    if kind in _PLAIN_TENSORS:
        if not value.is_meta or value.is_complex():
            raise _Unknown
        return (value.shape, value.stride(), value.dtype)
    if kind in _PLAIN_VALUES:
        # 1, 1.0 and True are equal, and promote types each in its own way
        return (kind, value)
    if kind in (list, tuple, torch.Size):
        return _described(value)
    raise _Unknown


def _told(out: Any) -> Any:
    """(kind, the tensors' descriptions), None where the answer is something else than tensors that
    fill their own storages."""
    kind = type(out)
    parts = out if kind in (list, tuple) else (out,)
    told = []
    for part in parts:
        if part is None:
            told.append(None)
            continue
        if type(part) is not torch.Tensor or not part.is_meta or part.is_complex():
            return None
        shape, stride, dtype = tuple(part.shape), part.stride(), part.dtype
        other = torch.empty_strided(shape, stride, dtype=dtype, device="meta")
        size = part.untyped_storage().nbytes()
        if part.storage_offset() or size != other.untyped_storage().nbytes():
            return None
        told.append((shape, stride, dtype))
    return kind, tuple(told)


def _made(told: Any) -> Any:
    kind, descriptions = told
    parts = [
        None if d is None else torch.empty_strided(d[0], d[1], dtype=d[2], device="meta")
        for d in descriptions
    ]
    return kind(parts) if kind in (list, tuple) else parts[0]


def _tensors(values: Any) -> list[torch.Tensor]:
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _tensors(value)
    return found


REMEMBERED = Remembered()
