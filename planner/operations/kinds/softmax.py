"""Softmax over rows: attention's probabilities and vocabularies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.operations import rows, streams
from planner.operations.call import Call, Cost, Formula, Number, names
from planner.operations.cases import Case, case
from planner.operations.kind import Operation, OperationKind, Rates, SuiteDevice, Term

#: (rows, width).
_SIZES = (
    (
        (64, 32),
        (512, 64),
        (2048, 128),
        (4 * 3 * 197, 197),
        (4096, 512),
        (64, 1000),
        (128, 8000),
        (128, 30522),
        (32, 50257),
    ),
    (
        (64 * 12 * 50, 50),
        (8 * 12 * 128, 128),
        (8 * 12 * 512, 512),
        (32 * 12 * 197, 197),
        (32 * 1024, 1024),
        (32 * 2048, 2048),
        (64, 1000),
        (512, 32000),
        (4096, 32000),
        (4096, 50257),
        (2048, 128256),
        (4096, 151936),
        (8192, 128256),
        (64, 2),
    ),
)


def _softmax(call: Call) -> Cost:
    return streams.touched_once(call)._replace(flops=5 * call.elements)


def _safe_softmax(call: Call) -> Cost:
    """A softmax, a comparison, a reduction of its booleans, and a selection: four kernels on
    CUDA."""
    booleans = call.numel(call.outputs[0])
    return Cost(
        8 * call.elements,
        2 * call.read_all + call.write_all + booleans,
        2 * call.write_all + booleans,
    )


def _passes(reads: int, writes: int, flops: int) -> Formula:
    """Of so many passes over a tensor of a vocabulary's width, the first operand: what the turns of
    a loop over its rows (``training/log_probabilities.py``) move all together."""

    def cost(call: Call) -> Cost:
        table = call.inputs[0]
        moved = call.read(table)
        return Cost(flops * call.numel(table), reads * moved, writes * moved)

    return cost


def _terms(operation: Operation, _precision: str) -> list[Term]:
    call = operation.call
    width = rows.last_dimension(call)
    return rows.term(operation, width, streams.direction(call))


def _price(operation: Operation, device: Rates) -> Number:
    """Rows up to ``narrow_width`` stay in registers and are read once; wider ones are read again
    (PersistentSoftmax.cuh)."""
    call = operation.call
    width = call.shape(call.inputs[0])[-1] if call.inputs and call.inputs[0].shape else call.zero
    share = np.where(
        width <= device.parameter("softmax", "narrow_width"),
        device.parameter("softmax", "narrow_share"),
        device.parameter("softmax", "bandwidth_share"),
    )
    wide = width > device.parameter("softmax", "narrow_width")
    issued = np.where(wide, rows.issued(operation, device), 0.0)
    return streams.price(operation, device, share, issued)


def _suite(device: SuiteDevice) -> Iterator[Case]:
    for dtype in device.plain_dtypes:
        for shape in device.sizes(*_SIZES):
            x = (shape, dtype)
            for name in ("_softmax", "_log_softmax"):
                yield case(f"aten.{name}.default", [x], [x], dim=-1, half_to_float=False)
                yield case(
                    f"aten.{name}_backward_data.default", [x, x], [x], dim=-1, input_dtype=dtype
                )


KIND = OperationKind(
    name="softmax",
    place=50,
    formulas={
        **dict.fromkeys(
            names("_softmax _softmax_backward_data _log_softmax _log_softmax_backward_data"),
            _softmax,
        ),
        "aten._safe_softmax": _safe_softmax,
        "planner.selective_log_softmax": _passes(1, 1, 5),
        "planner.selective_log_softmax_once": _passes(1, 1, 5),
        # zeros with one place filled, the softmax's gradient, and a copy that joins the rows
        "planner.selective_log_softmax_backward": _passes(3, 3, 5),
        # the largest, what each is below it, its exponential, their sum
        "planner.selective_logsumexp": _passes(4, 2, 4),
        # difference, exponential, product, the rows joined, zeros with one place filled, their sum
        "planner.selective_logsumexp_backward": _passes(6, 6, 5),
        # logarithms, exponentials, products, sums
        "planner.chunked_entropy": _passes(5, 3, 8),
    },
    price=_price,
    terms=_terms,
    suite=_suite,
    features=("rows", "width"),
    weights={"": 6.0},
    fusable=True,
)
