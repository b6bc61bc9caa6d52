"""LSTMs, GRUs and plain recurrent networks as CUDA runs them: all time steps and layers in one call
of cuDNN, where meta would decompose them into an operation a time step.

Shapes follow ``aten/src/ATen/native/cudnn/RNN.cpp``: a batch-first input is transposed and copied
in either pass, what comes out is time-major, and the weights' gradients are one buffer. Its reserve
(what the forward pass keeps for the backward pass) and its workspace have no published size:
``cudnnGetRNNTempSpaceSizes`` says them on a device. Taken here is what the backward pass cannot do
without (Appleyard et al. 2016, arXiv 1604.01946): of every layer, direction and time step the
gates, the hidden state and, of an LSTM, the cell state. Import this module only where torch is
wanted.
"""

from __future__ import annotations

import torch

#: Tensors of one step's size that are kept, by mode: gates, the hidden state, an LSTM's cell state,
#: and of a GRU the recurrent part of its candidate.
KEPT = {"lstm": 6, "gru": 5, "rnn_tanh": 1, "rnn_relu": 1}
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
SAID = (
    "recurrent layers run as one cuDNN call; what it keeps for the backward pass is taken as its "
    "gates and states, as cuDNN publishes no size"
)

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define(
    "rnn(Tensor x, Tensor h, Tensor? c, Tensor[] weights, str mode, int width, int hidden, "
    "int layers, bool bidirectional, bool batch_first, float dropout) -> "
    "(Tensor, Tensor, Tensor, Tensor)"
)
_LIBRARY.define(
    "rnn_backward(Tensor grad, Tensor x, Tensor h, Tensor? c, Tensor[] weights, Tensor out, "
    "Tensor reserve, str mode, int width, int hidden, int layers, bool bidirectional, "
    "bool batch_first, float dropout) -> (Tensor, Tensor, Tensor, Tensor[])"
)


def _sizes(x: torch.Tensor, batch_first: bool) -> tuple[int, int]:
    """(time steps, samples)."""
    return (x.shape[1], x.shape[0]) if batch_first else (x.shape[0], x.shape[1])


def _rnn_meta(x, h, c, weights, mode, width, hidden, layers, bidirectional, batch_first, dropout):
    steps, samples = _sizes(x, batch_first)
    ways = 2 if bidirectional else 1
    given = h.shape[-1]  # a projected LSTM's is not ``hidden``
    out = x.new_empty(steps, samples, ways * given)
    kept = x.new_empty(layers * ways, steps, samples, KEPT[mode] * hidden)
    cell = torch.empty_like(c) if c is not None else x.new_empty(0)
    return out.transpose(0, 1) if batch_first else out, torch.empty_like(h), cell, kept


def _rnn_backward_meta(grad, x, h, c, weights, out, reserve, *_rest):
    """The weights' gradients lie in one buffer, as the weights do."""
    flat = x.new_empty(sum(w.numel() for w in weights))
    parts = torch.split(flat, [w.numel() for w in weights])
    return (
        torch.empty_like(x, memory_format=torch.contiguous_format),
        torch.empty_like(h),
        torch.empty_like(c) if c is not None else h.new_empty(0),
        [part.view(w.shape) for part, w in zip(parts, weights)],
    )


def _save(ctx, inputs, output):
    x, h, c, weights, *ctx.how = inputs
    ctx.has_cell = c is not None
    ctx.set_materialize_grads(False)  # nobody fills what the kept states have no gradient for
    ctx.save_for_backward(x, h, c, output[0], output[3], *weights)


def _gradient(ctx, grad, *_others):
    x, h, c, out, reserve, *weights = ctx.saved_tensors
    if grad is None:
        grad = torch.zeros_like(out)
    dx, dh, dc, dweights = torch.ops.planner.rnn_backward(
        grad, x, h, c, weights, out, reserve, *ctx.how
    )
    return dx, dh, dc if ctx.has_cell else None, dweights, *(None for _ in ctx.how)


_LIBRARY.impl("rnn", _rnn_meta, "Meta")
_LIBRARY.impl("rnn_backward", _rnn_backward_meta, "Meta")
torch.library.register_autograd("planner::rnn", _gradient, setup_context=_save, lib=_LIBRARY)


def scratch_of(tensors: list[torch.Tensor], backward: bool) -> list[tuple[tuple[int, ...], int]]:
    """The copy of a transposed input that cuDNN reads, in either pass."""
    x = tensors[1 if backward else 0]
    return [(tuple(x.shape), x.element_size())]


def run(mode: str, args: tuple) -> tuple | None:
    """``torch.lstm(input, hx, weights, biases, layers, dropout, train, bidirectional,
    batch_first)`` and its like as one kernel; None where it is called otherwise (packed lengths) or
    not on meta."""
    if len(args) != 9 or not isinstance(args[0], torch.Tensor) or not args[0].is_meta:
        return None
    x, state, weights, _biases, layers, dropout, train, bidirectional, batch_first = args
    h, c = state if mode == "lstm" else (state, None)
    kept = float(dropout) if train else 0.0
    hidden = weights[1].shape[1] if mode != "lstm" else weights[0].shape[0] // GATES["lstm"]
    out, last, cell, _ = torch.ops.planner.rnn(
        x, h, c, list(weights), mode, x.shape[-1], hidden, layers, bidirectional, batch_first, kept
    )
    return (out, last, cell) if mode == "lstm" else (out, last)
