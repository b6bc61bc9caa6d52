"""The optimizers a question can name, built as a CUDA run would build them, on parameters that lie
on meta.

torch's own classes where they exist (``foreach=True`` is what torch picks by itself on CUDA). The
fused kernel and bitsandbytes' 8-bit and paged optimizers exist for CUDA only: here they keep the
same state tensors and issue one operation that stands for the kernel. Sources: torch.optim;
Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization", arXiv 2110.02861; Chen et al.
2023, "Symbolic Discovery of Optimization Algorithms" (Lion), arXiv 2302.06675.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

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

#: bitsandbytes quantises states in blocks of 256 values with one float32 scale each, keeps tensors
#: below 4096 elements in 32 bits (``min_8bit_size``), and keeps two code books of 256 float32
#: values (``Optimizer2State``).
BLOCK, MIN_8BIT_ELEMENTS, CODES = 256, 4096, 256


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
    host memory that the driver maps, so they count as none of the device's."""

    def __init__(self, params, states: int, kind: str, *, eight_bit: bool, paged: bool):
        super().__init__(params, {})
        self.states, self.kind, self.eight_bit, self.paged = states, kind, eight_bit, paged
        self.code_books: list[torch.Tensor] = []

    def _state_of(self, p: torch.Tensor) -> dict[str, torch.Tensor]:
        if not self.eight_bit or p.numel() < MIN_8BIT_ELEMENTS:
            state = {
                f"state{i}": torch.empty_like(p, dtype=torch.float32) for i in range(self.states)
            }
        else:
            if not self.code_books:
                self.code_books = [
                    torch.empty(CODES, dtype=torch.float32, device=p.device)
                    for _ in range(self.states)
                ]
            blocks = -(-p.numel() // BLOCK)
            state = {
                f"state{i}": torch.empty_like(p, dtype=torch.uint8) for i in range(self.states)
            }
            state |= {
                f"absmax{i}": torch.empty(blocks, dtype=torch.float32, device=p.device)
                for i in range(self.states)
            }
        if self.paged:
            state = {
                name: t
                for name, t in state.items()
                if not name.startswith("state") or p.numel() < 1e5
            }
        return state

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p not in self.state or not self.state[p]:
                    self.state[p] = self._state_of(p) or {"none": torch.empty(0, device=p.device)}
                torch.ops.planner.blockwise_optimizer(
                    p.data, p.grad, list(self.state[p].values()), self.kind
                )


class Lion(torch.optim.Optimizer):
    """Lion with foreach operations: one momentum in the parameter's precision, one transient for
    the update."""

    def step(self, closure=None):
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            for p in params:
                if not self.state[p]:
                    self.state[p] = {"exp_avg": torch.zeros_like(p)}
            data, grads = [p.data for p in params], [p.grad for p in params]
            momenta = [self.state[p]["exp_avg"] for p in params]
            functions: Any = torch  # those over lists have private names
            functions._foreach_mul_(data, 1.0)
            update = functions._foreach_mul(momenta, 0.9)
            functions._foreach_add_(update, grads, alpha=0.1)
            functions._foreach_sign_(update)
            functions._foreach_add_(data, update, alpha=-1e-4)
            functions._foreach_lerp_(momenta, grads, 0.01)


class LoopedAdamW(torch.optim.Optimizer):
    """transformers' own AdamW, its Trainer's default until 2023: seven operations on one parameter
    after another, in Python, without weight decay as the Trainer calls it. Source:
    ``transformers/optimization.py`` of 4.x (``class AdamW``, removed by pull request 36177)."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(p) for _ in range(2))
                state["exp_avg"].mul_(0.9).add_(p.grad, alpha=0.1)
                state["exp_avg_sq"].mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
                denominator = state["exp_avg_sq"].sqrt().add_(1e-6)
                p.data.addcdiv_(state["exp_avg"], denominator, value=-group["lr"])


Build = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Optimizer:
    """How one optimizer is built: ``recorded`` over parameters on meta, with the states and the
    operations of a CUDA run; ``real`` as a user's run gets it, a class with its options, to be
    called with parameters and ``lr``. ``real`` is None where bitsandbytes has the class: its name
    stands in the row. ``by_size``: small tensors' states are kept otherwise than large ones'."""

    recorded: Build
    real: Callable[..., torch.optim.Optimizer] | None = None
    by_size: bool = False


def _own(own: Callable[..., torch.optim.Optimizer], lr: float = 1e-5, **options: Any) -> Optimizer:
    """One of torch's, which picks ``foreach`` by itself on CUDA; that is recorded unless asked
    otherwise."""
    return Optimizer(
        recorded=lambda params: own(params, lr=lr, **{"foreach": True} | options),
        real=partial(own, **options),
    )


def _blockwise(
    states: int, kernel: str, *, eight_bit: bool = False, paged: bool = False
) -> Optimizer:
    return Optimizer(
        recorded=lambda params: Blockwise(params, states, kernel, eight_bit=eight_bit, paged=paged),
        by_size=eight_bit or paged,
    )


#: A recipe's name → how it is built. A new optimizer is one entry here and one row of
#: ``profiles/optimizers.csv``. The learning rate changes no cost.
OPTIMIZERS: dict[str, Optimizer] = {
    "adamw": _own(torch.optim.AdamW),
    "adamw_foreach": _own(torch.optim.AdamW, foreach=True),
    "adamw_for_loop": _own(torch.optim.AdamW, foreach=False),
    "adamw_fused": Optimizer(
        recorded=lambda params: Fused(params, 2, "adamw"),
        real=partial(torch.optim.AdamW, fused=True),
    ),
    "adamw_hf": Optimizer(
        recorded=lambda params: LoopedAdamW(params, {"lr": 1e-5}),
        real=lambda params, lr: LoopedAdamW(params, {"lr": lr}),
    ),
    "adam": _own(torch.optim.Adam),
    "adamw_8bit": _blockwise(2, "adamw", eight_bit=True),
    "adamw_paged": _blockwise(2, "adamw", paged=True),
    "adamw_8bit_paged": _blockwise(2, "adamw", eight_bit=True, paged=True),
    "sgd": _own(torch.optim.SGD, lr=1e-4),
    "sgd_momentum": _own(torch.optim.SGD, lr=1e-4, momentum=0.9),
    "adafactor": _own(torch.optim.Adafactor, lr=1e-4),
    "lion": Optimizer(
        recorded=lambda params: Lion(params, {"lr": 1e-4}),
        real=lambda params, lr: Lion(params, {"lr": lr}),
    ),
    "lion_8bit": _blockwise(1, "lion", eight_bit=True),
}


def state_tensors(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Every state tensor, in the order the optimizer made them."""
    books = getattr(optimizer, "code_books", [])
    return list(books) + [
        t
        for state in optimizer.state.values()
        for t in state.values()
        if isinstance(t, torch.Tensor)
    ]
