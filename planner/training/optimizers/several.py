"""Optimizers of a model's matrices with another one for the rest of its weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from planner.errors import ModelError

#: What a parameter says of itself where it stands between a vocabulary, or classes, and the model.
OUTER = "is_of_embedding_or_head"


def mark_outer(module: torch.nn.Module, head: Iterable[str] = ()) -> None:
    """Weights of embeddings and of the head say that they are: Muon's, GaLore's and APOLLO's
    authors leave them to AdamW."""
    ends = {name.removesuffix(".") for name in head}
    for name, part in module.named_modules():
        plain = name.removeprefix("base_model.model.")
        is_head = any(plain == end or plain.startswith(f"{end}.") for end in ends)
        if is_head or isinstance(part, torch.nn.Embedding):
            for parameter in part.parameters(recurse=False):
                setattr(parameter, OUTER, True)


def is_inner_matrix(parameter: torch.Tensor) -> bool:
    """Of two dimensions, and of no embedding and no head."""
    return parameter.dim() == 2 and not getattr(parameter, OUTER, False)


class Several(torch.optim.Optimizer):
    """Several optimizers that step together, each over its own parameters."""

    def __init__(self, parts: list[torch.optim.Optimizer]):
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure=None):
        for part in self.parts:
            part.step()
        self.state: Any = {p: state for part in self.parts for p, state in part.state.items()}


def muon(
    params: list[torch.nn.Parameter], lr: float = 1e-3, foreach: bool | None = None
) -> torch.optim.Optimizer:
    """torch's Muon over the matrices, AdamW over embeddings, heads and vectors. Source: Jordan et
    al. 2024, "Muon: An optimizer for hidden layers in neural networks"; ``torch.optim.Muon``.
    Raises ModelError for a torch that has none."""
    if not hasattr(torch.optim, "Muon"):
        raise ModelError(
            f"torch {torch.__version__} has no Muon", mend="Install torch 2.9 or newer"
        )
    matrices = [p for p in params if is_inner_matrix(p)]
    rest = [p for p in params if not is_inner_matrix(p)]
    parts: list[torch.optim.Optimizer] = []
    if matrices:
        parts.append(torch.optim.Muon(matrices, lr=lr))
    if rest:
        parts.append(torch.optim.AdamW(rest, lr=lr, foreach=foreach))
    return parts[0] if len(parts) == 1 else Several(parts)
