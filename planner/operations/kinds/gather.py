"""Elements picked by indices, and put back by them; regions of feature maps, and boxes that
suppress each other."""

from __future__ import annotations

from collections.abc import Iterator

from planner.operations import streams
from planner.operations.call import Call, Cost, names
from planner.operations.cases import Case, case
from planner.operations.kind import OperationKind, SuiteDevice

_READING = names(
    "index index_select gather take take_along_dim masked_select upsample_bilinear2d "
    "upsample_bicubic2d upsample_linear1d grid_sampler_2d nonzero "
    "_upsample_bilinear2d_aa _upsample_bicubic2d_aa one_hot"
)
_WRITING = names(
    "index_put _index_put_impl index_add index_copy index_fill scatter scatter_add "
    "scatter_reduce masked_scatter "
    "upsample_bilinear2d_backward upsample_bicubic2d_backward upsample_nearest2d_backward "
    "upsample_linear1d_backward "
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


#: Places of a feature map that one sampled point of a region lies between.
CORNERS = 4
#: Arithmetic on a pair of boxes for its overlap (``nms_kernel.cu``: devIoU), each a bit of a table.
PAIR_FLOPS, BITS_PER_BYTE = 14, 8


def _nonzero(call: Call) -> Cost:
    """Counts, then writes where: two passes over the mask."""
    return Cost(0.0, 2 * call.read_all, call.write_all)


def _samples(call: Call) -> float:
    """Points sampled in each cell; as many as pixels lie in it where the number is left open, taken
    as one."""
    return float(max(1, call.signature.attr("samples", 1)) ** 2)


def _regions(call: Call) -> Cost:
    """``roi_align_kernel.cu``: every cell is a mean of sampled points, each between four places."""
    touched = CORNERS * _samples(call) * call.write_all
    return Cost(2 * CORNERS * _samples(call) * call.elements, touched, call.write_all)


def _regions_backward(call: Call) -> Cost:
    """Fills the gradient with zeros, then adds to four places a sampled point."""
    grad = call.inputs[0]
    touched = CORNERS * _samples(call) * call.read(grad)
    flops = 2 * CORNERS * _samples(call) * call.numel(grad)
    return Cost(flops, call.read(grad) + touched, call.write_all + touched)


def _suppressed(call: Call) -> Cost:
    """Every pair of an image's boxes once, and a bit for each in a table that is then walked."""
    boxes = call.shape(call.inputs[0])
    pairs = boxes[0] * boxes[1] ** 2 / 2
    table = 2 * pairs / BITS_PER_BYTE
    return Cost(PAIR_FLOPS * pairs, call.read_all + table, call.write_all + table)


_OF_BOXES = {
    "planner.nonzero": _nonzero,
    "planner.nms": _suppressed,
    "planner.roi_align": _regions,
    "planner.roi_align_backward": _regions_backward,
    "planner.assignment": streams.touched_once,
}


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
    formulas={**dict.fromkeys(_READING, _gather), **dict.fromkeys(_WRITING, _scatter), **_OF_BOXES},
    price=streams.price,
    terms=streams.named_terms,
    suite=_suite,
    weights={"": 0.5},
)
