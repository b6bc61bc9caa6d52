"""Optimizers of few lines: Lion, and transformers' own AdamW of old."""

from __future__ import annotations

from typing import Any

import torch


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
