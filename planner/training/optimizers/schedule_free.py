"""Optimizers without a schedule of the learning rate: a second copy of each weight is averaged with
it at every step.

Source: Defazio et al. 2024, "The Road Less Scheduled", arXiv 2405.15682, and ``schedulefree/
{adamw,radam,sgd}_schedulefree.py``, whose operations over lists these are: the gradient itself
becomes the update.
"""

from __future__ import annotations

from typing import Any

import torch

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
#: RAdam's first steps, whose estimate of the variance is not yet used.
UNRECTIFIED = 4.0


class ScheduleFree(torch.optim.Optimizer):
    """``adaptive``: AdamW's second moment divides the gradient; without it plain descent.
    ``rectified``: not in the first steps, as RAdam."""

    def __init__(
        self, params, lr: float = 2.5e-3, *, adaptive: bool = True, rectified: bool = False
    ):
        super().__init__(params, {"lr": lr, "k": 0, "weight_sum": 0.0})
        self.adaptive, self.rectified = adaptive, rectified

    @torch.no_grad()
    def step(self, closure=None):
        functions: Any = torch  # those over lists have private names
        for group in self.param_groups:
            active = [p for p in group["params"] if p.grad is not None]
            for p in active:
                if not self.state[p]:
                    self.state[p]["z"] = torch.clone(p)
                    if self.adaptive:
                        self.state[p]["exp_avg_sq"] = torch.zeros_like(p)
            if not active:
                continue
            group["k"] += 1
            lr, weight = group["lr"], group["lr"] ** 2
            group["weight_sum"] += weight
            share = weight / group["weight_sum"]
            grads, averaged = [p.grad for p in active], [self.state[p]["z"] for p in active]
            if self.adaptive:
                self._divide(functions, active, grads, group["k"])
            functions._foreach_lerp_(active, averaged, weight=share)
            functions._foreach_add_(active, grads, alpha=lr * (BETA1 * (1 - share) - 1))
            functions._foreach_sub_(averaged, grads, alpha=lr)

    def _divide(self, functions: Any, active: list, grads: list, step: int) -> None:
        squares = [self.state[p]["exp_avg_sq"] for p in active]
        functions._foreach_mul_(squares, BETA2)
        functions._foreach_addcmul_(squares, grads, grads, value=1 - BETA2)
        correction = 1 - BETA2**step
        longest = 2 / (1 - BETA2) - 1
        length = longest - 2 * step * BETA2**step / correction
        # under meta the steady state is meant, whatever the step
        if self.rectified and length <= UNRECTIFIED and not active[0].is_meta:
            return
        denominators = functions._foreach_div(squares, correction)
        functions._foreach_sqrt_(denominators)
        functions._foreach_add_(denominators, EPS)
        functions._foreach_div_(grads, denominators)
