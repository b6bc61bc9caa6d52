"""Optimizers that keep their states for a projection of each matrix's gradient to few dimensions.

Sources: Zhao et al. 2024, "GaLore", arXiv 2403.03507, and ``galore_torch/{adamw,adamw8bit,
galore_projector}.py``; Zhu et al. 2024, "APOLLO", arXiv 2412.05270, and ``apollo_torch/{apollo,
random_projector}.py``. The order of operations is theirs; so are the copies that they keep, as of
the whole factor of a float32 gradient of which GaLore uses a part.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from planner.training.optimizers.kernels import Blockwise, update_blockwise
from planner.training.optimizers.several import is_inner_matrix

BETA1, BETA2, EPS = 0.9, 0.999, 1e-6


class GaLore(torch.optim.Optimizer):
    """AdamW over gradients projected by singular vectors that are computed anew every ``gap``
    steps. ``rank`` 128, ``gap`` 200 and ``scale`` 0.25 are the Trainer's
    (``transformers/trainer_optimizer.py: _get_galore_optimizer``)."""

    rank, gap, scale = 128, 200, 0.25

    def __init__(self, params, lr: float = 1e-3):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.update(p, self.state[p], group["lr"])

    def update(self, p: torch.Tensor, state: dict[str, Any], lr: float) -> None:
        step = state.setdefault("step", 0)
        grad = p.grad
        assert grad is not None
        if is_inner_matrix(p):
            grad = self.projected(grad, state, step)
        update, size = adam(grad, state, lr)
        if is_inner_matrix(p):
            update = self.back(update, state)
        p.add_(update, alpha=-size)

    def projected(self, grad: torch.Tensor, state: dict[str, Any], step: int) -> torch.Tensor:
        tall = grad.shape[0] >= grad.shape[1]
        if "projector" not in state or step % self.gap == 0:
            state["projector"] = self.projector(grad, tall, state)
        projector = state["projector"]
        return grad @ projector.t() if tall else projector.t() @ grad

    def projector(self, grad: torch.Tensor, tall: bool, state: dict[str, Any]) -> torch.Tensor:
        """A part of a factor of the gradient: it keeps the whole of it alive but where it is
        cast."""
        left, _, right = torch.linalg.svd(grad.float(), full_matrices=False)
        part = right[: self.rank, :] if tall else left[:, : self.rank]
        return part.to(grad.dtype)

    def back(self, update: torch.Tensor, state: dict[str, Any]) -> torch.Tensor:
        projector = state["projector"]
        tall = update.shape[0] >= update.shape[1]
        return (update @ projector if tall else projector @ update) * self.scale


def adam(grad: torch.Tensor, state: dict[str, Any], lr: float) -> tuple[torch.Tensor, float]:
    """(the update, its size) of both libraries' AdamW, an operation after another."""
    if "exp_avg" not in state:
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(grad), torch.zeros_like(grad)
    state["step"] += 1
    state["exp_avg"].mul_(BETA1).add_(grad, alpha=1 - BETA1)
    state["exp_avg_sq"].mul_(BETA2).addcmul_(grad, grad, value=1 - BETA2)
    denominator = state["exp_avg_sq"].sqrt().add_(EPS)
    first, second = 1 - BETA1 ** state["step"], 1 - BETA2 ** state["step"]
    return state["exp_avg"] / denominator, lr * math.sqrt(second) / first


class GaLore8bit(GaLore):
    """Both moments of the projected gradient as bitsandbytes' 8-bit AdamW keeps them, whose kernel
    updates zeros beside a copy of the weight."""

    def __init__(self, params, lr: float = 1e-3):
        super().__init__(params, lr)
        self.kernel = Blockwise(self.param_groups, 2, "adamw", eight_bit=True, paged=False)

    @property
    def code_books(self) -> list[torch.Tensor]:
        return self.kernel.code_books

    def update(self, p: torch.Tensor, state: dict[str, Any], lr: float) -> None:
        step = state.setdefault("step", 0)
        grad, target, saved = p.grad, p.data, None
        assert grad is not None
        if is_inner_matrix(p):
            grad = self.projected(grad, state, step)
            saved, target = p.data.clone(), grad.clone().zero_()
            p.grad = None
        if "state0" not in state:
            state.update(self.kernel.state_of(grad))
        state["step"] += 1
        kept = [t for name, t in state.items() if name.startswith(("state", "absmax"))]
        update_blockwise(target, grad, kept, "adamw")
        if saved is not None:
            p.add_(self.back(target, state))


class Apollo(GaLore):
    """AdamW's states of a random projection say how the plain gradient is scaled, a channel or,
    of ``mini``, a tensor at a time. The Trainer's rank is 128
    (``transformers/trainer_optimizer.py: _get_apollo_optimizer``), APOLLO-Mini's 1."""

    def __init__(self, params, lr: float = 1e-3, *, mini: bool = False):
        super().__init__(params, lr)
        self.mini = mini
        self.rank, self.scale = (1, 128.0) if mini else (128, 1.0)

    def projector(self, grad: torch.Tensor, tall: bool, state: dict[str, Any]) -> torch.Tensor:
        shape = (self.rank, grad.shape[1]) if tall else (grad.shape[0], self.rank)
        drawn = torch.randn(shape, device=grad.device) / math.sqrt(self.rank)
        return drawn.to(grad.dtype)

    def update(self, p: torch.Tensor, state: dict[str, Any], lr: float) -> None:
        step = state.setdefault("step", 0)
        full = p.grad
        assert full is not None
        if not is_inner_matrix(p):
            update, size = adam(full, state, lr)
            p.add_(update, alpha=-size)
            return
        grad = self.projected(full, state, step)
        update, size = adam(grad, state, lr)
        scaled = full * self._scaling(update, grad)
        norm = torch.norm(scaled)
        if "scaled_grad" in state:
            # a comparison of numbers: the host waits for each
            limiter = max(norm / (state["scaled_grad"] + 1e-8), 1.01) / 1.01
            scaled = scaled / limiter
            norm = norm / limiter
        state["scaled_grad"] = norm
        scaled *= math.sqrt(self.scale)
        p.add_(scaled, alpha=-size)

    def _scaling(self, update: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
        if self.mini:
            return torch.norm(update) / (torch.norm(grad) + 1e-8)
        side = 0 if grad.shape[0] < grad.shape[1] else 1
        factor = torch.norm(update, dim=side) / (torch.norm(grad, dim=side) + 1e-8)
        return factor.unsqueeze(1) if side == 1 else factor
