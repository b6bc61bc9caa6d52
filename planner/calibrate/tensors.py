"""Real tensors for the operands of a case: the layout that the trace recorded, and values that keep the arithmetic sane.

Values are copied from a pool of random numbers that is drawn once: drawing them anew for each of many buffers would take
longer than the measurement. Import this module only where torch is wanted.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from planner.trace.table import Operand

_POOL_ELEMENTS = 1 << 18
#: Rows of an attention mask start at multiples of this many elements (``planner/trace/cuda_attention.py``).
_MASK_ALIGNMENT = 16


@dataclass(frozen=True)
class Slot:
    """A tensor argument that is still to be made: the schema's argument ``name``, the trace's operand, and its real shape."""

    name: str
    operand: Operand
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """What a tensor holds. ``kind``: ``normal``, ``positive`` (0.5 to 1.5), ``ones``, ``large`` (around 32, where the in-place
    activations of networks leave a value as it is), ``constant`` (``high``), or ``integers`` below ``high``."""

    kind: str = "normal"
    high: int = 8


def dtype_of(name: str) -> torch.dtype:
    return getattr(torch, name)


def make(slot: Slot, contents: Contents, device: torch.device) -> torch.Tensor:
    """A tensor as the slot says, filled. Raises RuntimeError where memory does not suffice."""
    operand = slot.operand
    there = [1 if i in operand.expanded else n for i, n in enumerate(slot.shape)]
    storage, view = _storage(slot, there, device)
    _fill(storage, contents)
    return view.expand(slot.shape) if operand.expanded else view


def _storage(slot: Slot, shape: list[int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(dense storage, tensor of ``shape`` in it) in the operand's layout."""
    layout, rank = slot.operand.layout, len(shape)

    def empty(*sizes: int) -> torch.Tensor:
        return torch.empty(sizes, dtype=dtype_of(slot.operand.dtype), device=device)

    if layout == "t" and rank >= 2:
        storage = empty(*shape[:-2], shape[-1], shape[-2])
        return storage, storage.transpose(-1, -2)
    if layout == "cl" and rank == 4:
        storage = empty(shape[0], shape[2], shape[3], shape[1])
        return storage, storage.permute(0, 3, 1, 2)
    if layout == "s" and rank and not slot.operand.expanded:
        return _strided(slot, shape, empty)
    storage = empty(*shape)
    return storage, storage


def _strided(slot: Slot, shape: list[int], empty) -> tuple[torch.Tensor, torch.Tensor]:
    """Strides that are none of the named layouts: heads before positions (B, S, H, D seen as B, H, S, D), else rows cut out of
    wider ones."""
    if slot.name == "mask":
        storage = empty(*shape[:-1], -(-(shape[-1] + 1) // _MASK_ALIGNMENT) * _MASK_ALIGNMENT)
        return storage, storage[..., : shape[-1]]
    if len(shape) == 4 and shape[1] > 1 and shape[2] > 1:
        storage = empty(shape[0], shape[2], shape[1], shape[3])
        view = storage.transpose(1, 2)
        if not _is_named(view):
            return storage, view
    if len(shape) == 1:
        storage = empty(2 * shape[0])
        return storage, storage[::2]
    storage = empty(*shape[:-1], 2 * shape[-1])
    return storage, storage[..., : shape[-1]]


def _is_named(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous() or tensor.transpose(-1, -2).is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)


def _fill(storage: torch.Tensor, contents: Contents) -> None:
    flat = storage.view(-1)
    if contents.kind == "ones":
        flat.fill_(1)
    elif contents.kind == "constant":
        flat.fill_(contents.high)
    elif contents.kind == "integers" and not _narrow(flat.dtype):
        flat.random_(0, max(1, contents.high))
    else:
        _repeat(flat, _pool(str(flat.device), flat.dtype, contents.kind))


def _narrow(dtype: torch.dtype) -> bool:
    """Types that any value suits: booleans, bytes, and floats."""
    return dtype.is_floating_point or dtype.is_complex or dtype in (torch.bool, torch.uint8, torch.int8)


def _repeat(flat: torch.Tensor, pool: torch.Tensor) -> None:
    whole = flat.numel() // pool.numel()
    cut = whole * pool.numel()
    if whole:
        flat[:cut].view(whole, pool.numel()).copy_(pool)
    flat[cut:].copy_(pool[: flat.numel() - cut])


@functools.lru_cache(maxsize=64)
def _pool(device: str, dtype: torch.dtype, kind: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(11)
    numbers = torch.randn(_POOL_ELEMENTS, generator=generator)
    if kind in ("positive", "large"):
        numbers = torch.rand(_POOL_ELEMENTS, generator=generator) + (0.5 if kind == "positive" else 32.0)
    if dtype == torch.bool:
        return (numbers > 0).to(device)
    if not (dtype.is_floating_point or dtype.is_complex):
        return (1 + 6 * torch.rand(_POOL_ELEMENTS, generator=generator)).to(dtype).to(device)
    return numbers.to(dtype).to(device)
