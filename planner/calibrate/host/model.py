"""A small transformer encoder in plain torch.nn, so narrow that training it is the host's work:
what single host costs are checked against."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

LAYERS, WIDTH, HEADS, VOCABULARY, CLASSES = 6, 32, 2, 64, 4
BATCH, LENGTH = 2, 16
DROPPED = 0.1
Batch = dict[str, torch.Tensor]


class Block(nn.Module):
    """Pre-norm attention and feed-forward with dropout and residuals."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.activation, self.down = (
            nn.Linear(WIDTH, 4 * WIDTH),
            nn.GELU(),
            nn.Linear(4 * WIDTH, WIDTH),
        )
        self.dropout = nn.Dropout(DROPPED)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        normed = self.first(x)
        q, k, v = (
            layer(normed).view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        heads = (
            functional.scaled_dot_product_attention(q, k, v)
            .transpose(1, 2)
            .reshape(batch, length, WIDTH)
        )
        x = x + self.dropout(self.out(heads))
        return x + self.dropout(self.down(self.activation(self.up(self.second(x)))))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


def batch(B: int, S: int) -> Batch:
    return {
        "tokens": torch.zeros(B, S, dtype=torch.int64),
        "labels": torch.zeros(B, dtype=torch.int64),
    }


def loss(module: nn.Module, samples: Batch) -> torch.Tensor:
    return functional.cross_entropy(module(samples["tokens"]), samples["labels"])


def encoder() -> tuple[
    Encoder, Callable[[int, int], Batch], Callable[[nn.Module, Batch], torch.Tensor]
]:
    """A factory of planner's: (module, batch(B, S), loss)."""
    return Encoder(), batch, loss
