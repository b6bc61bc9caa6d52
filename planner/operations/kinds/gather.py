"""Elements picked by indices, and put back by them."""

from __future__ import annotations

from collections.abc import Iterator

from planner.operations import streams
from planner.operations.call import Call, Cost, names
from planner.operations.cases import Case, case
from planner.operations.kind import OperationKind, SuiteDevice

_READING = names(
    "index index_select gather take take_along_dim masked_select upsample_bilinear2d "
    "upsample_bicubic2d grid_sampler_2d nonzero "
    "_upsample_bilinear2d_aa _upsample_bicubic2d_aa one_hot"
)
_WRITING = names(
    "index_put _index_put_impl index_add index_copy index_fill scatter scatter_add "
    "scatter_reduce masked_scatter "
    "upsample_bilinear2d_backward upsample_bicubic2d_backward upsample_nearest2d_backward "
    "grid_sampler_2d_backward"
)


def _gather(call: Call) -> Cost:
    """Reads the indices and as many bytes of the table as come out."""
    return Cost(0.0, call.write_all + call.read(*call.inputs[1:]), call.write_all)


def _scatter(call: Call) -> Cost:
    """Reads the indices and the values; reads and writes as many places. The out-of-place form
    copies the table first."""
    moved = call.read(*call.inputs[1:])
    table = 0.0 if call.name.endswith("_") else call.write_all
    return Cost(0.0, moved + table, moved + table)


def _suite(device: SuiteDevice) -> Iterator[Case]:
    for dtype in device.plain_dtypes:
        for rows, width in device.sizes(*streams.PLANES):
            table, chosen = ((rows, width), dtype), ((rows,), "int64")
            yield case("aten.index.Tensor", [table, chosen], [table])
            yield case("aten.index_put.default", [table, chosen, table], [table], accumulate=True)
    for batch, length in device.sizes(*streams.IDS):
        ids = ((batch, length), "int64")
        yield case("aten.gather.default", [((batch, 2 * length), "int64"), ids], [ids], dim=1)


KIND = OperationKind(
    name="gather",
    place=110,
    formulas={**dict.fromkeys(_READING, _gather), **dict.fromkeys(_WRITING, _scatter)},
    price=streams.price,
    terms=streams.named_terms,
    suite=_suite,
    weights={"": 0.5},
)
