"""Real tensors for the operands of a case: the layout that the trace recorded, and values that keep
the arithmetic sane.

Tensors that are only read lie in an arena of random numbers, larger than any last-level cache, that
is filled once: making and filling them anew for each of many buffers would take longer than the
measurement. Import this module only where torch is wanted.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch

from planner.operations.bench import Contents, Slot

_POOL_ELEMENTS = 1 << 18
#: Bytes of an arena on a processor and on other devices, and where tensors in it may begin, as
#: torch's CUDA allocator has it.
_ARENA_BYTES, _DEVICE_ARENA_BYTES, _ALIGNMENT_BYTES = 96 * 2**20, 192 * 2**20, 512
#: Rows of an attention mask start at multiples of this many elements
#: (``planner/trace/recorder/cuda_attention.py``).
_MASK_ALIGNMENT = 16


def dtype_of(name: str) -> torch.dtype:
    return getattr(torch, name)


def make(slot: Slot, contents: Contents, device: torch.device) -> torch.Tensor:
    """A tensor as the slot says, filled. Raises RuntimeError where memory does not suffice."""
    operand = slot.operand
    there = [1 if i in operand.expanded else n for i, n in enumerate(slot.shape)]

    def dense(*sizes: int) -> torch.Tensor:
        return _dense(sizes, dtype_of(operand.dtype), contents, device)

    view = _laid_out(slot, there, dense)
    return view.expand(slot.shape) if operand.expanded else view


def _laid_out(slot: Slot, shape: list[int], dense: Callable[..., torch.Tensor]) -> torch.Tensor:
    """A tensor of ``shape`` in the operand's layout, of dense storage."""
    layout, rank = slot.operand.layout, len(shape)
    if layout == "t" and rank >= 2:
        return dense(*shape[:-2], shape[-1], shape[-2]).transpose(-1, -2)
    if layout == "cl" and rank == 4:
        return dense(shape[0], shape[2], shape[3], shape[1]).permute(0, 3, 1, 2)
    if layout == "s" and rank and not slot.operand.expanded:
        return _strided(slot, shape, dense)
    return dense(*shape)


def _strided(slot: Slot, shape: list[int], dense: Callable[..., torch.Tensor]) -> torch.Tensor:
    """Strides that are none of the named layouts: heads before positions (B, S, H, D seen as B, H,
    S, D), else rows cut out of wider ones."""
    if slot.name == "mask":
        return dense(*shape[:-1], -(-(shape[-1] + 1) // _MASK_ALIGNMENT) * _MASK_ALIGNMENT)[
            ..., : shape[-1]
        ]
    if len(shape) == 4 and shape[1] > 1 and shape[2] > 1:
        view = dense(shape[0], shape[2], shape[1], shape[3]).transpose(1, 2)
        if not _is_named(view):
            return view
    if len(shape) == 1:
        return dense(2 * shape[0])[::2]
    return dense(*shape[:-1], 2 * shape[-1])[..., : shape[-1]]


def _is_named(tensor: torch.Tensor) -> bool:
    return (
        tensor.is_contiguous()
        or tensor.transpose(-1, -2).is_contiguous()
        or tensor.is_contiguous(memory_format=torch.channels_last)
    )


def _dense(
    sizes: tuple[int, ...], dtype: torch.dtype, contents: Contents, device: torch.device
) -> torch.Tensor:
    """A contiguous tensor with these contents: out of the arena where it is only read and its
    values are any."""
    number = math.prod(sizes)
    if not contents.written and contents.values in ("normal", "positive"):
        arena = _arena(str(device), dtype, contents.values)
        if number <= arena.flat.numel() // 4:
            return arena.take(number).view(sizes)
    tensor = torch.empty(sizes, dtype=dtype, device=device)
    _fill(tensor.view(-1), contents)
    return tensor


class _Arena:
    """Random numbers that tensors are cut out of in turn, from the start again where it ends."""

    def __init__(self, flat: torch.Tensor):
        self.flat, self.at = flat, 0

    def take(self, number: int) -> torch.Tensor:
        step = max(1, _ALIGNMENT_BYTES // self.flat.element_size())
        start = self.at if self.at + number <= self.flat.numel() else 0
        self.at = -(-(start + number) // step) * step
        return self.flat[start : start + number]


@functools.lru_cache(maxsize=16)
def _arena(device: str, dtype: torch.dtype, values: str) -> _Arena:
    size = _ARENA_BYTES if device == "cpu" else _DEVICE_ARENA_BYTES
    flat = torch.empty(
        size // torch.empty((), dtype=dtype).element_size(), dtype=dtype, device=device
    )
    _fill(flat, Contents(values))
    return _Arena(flat)


def _fill(flat: torch.Tensor, contents: Contents) -> None:
    if contents.values == "ones":
        flat.fill_(1)
    elif contents.values == "constant":
        flat.fill_(contents.high)
    elif contents.values == "integers" and not _narrow(flat.dtype):
        flat.random_(0, max(1, contents.high))
    else:
        _repeat(flat, _pool(str(flat.device), flat.dtype, contents.values))


def _narrow(dtype: torch.dtype) -> bool:
    """Types that any value suits: booleans, bytes, and floats."""
    return (
        dtype.is_floating_point
        or dtype.is_complex
        or dtype in (torch.bool, torch.uint8, torch.int8)
    )


def _repeat(flat: torch.Tensor, pool: torch.Tensor) -> None:
    whole = flat.numel() // pool.numel()
    cut = whole * pool.numel()
    if whole:
        flat[:cut].view(whole, pool.numel()).copy_(pool)
    flat[cut:].copy_(pool[: flat.numel() - cut])


@functools.lru_cache(maxsize=64)
def _pool(device: str, dtype: torch.dtype, values: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(11)
    numbers = torch.randn(_POOL_ELEMENTS, generator=generator)
    if values in ("positive", "large"):
        numbers = torch.rand(_POOL_ELEMENTS, generator=generator) + (
            0.5 if values == "positive" else 32.0
        )
    if dtype == torch.bool:
        return (numbers > 0).to(device)
    if not (dtype.is_floating_point or dtype.is_complex):
        return (1 + 6 * torch.rand(_POOL_ELEMENTS, generator=generator)).to(dtype).to(device)
    return numbers.to(dtype).to(device)
