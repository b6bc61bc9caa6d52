"""Losses over a vocabulary, classes or targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from planner.operations import streams
from planner.operations.call import Call, Cost, names
from planner.operations.cases import Case, case
from planner.operations.kind import OperationKind, SuiteDevice
from planner.trace.table import ITEMSIZE

_STREAMED = names(
    "binary_cross_entropy binary_cross_entropy_backward binary_cross_entropy_with_logits "
    "mse_loss mse_loss_backward smooth_l1_loss "
    "smooth_l1_loss_backward huber_loss huber_loss_backward kl_div soft_margin_loss "
    "_ctc_loss _ctc_loss_backward "
    "_use_cudnn_ctc_loss _cudnn_ctc_loss"
)
#: (rows, classes).
_SIZES = (
    ((8, 2), (64, 1000), (256, 8000), (128, 30522), (64, 50257)),
    (
        (32, 2),
        (256, 1000),
        (512, 32000),
        (4096, 32000),
        (8192, 50257),
        (2048, 128256),
        (4096, 151936),
    ),
)


def _nll(call: Call) -> Cost:
    """Reads one log-probability for each target, not the table of them."""
    target = call.inputs[1]
    return Cost(call.numel(target), 2 * call.read(target), call.write_all)


def _nll_backward(call: Call) -> Cost:
    """Fills the gradient with zeros, then writes one element for each target."""
    return Cost(call.numel(call.inputs[2]), 2 * call.read(call.inputs[2]), call.write_all)


def _in_place(call: Call) -> Cost:
    """A fused loss reads the logits twice, for their sum of exponentials and for their gradient,
    which it writes in their place."""
    hidden, weight = call.inputs[:2]
    tokens = call.numel(hidden) / np.maximum(call.shape(hidden)[-1], 1)
    elements = tokens * call.shape(weight)[0]
    moved = elements * ITEMSIZE[hidden.dtype]
    return Cost(6 * elements, 2 * moved, moved)


def _suite(device: SuiteDevice) -> Iterator[Case]:
    plain: dict[str, Any] = {"ignore_index": -100, "reduction": 1}
    for dtype in device.plain_dtypes:
        for rows, width in device.sizes(*_SIZES):
            table, target, scalar = ((rows, width), dtype), ((rows,), "int64"), ((), dtype)
            yield case("aten.nll_loss_forward.default", [table, target], [scalar, scalar], **plain)
            yield case(
                "aten.nll_loss_backward.default",
                [scalar, table, target, scalar],
                [table],
                **plain,
            )


KIND = OperationKind(
    name="loss",
    place=60,
    formulas={
        **dict.fromkeys(_STREAMED, streams.touched_once),
        **dict.fromkeys(names("nll_loss_forward nll_loss2d_forward"), _nll),
        "planner.loss_in_place": _in_place,
        **dict.fromkeys(names("nll_loss_backward nll_loss2d_backward"), _nll_backward),
    },
    price=streams.price,
    terms=streams.named_terms,
    suite=_suite,
    weights={"": 1.0},
    fusable=True,
)
