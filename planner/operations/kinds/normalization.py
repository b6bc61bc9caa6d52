"""Normalisations over rows (layer norm, RMS norm, group norm) and over channels (batch norm)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.operations import rows, streams
from planner.operations.bench import Bench, Contents, Run, Slot, Substitute
from planner.operations.call import Call, Cost, Number, names
from planner.operations.cases import Case, case
from planner.operations.kind import Operation, OperationKind, Rates, SuiteDevice, Term

if TYPE_CHECKING:
    import torch

_OPERATIONS = [
    *names(
        "native_layer_norm native_layer_norm_backward native_group_norm "
        "native_group_norm_backward _fused_rms_norm _fused_rms_norm_backward rms_norm "
        "cudnn_batch_norm cudnn_batch_norm_backward _weight_norm_interface "
        "_weight_norm_interface_backward"
    ),
    *names("rms_norm rms_norm_backward", "planner"),
    # cuDNN's persistent kernels keep the image on chip between the statistics and their use: it is
    # read once.
    *names(
        "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_functional "
        "_native_batch_norm_legit_no_training "
        "_batch_norm_with_update _batch_norm_no_update _batch_norm_with_update_functional "
        "native_batch_norm_backward batch_norm_backward"
    ),
]
#: Layer norms as (samples, length, width).
_ROWS = (
    (
        (4, 16, 64),
        (4, 64, 128),
        (8, 64, 256),
        (4, 197, 192),
        (8, 128, 512),
        (4, 197, 768),
        (8, 128, 768),
        (4, 512, 1024),
    ),
    (
        (8, 64, 768),
        (8, 512, 768),
        (32, 197, 768),
        (8, 77, 512),
        (8, 1500, 768),
        (32, 512, 1024),
        (4, 2048, 2048),
        (1, 2048, 4096),
        (4, 2048, 4096),
        (8, 2048, 4096),
        (4, 4096, 8192),
        (2, 1024, 5120),
    ),
)
#: Batch norms as (samples, channels, side).
_IMAGES = (
    ((4, 16, 32), (4, 64, 28), (2, 32, 112), (8, 128, 14), (8, 320, 7), (4, 512, 7), (4, 96, 28)),
    (
        (64, 64, 112),
        (64, 256, 56),
        (64, 512, 28),
        (64, 1024, 14),
        (64, 2048, 7),
        (64, 32, 112),
        (64, 96, 112),
        (16, 512, 7),
        (8, 128, 28),
    ),
)
_GROUPED = (
    ((2, 64, 32), (2, 128, 16), (4, 32, 28), (1, 256, 16)),
    ((8, 320, 64), (8, 640, 32), (8, 1280, 16), (2, 128, 256)),
)
_GROUP_COUNT = 32


def _normalised(call: Call) -> Cost:
    return streams.touched_once(call)._replace(flops=8 * call.elements)


def _terms(operation: Operation, _precision: str) -> list[Term]:
    """Rows are normalised on their own: the last dimension's, or for a batch norm each
    channel's."""
    call = operation.call
    return rows.term(operation, _width(call), _form(call), streams.direction(call))


def _price(operation: Operation, device: Rates) -> Number:
    """Layer and RMS norms go row by row; batch norms stream a channel."""
    by_rows = _form(operation.call) in ("layer", "rms")
    issued = rows.issued(operation, device) if by_rows else 0.0
    return streams.price(operation, device, issued=issued)


def _form(call: Call) -> str:
    if "batch_norm" in call.name:
        training = call.signature.attr("training", call.signature.attr("train", True))
        return "batch_frozen" if training is False else "batch"
    return next((form for form in ("rms", "group") if form in call.name), "layer")


def _width(call: Call) -> Number:
    shape = call.signature.attr("normalized_shape")
    if shape:
        return float(np.prod(shape))
    if "batch_norm" in call.name:
        return call.shape(streams.largest(call))[1]
    return rows.last_dimension(call)


# ---- suite


def _suite(device: SuiteDevice) -> Iterator[Case]:
    """Forward and backward of every form in every type that tensors have."""
    for dtype in device.plain_dtypes:
        for shape in device.sizes(*_ROWS):
            yield from _layer_norms(shape, dtype)
            yield from _rms_norms(shape, dtype)
        for shape in device.sizes(*_IMAGES):
            for layout in ("cl", "c"):
                yield from _batch_norms(shape, layout, dtype)
        for shape in device.sizes(*_GROUPED):
            yield from _group_norms(shape, dtype)


def _layer_norms(shape: tuple[int, int, int], dtype: str) -> Iterator[Case]:
    x, width = (shape, dtype), shape[-1]
    weight, row = ((width,), dtype), ((*shape[:2], 1), "float32")
    yield case(
        "aten.native_layer_norm.default",
        [x, weight, weight],
        [x, row, row],
        normalized_shape=(width,),
        eps=1e-5,
    )
    yield case(
        "aten.native_layer_norm_backward.default",
        [x, x, row, row, weight, weight],
        [x, weight, weight],
        normalized_shape=(width,),
        output_mask=(True, True, True),
    )


def _rms_norms(shape: tuple[int, int, int], dtype: str) -> Iterator[Case]:
    x, weight, row = (shape, dtype), ((shape[-1],), dtype), ((*shape[:2], 1), "float32")
    yield case("planner.rms_norm.default", [x, weight], [x, row], shape=(shape[-1],))
    yield case(
        "planner.rms_norm_backward.default", [x, x, row, weight], [x, weight], wanted=(True, True)
    )


