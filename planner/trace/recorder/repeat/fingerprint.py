"""What makes two blocks of a stack the same work: classes, plain attributes, parameters and buffers
of all their parts. Two blocks with equal fingerprints run the same operations on the same input.

An attribute may differ that is the block's own number (``layer_idx``), told by its values: they go
up by one from block to block through the whole stack.
"""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from functools import partial
from typing import Any

import torch

#: Attributes of every module, which are looked at by themselves or say nothing of its work.
_COMMON = frozenset(vars(torch.nn.Module())) | {"_non_persistent_buffers_set"}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
#: Values that are compared as they are.
_PLAIN = (bool, int, float, complex, bytes, type, torch.dtype, torch.device, torch.layout)
#: How deep objects inside of attributes are looked at.
DEPTH = 3
INDEX = "a block's own number"


def fingerprints(
    stack: Mapping[str, torch.nn.Module], per_block: list[list], shared: set[int]
) -> list:
    """One a block, equal where the blocks are. ``stack``: the blocks by their names (``layers.3``),
    ``per_block``:
    lists with an entry a block (of a config, say); ``shared``: ids of modules and tensors that lie
    at several places."""
    readers = [_Reader(name, shared) for name in stack]
    described = [r.block(block) for r, block in zip(readers, stack.values(), strict=True)]
    for number, values in enumerate(per_block):
        for block, reader, value in zip(described, readers, values, strict=True):
            block["", "per block", number] = reader.plain(value)
    _forget_numbers(described)
    return [tuple(block.items()) for block in described]


def _forget_numbers(described: list[dict]) -> None:
    """Attributes that count the blocks: in each that has one, its position and a constant."""
    seen: dict[Hashable, list[tuple[int, Any]]] = {}
    for position, block in enumerate(described):
        for key, value in block.items():
            seen.setdefault(key, []).append((position, value))
    for key, values in seen.items():
        if len(values) > 1 and all(type(value) is int for _, value in values):
            if len({value - position for position, value in values}) == 1:
                for position, _ in values:
                    described[position][key] = INDEX


class _Reader:
    """Reads one block. Where a text holds the block's name, as the names of its parts do (PEFT's
    ``target_name``), the name does not count."""

    def __init__(self, name: str, shared: set[int]):
        self.shared = shared
        self._inside, self._last = f".{name}.", f".{name}"
        self._first = name + "."

    def block(self, block: torch.nn.Module) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = {}
        for path, part in block.named_modules(remove_duplicate=False):
            found[path, "class"] = type(part)
            if id(part) in self.shared:
                found[path, "shared"] = id(part)
            for name, value in vars(part).items():
                if name not in _COMMON:
                    found[path, name] = self.plain(value)
            for name in _HOOKS:
                if hooks := getattr(part, name):
                    found[path, name] = tuple(self.plain(hook) for hook in hooks.values())
            for name, tensor in (*part._parameters.items(), *part._buffers.items()):
                found[path, name, "tensor"] = self._tensor(tensor)
            found[path, "order"] = (tuple(part._parameters), tuple(part._buffers))
            found[path, "training"] = part.training
        return found

    def _tensor(self, tensor: torch.Tensor | None) -> Any:
        if tensor is None:
            return None
        own = (type(tensor), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)
        return (*own, tensor.requires_grad, id(tensor) if id(tensor) in self.shared else None)

    def plain(self, value: Any, depth: int = DEPTH) -> Hashable:
        """Equal for equal attributes; what is not understood is equal to itself alone."""
        if value is None or isinstance(value, _PLAIN):
            return value
        if isinstance(value, str):
            if value.startswith(self._first):
                value = "." + value
            return value.replace(self._inside, ".#.").removesuffix(self._last)
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, torch.nn.Module):
            return ("module", type(value), id(value) if id(value) in self.shared else None)
        if isinstance(value, (list, tuple, set, frozenset, dict)):
            return self._collection(value, depth)
        if isinstance(value, (partial, types.MethodType, types.FunctionType)):
            return self._function(value, depth)
        return self._object(value, depth)

    def _collection(self, values: Any, depth: int) -> Hashable:
        if isinstance(values, dict):
            return (dict, *((self.plain(k), self.plain(v, depth)) for k, v in values.items()))
        kept = (self.plain(value, depth) for value in values)
        return (type(values), frozenset(kept) if isinstance(values, (set, frozenset)) else (*kept,))

    def _function(self, function: Any, depth: int) -> Hashable:
        if isinstance(function, partial):
            given = (*function.args, function.keywords)
            return (partial, self.plain(function.func, depth), *(self.plain(v) for v in given))
        if isinstance(function, types.MethodType):
            # a block's own method, or one that an object shared by all lends to it
            return (types.MethodType, self.plain(function.__func__, depth))
        cells = (function.__closure__ or ()) if depth else ()
        inside = (self.plain(cell.cell_contents, depth - 1) for cell in cells)
        defaults = (function.__defaults__, function.__kwdefaults__)
        given = (self.plain(value, depth - 1) for value in defaults) if depth else ()
        return (types.FunctionType, function.__code__, *inside, *given)

    def _object(self, value: Any, depth: int) -> Hashable:
        own = getattr(value, "__dict__", None)
        if own is None or depth == 0 or hasattr(value, "to_dict"):
            return ("object", type(value), id(value))
        return (type(value), *((k, self.plain(v, depth - 1)) for k, v in sorted(own.items())))


def shared_parts(roots: Iterable[torch.nn.Module]) -> set[int]:
    """Ids of modules and tensors that can be reached in more than one way."""
    ways: Counter[int] = Counter()
    for root in roots:
        for part in root.modules():
            ways.update(id(child) for child in part._modules.values() if child is not None)
            ways.update(id(p) for p in part._parameters.values() if p is not None)
            ways.update(id(b) for b in part._buffers.values() if b is not None)
    return {number for number, count in ways.items() if count > 1}
