"""Models of tables: a plain network, and a transformer over the columns (FT-Transformer, Gorishniy
et al. 2021, arXiv 2106.11959)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

#: Columns of the table where no data tells: numbers, and the values of each category (about those
#: of the census set that such papers use: 6 numbers, 8 categories).
NUMBERS, CATEGORIES = 6, (16,) * 8


class Columns(nn.Module):
    """What every model here is fed with, and its loss: classes, or one number. ``numbers``: their
    columns, ``categories``: the values of each column of them; either may be none."""

    def __init__(self, classes: int, numbers: int, categories: Sequence[int]) -> None:
        super().__init__()
        self.classes, self.width_of_numbers = classes, numbers
        self.values = tuple(categories)

    def example_batch(self, B: int) -> dict[str, torch.Tensor]:  # noqa: N803
        kind = torch.int64 if self.classes > 1 else torch.float32
        batch = {"labels": torch.empty(B, dtype=kind)}
        if self.width_of_numbers:
            batch["numbers"] = torch.empty(B, self.width_of_numbers)
        if self.values:
            batch["categories"] = torch.empty(B, len(self.values), dtype=torch.int64)
        return batch

    def judged(self, logits: torch.Tensor, labels: torch.Tensor | None) -> Any:
        if labels is None:
            return logits
        if self.classes > 1:
            return nn.functional.cross_entropy(logits.float(), labels)
        return nn.functional.mse_loss(logits[:, 0], labels)


def vector_width(values: int) -> int:
    """Of a category's vectors, as fastai has them (``emb_sz_rule``)."""
    return min(600, round(1.6 * values**0.56))


class TabularMLP(Columns):
    """Vectors of the categories beside the numbers, then linear layers with ReLU and dropout."""

    def __init__(
        self,
        width: int,
        depth: int,
        classes: int,
        numbers: int = NUMBERS,
        categories: Sequence[int] = CATEGORIES,
    ) -> None:
        super().__init__(classes, numbers, categories)
        widths = [vector_width(values) for values in categories]
        self.tables = nn.ModuleList(
            nn.Embedding(values, each) for values, each in zip(categories, widths)
        )
        sizes = [numbers + sum(widths), *[width] * depth]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Dropout(0.1))
            for a, b in zip(sizes, sizes[1:])
        )
        self.head = nn.Linear(width, classes)

    def forward(
        self,
        numbers: torch.Tensor | None = None,
        categories: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> Any:
        parts = [] if numbers is None else [numbers]
        if categories is not None:
            parts += [table(categories[:, i]) for i, table in enumerate(self.tables)]
        x = torch.cat(parts, -1)
        for layer in self.layers:
            x = layer(x)
        return self.judged(self.head(x), labels)


class Block(nn.Module):
    """Attention over the columns and a gated layer, each after its norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, hidden = heads, width * 4 // 3
        self.norm, self.inner_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, columns, width = x.shape
        shape = (b, columns, 3, self.heads, width // self.heads)
        q, k, v = self.qkv(self.norm(x)).view(shape).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(
            q, k, v, dropout_p=0.2 if self.training else 0.0
        )
        x = x + self.out(seen.transpose(1, 2).reshape(b, columns, width))
        value, gate = self.up(self.inner_norm(x)).chunk(2, -1)
        return x + self.down(nn.functional.dropout(value * gate.relu(), 0.1, self.training))


class FTTransformer(Columns):
    """A vector a column and one that the answer is read from."""

    def __init__(
        self,
        width: int,
        depth: int,
        classes: int,
        numbers: int = NUMBERS,
        categories: Sequence[int] = CATEGORIES,
    ) -> None:
        super().__init__(classes, numbers, categories)
        self.weight = nn.Parameter(torch.empty(numbers, width)) if numbers else None
        self.bias = nn.Parameter(torch.empty(numbers + len(categories), width))
        self.answer = nn.Parameter(torch.empty(1, 1, width))
        self.tables = nn.Embedding(sum(categories), width) if categories else None
        for part in (self.weight, self.bias, self.answer):
            if part is not None:
                nn.init.uniform_(part, -1 / math.sqrt(width), 1 / math.sqrt(width))
        self.blocks = nn.ModuleList(Block(width, 8) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(
        self,
        numbers: torch.Tensor | None = None,
        categories: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> Any:
        parts = []
        if numbers is not None and self.weight is not None:
            parts.append(numbers[..., None] * self.weight)
        if categories is not None and self.tables is not None:
            parts.append(self.tables(categories))
        tokens = torch.cat(parts, 1)
        x = torch.cat((self.answer.expand(len(tokens), -1, -1), tokens + self.bias), 1)
        for block in self.blocks:
            x = block(x)
        return self.judged(self.head(self.norm(x[:, 0]).relu()), labels)


def mlp_classifier(
    classes: int = 2, numbers: int = NUMBERS, categories: Sequence[int] = CATEGORIES
) -> nn.Module:
    return TabularMLP(256, 3, classes, numbers, categories)


def mlp_classifier_large(
    classes: int = 2, numbers: int = NUMBERS, categories: Sequence[int] = CATEGORIES
) -> nn.Module:
    return TabularMLP(1024, 6, classes, numbers, categories)


def ft_classifier(
    classes: int = 2, numbers: int = NUMBERS, categories: Sequence[int] = CATEGORIES
) -> nn.Module:
    return FTTransformer(192, 3, classes, numbers, categories)


def ft_classifier_large(
    classes: int = 2, numbers: int = NUMBERS, categories: Sequence[int] = CATEGORIES
) -> nn.Module:
    return FTTransformer(384, 6, classes, numbers, categories)


def mlp_regressor(numbers: int = NUMBERS, categories: Sequence[int] = CATEGORIES) -> nn.Module:
    return TabularMLP(256, 3, 1, numbers, categories)


def mlp_regressor_large(
    numbers: int = NUMBERS, categories: Sequence[int] = CATEGORIES
) -> nn.Module:
    return TabularMLP(1024, 6, 1, numbers, categories)


def ft_regressor(numbers: int = NUMBERS, categories: Sequence[int] = CATEGORIES) -> nn.Module:
    return FTTransformer(192, 3, 1, numbers, categories)


def ft_regressor_large(numbers: int = NUMBERS, categories: Sequence[int] = CATEGORIES) -> nn.Module:
    return FTTransformer(384, 6, 1, numbers, categories)
