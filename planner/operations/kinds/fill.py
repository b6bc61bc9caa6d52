"""Memory filled with one number, or with numbers in a row."""

from __future__ import annotations

from collections.abc import Iterator

from planner.operations import streams
from planner.operations.call import Call, Cost, names
from planner.operations.cases import Case, case
from planner.operations.kind import OperationKind, SuiteDevice
from planner.trace.table import ITEMSIZE

_OPERATIONS = names(
    "zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full fill zero "
    "arange eye linspace scalar_tensor"
)


def _written(call: Call) -> Cost:
    return Cost(0.0, 0.0, call.write_all)


def _suite(device: SuiteDevice) -> Iterator[Case]:
    for dtype in device.plain_dtypes:
        for rows, width in device.sizes(*streams.PLANES):
            yield case("aten.zeros.default", [], [((1, rows, width), dtype)], dtype=dtype)
            if ITEMSIZE[dtype] == 4:
                yield case("aten.zeros.default", [], [((rows, width), "int64")], dtype="int64")
    for shape in device.sizes(*streams.IDS):
        ids = (shape, "int64")
        yield case("aten.full_like.default", [ids], [ids], fill_value=15)
    for samples, length in device.sizes(*streams.MASKS):
        square = ((samples, 1, length, length), "bool")
        yield case("aten.zeros.default", [], [square], dtype="bool")


KIND = OperationKind(
    name="fill",
    place=150,
    formulas=dict.fromkeys(_OPERATIONS, _written),
    price=streams.price,
    terms=streams.plain_terms,
    suite=_suite,
    weights={"": 0.7},
    fusable=True,
    writes_only=True,
)
