"""Optimizers that update each weight in the backward pass by a float32 copy of its gradient and of
itself. Sources: Lv et al. 2023, "Full Parameter Fine-tuning for Large Language Models with Limited
Resources", arXiv 2306.09782; 2023, "AdaLomo", arXiv 2310.10195; ``lomo_optim/{lomo,adalomo}.py``.
"""

from __future__ import annotations

import math
from typing import Any

import torch

DECAY_RATE, CLIP_THRESHOLD, EPS = -0.8, 1.0, (1e-30, 1e-3)


class Lomo(torch.optim.Optimizer):
    """Plain descent without a state."""

    def __init__(self, params, lr: float = 1e-3):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    wide = p.grad.to(torch.float32)
                    p.grad = None
                    self.update(p, wide, self.state[p], group["lr"])

    def update(self, p: torch.Tensor, grad: torch.Tensor, state: dict[str, Any], lr: float) -> None:
        weight = p.data.to(torch.float32)
        weight.add_(grad, alpha=-lr)
        p.data.copy_(weight)


class AdaLomo(Lomo):
    """With Adafactor's row and column means as its state, in float32."""

    def update(self, p: torch.Tensor, grad: torch.Tensor, state: dict[str, Any], lr: float) -> None:
        state["step"] = state.get("step", 0) + 1
        kept = 1.0 - math.pow(state["step"], DECAY_RATE)
        update = grad**2 + EPS[0]
        if grad.dim() > 1:
            if "row" not in state:
                state["row"] = torch.zeros(grad.shape[:-1], device=grad.device)
                state["col"] = torch.zeros((*grad.shape[:-2], grad.shape[-1]), device=grad.device)
            state["row"].mul_(kept).add_(update.mean(dim=-1), alpha=1 - kept)
            state["col"].mul_(kept).add_(update.mean(dim=-2), alpha=1 - kept)
            row = state["row"] / state["row"].mean(dim=-1, keepdim=True)
            update = row.rsqrt_().unsqueeze(-1) * state["col"].unsqueeze(-2).rsqrt()
            update.mul_(grad)
        else:
            if "square" not in state:
                state["square"] = torch.zeros_like(grad)
            state["square"].mul_(kept).add_(update, alpha=1 - kept)
            update = state["square"].rsqrt().mul_(grad)
        update.div_((_rms(update) / CLIP_THRESHOLD).clamp_(min=1.0))
        weight = p.data.to(torch.float32)
        size = torch.norm(weight, 2.0) / math.sqrt(p.numel())
        # a comparison of numbers: the host waits for each
        weight.add_(update, alpha=-lr * float(max(EPS[1], size)))
        p.data.copy_(weight)


def _rms(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.norm(2.0) / math.sqrt(tensor.numel())
