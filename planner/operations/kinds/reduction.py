"""Sums, means, extremes, sorts and pooling: many elements become few."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from planner.operations import streams
from planner.operations.bench import Bench, Run, Substitute
from planner.operations.call import Call, names
from planner.operations.cases import Case, case
from planner.operations.kind import Operation, OperationKind, SuiteDevice, Term

_OPERATIONS = names(
    "all any amax amin argmax argmin cumsum cumprod linalg_vector_norm logsumexp max mean "
    "median min norm prod std std_mean sum var var_mean "
    "nansum histc bincount count_nonzero topk sort argsort kthvalue mode cummax cummin "
    "_foreach_norm avg_pool1d avg_pool2d avg_pool2d_backward avg_pool3d "
    "avg_pool3d_backward max_pool2d_with_indices max_pool2d_with_indices_backward "
    "max_pool3d_with_indices max_pool3d_with_indices_backward "
    "adaptive_max_pool2d adaptive_max_pool2d_backward _adaptive_avg_pool2d "
    "_adaptive_avg_pool2d_backward _adaptive_avg_pool3d "
    "_adaptive_avg_pool3d_backward"
)
#: Those told apart by the dimensions they reduce; each of the others is a family of its own.
_BY_DIMENSION = "sum mean amax amin max min argmax argmin all any prod linalg_vector_norm".split()


def _terms(operation: Operation, _precision: str) -> list[Term]:
    name = operation.call.name.rstrip("_")
    return streams.term(operation, _reduced(operation.call) if name in _BY_DIMENSION else name)


def _reduced(call: Call) -> str:
    """``inner``: the last dimension; ``outer``: others, each column's sum; ``all``."""
    dim = call.signature.attr("dim")
    if dim is None or not call.inputs:
        return "all"
    dims, rank = dim if isinstance(dim, (tuple, list)) else (dim,), len(call.inputs[0].shape)
    if len(dims) in (0, rank):
        return "all"
    return "inner" if any(d in (-1, rank - 1) for d in dims) else "outer"


# ---- suite


def _suite(device: SuiteDevice) -> Iterator[Case]:
    for dtype in device.plain_dtypes:
        for rows, width in device.sizes(*streams.PLANES):
            yield from _on_planes(rows, width, dtype)
        for shape in device.sizes(*streams.IMAGES):
            yield from _on_images(shape, dtype)
    for shape in device.sizes(*streams.IDS):
        yield from _on_ids(shape)


def _on_planes(rows: int, width: int, dtype: str) -> Iterator[Case]:
    """Over the last dimension, over the others (a bias's gradient), over all."""
    plane = ((rows, width), dtype)
    yield case("aten.mean.dim", [plane], [((rows, 1), dtype)], dim=(-1,), keepdim=True)
    yield case("aten.sum.dim_IntList", [plane], [((1, width), dtype)], dim=(0,), keepdim=True)
    yield case("aten.sum.default", [plane], [((), dtype)])


def _on_images(shape: tuple[int, int, int], dtype: str) -> Iterator[Case]:
    """The means of squeeze-and-excitation, and pooling."""
    batch, channels, side = shape
    image, mean = ((batch, channels, side, side), dtype, "cl"), ((batch, channels, 1, 1), dtype)
    yield case("aten.mean.dim", [image], [mean], dim=(2, 3), keepdim=True)
    after = (side + 1) // 2
    pooled, places = (
        ((batch, channels, after, after), dtype, "cl"),
        ((batch, channels, after, after), "int64", "cl"),
    )
    plain: dict[str, Any] = {"kernel_size": (3, 3), "padding": (1, 1), "stride": (2, 2)}
    yield case("aten.max_pool2d_with_indices.default", [image], [pooled, places], **plain)
    yield case(
        "aten.max_pool2d_with_indices_backward.default",
        [pooled, image, places],
        [image],
        ceil_mode=False,
        dilation=(1, 1),
        **plain,
    )


def _on_ids(shape: tuple[int, int]) -> Iterator[Case]:
    ids, mask, short = (shape, "int64"), (shape, "bool"), (shape, "int32")
    yield case("aten.all.default", [mask], [((), "bool")])
    yield case("aten.cumsum.default", [mask], [ids], dim=-1)
    yield case("aten.cumsum.default", [short], [ids], dim=1)
    yield case("aten.argmax.default", [short], [((shape[0],), "int64")], dim=-1)


# ---- substitute


def _max_pool_backward(bench: Bench) -> Run:
    """With the places of the maxima that the forward pass finds."""
    import torch

    named = bench.bind().named
    grad, image = (bench.make(named[n]) for n in ("grad_output", "self"))
    window = [list(named[n]) for n in ("kernel_size", "stride", "padding", "dilation")] + [
        bool(named["ceil_mode"])
    ]
    _, places = torch.ops.aten.max_pool2d_with_indices.default(image, *window)
    return lambda: torch.ops.aten.max_pool2d_with_indices_backward.default(
        grad, image, *window, places
    )


KIND = OperationKind(
    name="reduction",
    place=90,
    formulas=dict.fromkeys(_OPERATIONS, streams.touched_once),
    price=streams.price,
    terms=_terms,
    suite=_suite,
    weights={"": 1.5},
    substitutes={"aten.max_pool2d_with_indices_backward": Substitute(_max_pool_backward)},
    fusable=True,
)
