"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner. Source: Vyas et al. 2024, "SOAP",
arXiv 2409.11321, and its authors' ``soap.py``, whose operations and defaults these are.

The first step only makes the states. Every tenth step finds the basis anew by a QR decomposition;
the recorded step is one of the other nine.
"""

from __future__ import annotations

from typing import Any

import torch

BETA1 = BETA2 = 0.95
EPS, WEIGHT_DECAY, FREQUENCY = 1e-8, 0.01, 10
#: No preconditioner for a dimension beyond it, as of a vocabulary; nor for vectors.
MAX_DIMENSION = 10_000


class SOAP(torch.optim.Optimizer):
    def __init__(self, params, lr: float = 3e-3):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    self._begin(p.grad, state)
                else:
                    self._update(p, p.grad, state, group["lr"])

    def _begin(self, grad: torch.Tensor, state: dict[str, Any]) -> None:
        state["step"] = 0
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(grad), torch.zeros_like(grad)
        for side in _sides(grad):
            size = grad.shape[side]
            state[f"GG{side}"] = torch.zeros(size, size, device=grad.device)
        self._gather(grad, state)
        for side in _sides(grad):
            matrix = state[f"GG{side}"]
            _, basis = torch.linalg.eigh(
                matrix + 1e-30 * torch.eye(len(matrix), device=grad.device)
            )
            state[f"Q{side}"] = torch.flip(basis, [1])

    def _update(self, p: torch.Tensor, grad: torch.Tensor, state: dict[str, Any], lr: float):
        projected = _rotated(grad, state, 0)
        state["step"] += 1
        step = state["step"]
        state["exp_avg"].mul_(BETA1).add_(projected, alpha=1 - BETA1)
        state["exp_avg_sq"].mul_(BETA2).add_(projected.square(), alpha=1 - BETA2)
        denominator = state["exp_avg_sq"].sqrt().add_(EPS)
        size = lr * (1 - BETA2**step) ** 0.5 / (1 - BETA1**step)
        p.add_(_rotated(state["exp_avg"] / denominator, state, 1), alpha=-size)
        p.add_(p, alpha=-lr * WEIGHT_DECAY)
        state["exp_avg"] = _rotated(state["exp_avg"], state, 1)
        self._gather(grad, state)
        if step % FREQUENCY == 0:
            self._new_basis(state)
        state["exp_avg"] = _rotated(state["exp_avg"], state, 0)

    def _gather(self, grad: torch.Tensor, state: dict[str, Any]) -> None:
        for side in _sides(grad):
            others = [i for i in range(grad.dim()) if i != side]
            product = torch.tensordot(grad, grad, dims=[others, others])  # pyright: ignore
            state[f"GG{side}"].lerp_(product.to(state[f"GG{side}"].dtype), 1 - BETA2)

    def _new_basis(self, state: dict[str, Any]) -> None:
        squares = state["exp_avg_sq"]
        for side in _sides(squares):
            matrix, basis = state[f"GG{side}"], state[f"Q{side}"]
            order = torch.argsort(torch.diag(basis.T @ matrix @ basis), descending=True)
            squares = squares.index_select(side, order)
            state[f"Q{side}"], _ = torch.linalg.qr(matrix @ basis[:, order])
        state["exp_avg_sq"] = squares


def _sides(tensor: torch.Tensor) -> list[int]:
    """The dimensions that have a preconditioner."""
    if tensor.dim() < 2:
        return []
    return [side for side, size in enumerate(tensor.shape) if size <= MAX_DIMENSION]


def _rotated(tensor: torch.Tensor, state: dict[str, Any], by: int) -> torch.Tensor:
    """Into the eigenbasis (``by`` 0) or out of it (1): each dimension in its turn."""
    for side in range(tensor.dim()):
        basis = state.get(f"Q{side}")
        if basis is None:
            tensor = tensor.permute([*range(1, tensor.dim()), 0])
        else:
            basis = basis.to(tensor.dtype)
            tensor = torch.tensordot(tensor, basis, dims=[[0], [by]])  # pyright: ignore
    return tensor
