"""Optimizers that are kernels of CUDA's: torch's fused one, bitsandbytes' of 8 and 32 bits, and
torchao's of few bits, which torch.compile makes. Here they keep the same state tensors and issue
one operation that stands for the kernel.

Sources: ``torch.optim`` (``fused=True``); Dettmers et al. 2022, "8-bit Optimizers via Block-wise
Quantization", arXiv 2110.02861, and ``bitsandbytes/optim/optimizer.py``; torchao's
``optim/adam.py`` and ``optim/subclass_{4bit,8bit,fp8}.py``.
"""

from __future__ import annotations

import torch

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define(
    "fused_optimizer(Tensor(a!)[] params, Tensor[] grads, Tensor(b!)[] states, str kind) -> ()"
)
_LIBRARY.define(
    "blockwise_optimizer(Tensor(a!) param, Tensor grad, Tensor(b!)[] states, str kind) -> ()"
)
_LIBRARY.define("unscale(Tensor(a!)[] grads) -> Tensor")
_LIBRARY.impl("fused_optimizer", lambda params, grads, states, kind: None, "Meta")
_LIBRARY.impl("blockwise_optimizer", lambda param, grad, states, kind: None, "Meta")
_LIBRARY.impl("unscale", lambda grads: grads[0].new_empty((1,), dtype=torch.float32), "Meta")

#: Both libraries quantise states in blocks of 256 values with one float32 scale each (torchao's 4
#: bits in blocks of 128), keep tensors below 4096 elements unquantised (``min_8bit_size``), and
#: have code books of as many float32 values as there are codes (``Optimizer2State``, ``get_qmap``).
BLOCK, MIN_8BIT_ELEMENTS, CODES = 256, 4096, 256
BLOCK_OF_4_BITS, CODES_OF_4_BITS = 128, 16
#: bitsandbytes keeps smaller tensors' states on the device even where others are paged.
MIN_PAGED_ELEMENTS = 1e5


class Fused(torch.optim.Optimizer):
    """One kernel over lists of tensors and no temporaries, as ``torch.optim.AdamW(fused=True)``."""

    def __init__(self, params, states: int, kind: str):
        super().__init__(params, {})
        self.states, self.kind = states, kind

    def step(self, closure=None):
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            for p in params:
                if not self.state[p]:
                    self.state[p] = {f"state{i}": torch.empty_like(p) for i in range(self.states)}
                    self.state[p]["step"] = torch.empty((), dtype=torch.float32, device=p.device)
            for dtype in {p.dtype for p in params}:
                chosen = [p for p in params if p.dtype == dtype]
                tensors = [t for p in chosen for t in self.state[p].values()]
                torch.ops.planner.fused_optimizer(
                    [p.data for p in chosen], [p.grad for p in chosen], tensors, self.kind
                )


class Blockwise(torch.optim.Optimizer):
    """bitsandbytes' 8-bit or 32-bit optimizers: a kernel for each tensor. ``paged`` states lie in
    host memory that the driver maps, so they count as none of the device's. ``first``: how many
    moments the first state holds in one tensor (two of AdEMAMix,
    ``ademamix.py: _get_state_double_buffer``)."""

    def __init__(self, params, states: int, kind: str, *, eight_bit: bool, paged: bool, first=1):
        super().__init__(params, {})
        self.states, self.kind, self.eight_bit, self.paged = states, kind, eight_bit, paged
        self.first = first
        self.code_books: list[torch.Tensor] = []

    def _shape(self, index: int, *sizes: int) -> tuple[int, ...]:
        return (self.first, *sizes) if index == 0 and self.first > 1 else sizes

    def _buffers(self, p: torch.Tensor, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        return {
            f"state{i}": torch.empty(self._shape(i, *p.shape), dtype=dtype, device=p.device)
            for i in range(self.states)
        }

    def state_of(self, p: torch.Tensor) -> dict[str, torch.Tensor]:
        """What is kept on the device for one tensor."""
        if not self.eight_bit or p.numel() < MIN_8BIT_ELEMENTS:
            state = self._buffers(p, torch.float32)
        else:
            if not self.code_books:
                self.code_books = [
                    torch.empty(CODES, dtype=torch.float32, device=p.device)
                    for _ in range(self.states)
                ]
            blocks = -(-p.numel() // BLOCK)
            state = self._buffers(p, torch.uint8)
            state |= {
                f"absmax{i}": torch.empty(self._shape(i, blocks), device=p.device)
                for i in range(self.states)
            }
        if self.paged:
            state = {
                name: t
                for name, t in state.items()
                if not name.startswith("state") or p.numel() < MIN_PAGED_ELEMENTS
            }
        return state

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p not in self.state or not self.state[p]:
                    self.state[p] = self.state_of(p) or {"none": torch.empty(0, device=p.device)}
                update_blockwise(p.data, p.grad, list(self.state[p].values()), self.kind)


class FewBits(torch.optim.Optimizer):
    """torchao's AdamW with both moments in 8 or 4 bits or in float8: one kernel a tensor, which
    torch.compile makes of ``single_param_adam``. A tensor of too few elements, or of a number that
    is no multiple of the block, keeps its moments in its own precision."""

    def __init__(self, params, bits: int, *, float8: bool = False):
        super().__init__(params, {})
        self.bits, self.float8 = bits, float8
        self.block = BLOCK_OF_4_BITS if bits == 4 else BLOCK

    def _moment(self, p: torch.Tensor, name: str) -> dict[str, torch.Tensor]:
        if p.numel() < MIN_8BIT_ELEMENTS or p.numel() % self.block:
            return {name: torch.empty_like(p)}
        dtype = torch.float8_e4m3fn if self.float8 else torch.uint8
        shape = (-(-p.numel() // 2),) if self.bits == 4 else p.shape
        found = {
            name: torch.empty(shape, dtype=dtype, device=p.device),
            f"{name}_scale": torch.empty(p.numel() // self.block, device=p.device),
        }
        if not self.float8:
            codes = CODES_OF_4_BITS if self.bits == 4 else CODES
            found[f"{name}_codes"] = torch.empty(codes, device=p.device)
        return found

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if not self.state[p]:
                    self.state[p] = self._moment(p, "exp_avg") | self._moment(p, "exp_avg_sq")
                update_blockwise(p.data, p.grad, list(self.state[p].values()), "adamw")


def update_blockwise(
    p: torch.Tensor, grad: torch.Tensor, states: list[torch.Tensor], kind: str
) -> None:
    """One kernel that reads the gradient and updates a tensor and its states in place."""
    torch.ops.planner.blockwise_optimizer(p, grad, states, kind)
