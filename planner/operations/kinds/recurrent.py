"""Recurrent layers as one call: every layer, direction and time step of an LSTM, GRU or plain
network.

The products with the inputs of all time steps are one product a layer; those with the state follow
each other, time step after time step, with layers and directions side by side (Appleyard et al.
2016, arXiv 1604.01946, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from planner.operations import streams
from planner.operations.bench import Bench, Run, Substitute
from planner.operations.call import Call, Cost, Number
from planner.operations.cases import Case, case
from planner.operations.kind import Operation, OperationKind, Rates, SuiteDevice, Term

if TYPE_CHECKING:
    import torch

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
_KEPT = {"lstm": 6, "gru": 5, "rnn_tanh": 1, "rnn_relu": 1}
#: The gradients of the inputs and of the weights: two products where the forward pass makes one.
_BACKWARD = 2
#: (time steps, samples, inputs, hidden, layers).
_SIZES = (
    ((32, 8, 64, 64, 1), (64, 16, 128, 128, 2), (100, 32, 300, 256, 1), (24, 64, 40, 40, 2)),
    (
        (128, 32, 300, 256, 2),
        (128, 64, 512, 512, 2),
        (256, 32, 1024, 1024, 3),
        (48, 128, 40, 40, 2),
    ),
)


class _Shape(NamedTuple):
    """Of one call; ``cells``: layers × directions; ``outputs``: gates × hidden."""

    steps: Number
    samples: Number
    inputs: int
    hidden: int
    outputs: int
    cells: int
    layers: int


def _shape(call: Call) -> _Shape:
    attr = call.signature.attr
    # the first operand of either pass, the input or the gradient of what came out: others of its
    # shape may be counted with it
    first, second = call.shape(call.inputs[0])[:2]
    steps, samples = (second, first) if attr("batch_first") else (first, second)
    hidden, layers = int(attr("hidden")), int(attr("layers"))
    inputs = int(attr("width"))
    cells = layers * (2 if attr("bidirectional") else 1)
    outputs = _GATES[str(attr("mode"))] * hidden
    return _Shape(steps, samples, inputs, hidden, outputs, cells, layers)


# ---- formulas


def _products(call: Call) -> Number:
    """2·T·B a weight of a matrix, of every layer and direction; biases are added by the same
    kernels."""
    shape = _shape(call)
    rows = shape.steps * shape.samples
    matrices = [o for o in call.inputs if len(o.shape) == 2]
    return 2 * rows * sum(call.numel(o) * o.count for o in matrices)


def _rnn(call: Call) -> Cost:
    return Cost(_products(call), call.read_all, call.write_all)


def _rnn_backward(call: Call) -> Cost:
    return Cost(_BACKWARD * _products(call), call.read_all, call.write_all)


# ---- family and price


def _terms(operation: Operation, _precision: str) -> list[Term]:
    call, shape = operation.call, _shape(operation.call)
    mode, dtype = call.signature.attr("mode"), call.inputs[0].dtype
    features = (
        shape.steps + call.zero,
        shape.samples + call.zero,
        shape.hidden + call.zero,
        shape.cells + call.zero,
    )
    name = f"{operation.kind.name}.{streams.direction(call)}.{mode}.{dtype}"
    return [Term(name, features, operation.flops, operation.bytes)]


def _price(operation: Operation, device: Rates) -> Number:
    """All inputs at once, then the steps in order: a step of the first layer can run beside the
    step before it of the second, so that layers add their number once."""
    call, shape = operation.call, _shape(operation.call)
    times = _BACKWARD if call.is_backward else 1
    element = call.bytes(call.inputs[0]) / np.maximum(call.numel(call.inputs[0]), 1)
    rows = shape.steps * shape.samples
    own = (shape.hidden * (shape.cells // shape.layers), shape.layers - 1)
    inputs = _product(device, call, (1, rows, shape.outputs, shape.inputs), element)
    inputs = inputs * (shape.cells // shape.layers)
    if own[1]:
        deeper = _product(device, call, (1, rows, shape.outputs, own[0]), element)
        inputs = inputs + deeper * (shape.cells - shape.cells // shape.layers)
    one = _product(device, call, (shape.cells, shape.samples, shape.outputs, shape.hidden), element)
    steps = shape.steps + shape.layers - 1
    memory = device.memory_seconds(operation.bytes, device.parameter("any", "bandwidth_share"))
    return np.maximum(times * (inputs + steps * one), memory)


def _product(
    device: Rates, call: Call, sizes: tuple[Number, Number, Number, Number], element: Number
) -> np.ndarray:
    batch, m, n, k = sizes
    peak = device.peak(call.inputs[0].dtype)
    return device.product_seconds(
        sizes,
        moved_bytes=batch * (m * k + k * n + m * n) * element,
        flops_per_s=peak.flops_per_s,
        unit=device.unit(peak.tensor),
    )


# ---- suite


def _suite(device: SuiteDevice) -> Iterator[Case]:
    for dtype in device.plain_dtypes:
        for sizes in device.sizes(*_SIZES):
            for mode in ("lstm", "gru"):
                yield from _pair(mode, sizes, dtype)


def _pair(mode: str, sizes: tuple[int, ...], dtype: str) -> Iterator[Case]:
    steps, samples, inputs, hidden, layers = sizes
    gates = _GATES[mode] * hidden
    x, out = ((steps, samples, inputs), dtype), ((steps, samples, hidden), dtype)
    state = [((layers, samples, hidden), dtype)] * (2 if mode == "lstm" else 1)
    weights = [
        part
        for layer in range(layers)
        for part in (
            ((gates, hidden if layer else inputs), dtype),
            ((gates, hidden), dtype),
            ((gates,), dtype),
            ((gates,), dtype),
        )
    ]
    kept = ((layers, steps, samples, _KEPT[mode] * hidden), dtype)
    how = {
        "mode": mode,
        "width": inputs,
        "hidden": hidden,
        "layers": layers,
        "bidirectional": False,
        "batch_first": False,
        "dropout": 0.0,
    }
    yield case("planner.rnn.default", [x, *state, *weights], [out, *state, kept], **how)
    yield case(
        "planner.rnn_backward.default",
        [out, x, *state, *weights, out, kept],
        [x, *state, *weights],
        **how,
    )


# ---- substitutes


def _module(bench: Bench, x: torch.Tensor) -> torch.nn.Module:
    import torch

    attr = bench.case.signature.attr
    mode = str(attr("mode"))
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.get(mode, torch.nn.RNN)
    made = kind(
        x.shape[-1],
        int(attr("hidden", 1)),
        int(attr("layers", 1)),
        batch_first=bool(attr("batch_first")),
        bidirectional=bool(attr("bidirectional")),
        **({"nonlinearity": mode.removeprefix("rnn_")} if kind is torch.nn.RNN else {}),
    )
    return made.to(device=x.device, dtype=x.dtype)


def _run_forward(bench: Bench) -> Run:
    x = bench.named("x")["x"]
    module = _module(bench, x)
    return lambda: module(x)


def _run_backward(bench: Bench) -> Run:
    tensors = bench.named("grad x")
    x = tensors["x"].requires_grad_()
    module = _module(bench, x)
    wanted = [x, *module.parameters()]
    return bench.backward_call(module(x)[0], wanted, tensors["grad"])


KIND = OperationKind(
    name="recurrent",
    place=25,
    formulas={"planner.rnn": _rnn, "planner.rnn_backward": _rnn_backward},
    price=_price,
    terms=_terms,
    suite=_suite,
    features=("steps", "samples", "hidden", "cells"),
    substitutes={
        "planner.rnn": Substitute(_run_forward),
        "planner.rnn_backward": Substitute(_run_backward),
    },
    model_work=True,
)
