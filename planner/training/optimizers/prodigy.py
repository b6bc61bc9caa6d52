"""Prodigy: AdamW that finds its own learning rate by how far the weights have come.

Source: Mishchenko & Defazio 2023, arXiv 2306.06101, algorithm 4, and ``prodigyopt/prodigy.py`` of
prodigyopt 1.1.2, whose tensors and operations these are: one weight at a time, each of whose two
sums the host waits for. A weight of nothing but zeros, as an adapter's second matrix is at first,
keeps no copy of where it began there; here every weight does.
"""

from __future__ import annotations

import math
from typing import Any

import torch

BETA1, BETA2, EPS, D0 = 0.9, 0.999, 1e-8, 1e-6


class Prodigy(torch.optim.Optimizer):
    """Four tensors of a weight's own size and type: both moments, the sum ``s`` and ``p0``."""

    def __init__(self, params, lr: float = 1.0):
        super().__init__(params, {"lr": lr})
        self.d, self.reached = D0, 0.0

    @torch.no_grad()
    def step(self, closure=None):
        kept, moved, summed = math.sqrt(BETA2), 0.0, 0.0
        active = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        scale = self.d * self.param_groups[0]["lr"]
        for p in active:
            state = self.state[p] or self._begin(p)
            grad = p.grad.flatten()
            far = torch.dot(grad, state["p0"] - p.flatten()).item()
            moved += self.d / D0 * scale * far
            state["exp_avg"].mul_(BETA1).add_(p.grad, alpha=self.d * (1 - BETA1))
            state["exp_avg_sq"].mul_(BETA2).addcmul_(
                p.grad, p.grad, value=self.d * self.d * (1 - BETA2)
            )
            state["s"].mul_(kept).add_(grad, alpha=self.d / D0 * scale)
            summed += state["s"].abs().sum().item()
        self.reached = self.reached * kept + moved
        if summed:
            self.d = max(self.d, self.reached / summed)
        for p in active:
            state = self.state[p]
            denominator = state["exp_avg_sq"].sqrt().add_(self.d * EPS)
            p.addcdiv_(state["exp_avg"], denominator, value=-scale)

    def _begin(self, p: torch.Tensor) -> dict[str, Any]:
        self.state[p] = {
            "s": torch.zeros_like(p.flatten()),
            "p0": p.flatten().clone(),
            "exp_avg": torch.zeros_like(p),
            "exp_avg_sq": torch.zeros_like(p),
        }
        return self.state[p]
