"""Log-probabilities of tokens, as TRL takes them (huggingface/trl@f2cd577 trl/trainer/utils.py:
``selective_log_softmax``, ``entropy_from_logits``).

TRL loops over the samples of a batch so that few tensors of the vocabulary's width are alive at
once. A trace must hold for any batch: each loop is one operation here, which leaves what the loop
leaves, holds beside it what one turn of the loop holds (``scratch``), and moves what all of its
turns move (``operations/kinds/softmax.py``). On a real device the loop itself runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define("selective_log_softmax(Tensor logits, Tensor index) -> (Tensor, Tensor)")
_LIBRARY.define("selective_log_softmax_backward(Tensor kept, Tensor grad, Tensor index) -> Tensor")
_LIBRARY.define("selective_logsumexp(Tensor logits, Tensor index) -> (Tensor, Tensor)")
_LIBRARY.define(
    "selective_logsumexp_backward(Tensor logits, Tensor grad, Tensor sums, Tensor index) -> Tensor"
)
_LIBRARY.define("selective_log_softmax_once(Tensor logits, Tensor index) -> Tensor")
_LIBRARY.define("chunked_entropy(Tensor logits) -> Tensor")
#: Rows of the logits that TRL's entropy works on at once.
CHUNK = 128
#: Of a chunk alive at once: the logarithms, their exponentials, the product of both.
CHUNK_TENSORS = 3
WIDE = (torch.float32, torch.float64)


def log_probabilities(logits: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """[B, L] of the tokens ``index`` [B, L] under ``logits`` [B, L, V], in their type.

    Logits in 16 bits leave the logarithms of all probabilities for the backward pass, those in 32
    the logits themselves, as the two branches of TRL's function do."""
    operations = torch.ops.planner
    if not (torch.is_grad_enabled() and logits.requires_grad):
        return operations.selective_log_softmax_once(logits, index)
    if logits.dtype in WIDE:
        return operations.selective_logsumexp(logits, index)[0]
    return operations.selective_log_softmax(logits, index)[0]


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """[B, L]: nats of each place of ``logits`` [B, L, V], which are laid out anew where they are a
    part of something larger."""
    with torch.no_grad():
        flat = logits.reshape(-1, logits.shape[-1])
        return torch.ops.planner.chunked_entropy(flat).reshape(logits.shape[:-1])


def scratch_of(op: str, tensors: list[torch.Tensor]) -> list[tuple[tuple[int, ...], int]]:
    """(shape, bytes an element) of what a turn of the loop holds beside what it leaves."""
    logits = tensors[0]
    size, width = logits.element_size(), logits.shape[-1]
    if "chunked_entropy" in op:
        return [((CHUNK, width), size)] * CHUNK_TENSORS
    turn = ((logits.shape[-2], width), size)
    if "once" in op:  # the next turn begins before the last one's tensor is let go
        return [turn] * min(2, logits.shape[0])
    if "logsumexp_backward" in op:
        return [turn, turn]
    return [turn] if "logsumexp" in op else []


# ---- what a device without these operations runs: TRL's loops


def _log_softmax(logits: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    kept = functional.log_softmax(logits, dim=-1)
    return kept.gather(-1, index.unsqueeze(-1)).squeeze(-1), kept


def _log_softmax_backward(kept, grad, index):
    zeros = torch.zeros_like(kept).scatter_(-1, index.unsqueeze(-1), grad.unsqueeze(-1))
    return torch.ops.aten._log_softmax_backward_data(zeros, kept, -1, kept.dtype)


def _logsumexp(logits: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    sums = torch.stack([torch.logsumexp(row, dim=-1) for row in logits])
    return logits.gather(-1, index.unsqueeze(-1)).squeeze(-1) - sums, sums


def _logsumexp_backward(logits, grad, sums, index):
    rows = zip(logits, grad, sums, strict=True)
    found = torch.stack([-g.unsqueeze(-1) * (row - s.unsqueeze(-1)).exp() for row, g, s in rows])
    return found.scatter_add_(-1, index.unsqueeze(-1), grad.unsqueeze(-1))


def _once(logits: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    found = [_log_softmax(row, own)[0] for row, own in zip(logits, index, strict=True)]
    return torch.stack(found)


def _entropy(logits: torch.Tensor) -> torch.Tensor:
    def of(chunk: torch.Tensor) -> torch.Tensor:
        logs = functional.log_softmax(chunk, dim=-1)
        return -(torch.exp(logs) * logs).sum(-1)

    return torch.cat([of(chunk) for chunk in logits.split(CHUNK)])


# ---- what it leaves on meta


def _two(logits, index):
    return logits.new_empty(index.shape), logits.new_empty(logits.shape)


def _two_sums(logits, index):
    return logits.new_empty(index.shape), logits.new_empty(index.shape)


for name, real, on_meta in (
    ("selective_log_softmax", _log_softmax, _two),
    ("selective_log_softmax_backward", _log_softmax_backward, lambda k, g, i: k.new_empty(k.shape)),
    ("selective_logsumexp", _logsumexp, _two_sums),
    ("selective_logsumexp_backward", _logsumexp_backward, lambda x, *_: x.new_empty(x.shape)),
    ("selective_log_softmax_once", _once, lambda x, i: x.new_empty(i.shape)),
    ("chunked_entropy", _entropy, lambda x: x.new_empty(x.shape[:-1])),
):
    for device in ("CPU", "CUDA"):
        _LIBRARY.impl(name, real, device)
    _LIBRARY.impl(name, on_meta, "Meta")


def _keep_logs(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(output[1], inputs[1])
    ctx.mark_non_differentiable(output[1])


def _gradient_of_logs(ctx: Any, grad: torch.Tensor, _: Any) -> tuple[torch.Tensor, None]:
    kept, index = ctx.saved_tensors
    return torch.ops.planner.selective_log_softmax_backward(kept, grad, index), None


def _keep_logits(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(inputs[0], output[1], inputs[1])
    ctx.mark_non_differentiable(output[1])


def _gradient_of_sums(ctx: Any, grad: torch.Tensor, _: Any) -> tuple[torch.Tensor, None]:
    logits, sums, index = ctx.saved_tensors
    return torch.ops.planner.selective_logsumexp_backward(logits, grad, sums, index), None


torch.library.register_autograd(
    "planner::selective_log_softmax", _gradient_of_logs, setup_context=_keep_logs, lib=_LIBRARY
)
torch.library.register_autograd(
    "planner::selective_logsumexp", _gradient_of_sums, setup_context=_keep_logits, lib=_LIBRARY
)