def _batch_norms(shape: tuple[int, int, int], layout: str, dtype: str) -> Iterator[Case]:
    """Statistics of the batch, as in training, and those kept, as in a frozen network; both
    gradients are of training."""
    batch, channels, side = shape
    x, each = ((batch, channels, side, side), dtype, layout), ((channels,), "float32")
    for training in (True, False):
        yield case(
            "aten.native_batch_norm.default",
            [x, each, each, each, each],
            [x, each, each],
            training=training,
            momentum=0.1,
            eps=1e-5,
        )
        yield case(
            "aten.native_batch_norm_backward.default",
            [x, x, *[each] * 5],
            [x, each, each],
            train=training,
            eps=1e-5,
            output_mask=(True, True, True),
        )


def _group_norms(shape: tuple[int, int, int], dtype: str) -> Iterator[Case]:
    batch, channels, side = shape
    x, each, group = (
        ((batch, channels, side, side), dtype),
        ((channels,), dtype),
        ((batch, _GROUP_COUNT), dtype),
    )
    plain: dict[str, Any] = {"N": batch, "C": channels, "HxW": side * side, "group": _GROUP_COUNT}
    yield case(
        "aten.native_group_norm.default", [x, each, each], [x, group, group], eps=1e-5, **plain
    )
    yield case(
        "aten.native_group_norm_backward.default",
        [x, x, group, group, each],
        [x, each, each],
        output_mask=(True, True, True),
        **plain,
    )


# ---- substitutes


def _rms_norm(bench: Bench) -> Run:
    from torch.nn import functional

    weighted = len(bench.case.signature.inputs) > 1
    tensors = bench.named("x weight" if weighted else "x")
    shape = list(bench.case.signature.attr("shape") or tensors["x"].shape[-1:])
    return lambda: functional.rms_norm(tensors["x"], shape, tensors.get("weight"))


def _rms_norm_backward(bench: Bench) -> Run:
    from torch.nn import functional

    signature = bench.case.signature
    weighted = len(signature.inputs) > 3
    grad, x, _, *weight = bench.named("grad x rstd weight" if weighted else "grad x rstd").values()
    gradients = tuple(signature.attr("wanted", (True, weighted)))
    wanted = [t.requires_grad_() for t, wish in zip((x, *weight), gradients) if wish]
    shape = list(weight[0].shape) if weight else list(x.shape[-1:])
    out = functional.rms_norm(x, shape, weight[0] if weight else None)
    return bench.backward_call(out, wanted, grad)


def _batch_norm_tensors(
    bench: Bench,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors or None by argument, every argument)."""
    named = dict(bench.bind().named)
    positive = ("running_var", "save_invstd")
    tensors = {
        n: bench.make(
            v,
            Contents("positive" if n in positive else "normal", written=n.startswith("running_")),
        )
        if isinstance(v, Slot)
        else None
        for n, v in named.items()
        if isinstance(v, Slot) or v is None
    }
    return tensors, named


def _normalise(tensors: dict[str, Any], named: dict[str, Any], training: bool) -> torch.Tensor:
    import torch

    return torch.batch_norm(
        tensors["input"],
        tensors.get("weight"),
        tensors.get("bias"),
        tensors.get("running_mean"),
        tensors.get("running_var"),
        training,
        float(named.get("momentum") or 0.1),
        float(named["eps"]),
        torch.backends.cudnn.enabled,
    )


def _batch_norm(bench: Bench) -> Run:
    """Through ``torch.batch_norm``, which picks cuDNN's kernel where it would in training."""
    tensors, named = _batch_norm_tensors(bench)
    return lambda: _normalise(tensors, named, bool(named["training"]))


def _batch_norm_backward(bench: Bench) -> Run:
    import torch

    tensors, named = _batch_norm_tensors(bench)
    mask, weight = list(named["output_mask"]), tensors.get("weight")
    tensors["bias"] = None if weight is None else torch.zeros_like(weight)
    with torch.enable_grad():
        wanted = [
            tensor.requires_grad_()
            for n, wish in zip(("input", "weight", "bias"), mask)
            if wish and (tensor := tensors.get(n)) is not None
        ]
        out = _normalise(tensors, named, bool(named["train"]))
    return bench.backward_call(out, wanted, tensors["grad_out"])


def _layer_norm_backward(bench: Bench) -> Run:
    """The processor keeps the statistics in the input's type, CUDA in float32: here they come from
    the forward pass."""
    import torch

    bound = bench.bind()
    named: dict[str, Any] = {
        n: bench.make(v) if isinstance(v, Slot) else v for n, v in bound.named.items()
    }
    shape = list(named["normalized_shape"])
    _, named["mean"], named["rstd"] = torch.native_layer_norm(
        named["input"], shape, named["weight"], named["bias"], 1e-5
    )
    return lambda: bound.overload(*named.values())


KIND = OperationKind(
    name="normalization",
    place=40,
    formulas=dict.fromkeys(_OPERATIONS, _normalised),
    price=_price,
    terms=_terms,
    suite=_suite,
    features=("rows", "width"),
    weights={"": 4.0, "rms": 0.7, "group": 0.5, "batch_frozen": 0.7},
    substitutes={
        "planner.rms_norm": Substitute(_rms_norm),
        "planner.rms_norm_backward": Substitute(_rms_norm_backward),
        "aten.native_batch_norm": Substitute(_batch_norm),
        "aten.native_batch_norm_backward": Substitute(_batch_norm_backward),
        "aten.native_layer_norm_backward": Substitute(_layer_norm_backward, on_host_only=True),
    },
    fusable=True,
)
