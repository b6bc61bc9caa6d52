"""Rows looked up in a table, and their gradients added to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.operations import streams
from planner.operations.call import Call, Cost
from planner.operations.cases import Case, case
from planner.operations.kind import Operation, OperationKind, SuiteDevice, Term

#: (samples, length, width, vocabulary).
_SIZES = (
    (
        (8, 64, 128, 30522),
        (4, 128, 256, 8000),
        (8, 128, 768, 512),
        (2, 64, 64, 1000),
        (16, 128, 512, 30522),
        (1, 256, 768, 50257),
        (8, 64, 768, 2),
    ),
    (
        (8, 128, 768, 30522),
        (32, 512, 768, 30522),
        (8, 512, 768, 512),
        (4, 1024, 2048, 32000),
        (1, 2048, 4096, 128256),
        (8, 1024, 4096, 128256),
        (4, 1024, 896, 151936),
        (32, 512, 768, 2),
        (8, 448, 768, 51865),
    ),
)


def _embedding(call: Call) -> Cost:
    return Cost(0.0, call.write_all + call.read(*call.inputs[1:]), call.write_all)


def _embedding_backward(call: Call) -> Cost:
    """Fills the table's gradient with zeros and adds the rows of the batch to it (the indices are
    sorted first)."""
    rows = call.read(*call.inputs[:1])
    return Cost(
        call.numel(call.inputs[0]),
        2 * rows + 4 * call.read(*call.inputs[1:]),
        call.write_all + rows,
    )


def _terms(operation: Operation, _precision: str) -> list[Term]:
    call = operation.call
    gradient, table = (
        (call.inputs[0], call.outputs[0]) if call.is_backward else (call.outputs[0], call.inputs[0])
    )
    width = call.shape(gradient)[-1]
    return [
        Term(
            f"{operation.kind.name}.{streams.direction(call)}.{gradient.dtype}",
            (call.numel(gradient) / np.maximum(width, 1), width, call.shape(table)[0]),
            operation.flops,
            operation.bytes,
        )
    ]


def _suite(device: SuiteDevice) -> Iterator[Case]:
    for dtype in device.plain_dtypes:
        for batch, length, width, vocabulary in device.sizes(*_SIZES):
            table, rows = ((vocabulary, width), dtype), ((batch, length), "int64")
            found = ((batch, length, width), dtype)
            yield case("aten.embedding.default", [table, rows], [found], padding_idx=-1)
            yield case(
                "aten.embedding_dense_backward.default",
                [found, rows],
                [table],
                num_weights=vocabulary,
                padding_idx=-1,
                scale_grad_by_freq=False,
            )


KIND = OperationKind(
    name="embedding",
    place=70,
    formulas={
        "aten.embedding": _embedding,
        "aten.embedding_dense_backward": _embedding_backward,
    },
    price=streams.price,
    terms=_terms,
    suite=_suite,
    features=("rows", "width", "vocabulary"),
    weights={"": 2.0},
)
