"""CAME: Adafactor with a first moment, weighed by how far updates are from it.

Source: Luo et al. 2023, arXiv 2307.02047, algorithm 2, and ``came_pytorch/CAME.py`` of
came_pytorch 0.1.3, whose tensors and operations these are: in float32 whatever the weights' type,
one weight at a time.
"""

from __future__ import annotations

from typing import Any

import torch

BETA1, BETA2, BETA3 = 0.9, 0.999, 0.9999
EPS_SQUARE, EPS_RESIDUAL, THRESHOLD = 1e-30, 1e-16, 1.0


class CAME(torch.optim.Optimizer):
    """A first moment in float32; of matrices row and column means of squares and of residuals."""

    def __init__(self, params, lr: float = 2e-4):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    update = self._update(p, p.grad.float())
                    p.add_(-update.mul_(group["lr"]))

    def _update(self, p: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
        state = self.state[p] or self._begin(p, grad)
        state["rms"] = _rms(p)  # kept, and read by nobody
        update = grad**2 + EPS_SQUARE
        if grad.dim() > 1:
            update = _factored(state["row"], state["col"], update, BETA2).mul_(grad)
        else:
            state["square"].mul_(BETA2).add_(update, alpha=1 - BETA2)
            update = state["square"].rsqrt().mul_(grad)
        update.div_((_rms(update) / THRESHOLD).clamp_(min=1.0))
        state["exp_avg"].mul_(BETA1).add_(update, alpha=1 - BETA1)
        residual = (update - state["exp_avg"]) ** 2 + EPS_RESIDUAL
        if grad.dim() > 1:
            weighed = _factored(state["residual_row"], state["residual_col"], residual, BETA3)
            return weighed.mul_(state["exp_avg"])
        return state["exp_avg"].clone()

    def _begin(self, p: torch.Tensor, grad: torch.Tensor) -> dict[str, Any]:
        state: dict[str, Any] = {"exp_avg": torch.zeros_like(grad)}
        if grad.dim() > 1:
            rows, columns = grad.shape[:-1], (*grad.shape[:-2], grad.shape[-1])
            for name, shape in (("row", rows), ("col", columns)):
                state[name] = grad.new_zeros(shape)
                state[f"residual_{name}"] = grad.new_zeros(shape)
        else:
            state["square"] = torch.zeros_like(grad)
        self.state[p] = state
        return state


def _factored(
    row: torch.Tensor, col: torch.Tensor, squares: torch.Tensor, kept: float
) -> torch.Tensor:
    row.mul_(kept).add_(squares.mean(dim=-1), alpha=1 - kept)
    col.mul_(kept).add_(squares.mean(dim=-2), alpha=1 - kept)
    rows = (row / row.mean(dim=-1, keepdim=True)).rsqrt_().unsqueeze(-1)
    return torch.mul(rows, col.unsqueeze(-2).rsqrt())


def _rms(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.norm(2) / tensor.numel() ** 0.5
