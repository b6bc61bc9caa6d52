"""Small programs over tiny tensors, one a kind of operation, as layers write them: for the host's
cost, not the device's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

BATCH, LENGTH, WIDTH, HEADS = 2, 4, 32, 2
SIDE, CHANNELS = 4, 8
VOCABULARY = 64
DROPPED = 0.1


@dataclass(frozen=True)
class Program:
    """``make(device)`` gives the arguments of ``run``; those of floating type are differentiated.
    ``share``: of the work of a transformer block's forward pass. ``stands_for``: what a trace
    records in place of what a processor would run."""

    kind: str
    share: float
    make: Callable[[torch.device], tuple[Any, ...]]
    run: Callable[..., torch.Tensor]
    stands_for: Callable[..., Any] | None = None

    @property
    def differentiable(self) -> bool:
        return self.kind != "fill"


def _tokens(device: torch.device) -> torch.Tensor:
    return torch.randn(BATCH, LENGTH, WIDTH, device=device)


def _heads(device: torch.device) -> torch.Tensor:
    return (
        torch.randn(BATCH, LENGTH, HEADS, WIDTH // HEADS, device=device)
        .transpose(1, 2)
        .requires_grad_()
    )


def _leaf(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.requires_grad_()


def _linear(device: torch.device) -> tuple[torch.Tensor, ...]:
    return (
        _leaf(_tokens(device)),
        _leaf(torch.randn(WIDTH, WIDTH, device=device)),
        _leaf(torch.randn(WIDTH, device=device)),
    )


def _normed(device: torch.device) -> tuple[torch.Tensor, ...]:
    return (
        _leaf(_tokens(device)),
        _leaf(torch.ones(WIDTH, device=device)),
        _leaf(torch.zeros(WIDTH, device=device)),
    )


def _pair(device: torch.device) -> tuple[torch.Tensor, ...]:
    return _leaf(_tokens(device)), _leaf(_tokens(device))


def _single(device: torch.device) -> tuple[torch.Tensor, ...]:
    return (_leaf(_tokens(device)),)


def _looked_up(device: torch.device) -> tuple[torch.Tensor, ...]:
    return torch.randint(0, VOCABULARY, (BATCH, LENGTH), device=device), _leaf(
        torch.randn(VOCABULARY, WIDTH, device=device)
    )


def _chosen(device: torch.device) -> tuple[torch.Tensor, ...]:
    return _leaf(_tokens(device)[0]), torch.arange(LENGTH, device=device)


def _convolved(device: torch.device) -> tuple[torch.Tensor, ...]:
    return _leaf(torch.randn(BATCH, CHANNELS, SIDE, SIDE, device=device)), _leaf(
        torch.randn(CHANNELS, CHANNELS, 3, 3, device=device)
    )


def _classified(device: torch.device) -> tuple[torch.Tensor, ...]:
    return _leaf(torch.randn(LENGTH, VOCABULARY, device=device)), torch.randint(
        0, VOCABULARY, (LENGTH,), device=device
    )


def _on(device: torch.device) -> tuple[torch.device]:
    return (device,)


#: In the order of their importance. Shares: what is issued in the forward pass of a pre-norm
#: transformer block with dropout.
PROGRAMS = (
    Program(
        "view",
        0.10,
        _single,
        lambda x: (
            x.view(BATCH * LENGTH, WIDTH)
            .unsqueeze(0)
            .view(BATCH, LENGTH, HEADS, WIDTH // HEADS)
            .transpose(1, 2)
        ),
    ),
    Program("matmul", 0.30, _linear, functional.linear),
    Program("elementwise", 0.25, _pair, lambda x, y: functional.gelu(x + y) * y),
    Program(
        "normalization", 0.12, _normed, lambda x, w, b: functional.layer_norm(x, (WIDTH,), w, b)
    ),
    Program("copy", 0.12, _pair, lambda x, y: torch.cat((x, y), -1)),
    Program(
        "attention",
        0.06,
        lambda d: (_heads(d), _heads(d), _heads(d)),
        lambda q, k, v: functional.scaled_dot_product_attention(q, k, v),
    ),
    Program(
        "random",
        0.09,
        _single,
        lambda x: functional.dropout(x, DROPPED, True),
        lambda x: torch.ops.aten.native_dropout(x, DROPPED, True),
    ),
    Program("convolution", 0.0, _convolved, lambda x, w: functional.conv2d(x, w, padding=1)),
    Program("reduction", 0.02, _single, lambda x: x.mean(-1, keepdim=True)),
    Program("softmax", 0.01, _single, lambda x: functional.softmax(x, -1)),
    Program("embedding", 0.01, _looked_up, functional.embedding),
    Program("loss", 0.01, _classified, functional.nll_loss),
    Program("gather", 0.0, _chosen, lambda x, rows: x[rows]),
    Program("fill", 0.01, _on, lambda device: torch.zeros(LENGTH, WIDTH, device=device)),
)
