"""Copies: casts, clones, joins, and gradients of slices put back into zeros."""

from __future__ import annotations

from collections.abc import Iterator

from planner.operations import streams
from planner.operations.call import Call, Cost, names
from planner.operations.cases import Case, case
from planner.operations.kind import Operation, OperationKind, SuiteDevice, Term

_PLAIN = names(
    "_to_copy clone contiguous cat stack repeat roll flip pixel_shuffle pixel_unshuffle "
    "repeat_interleave _cat im2col col2im "
    "upsample_nearest2d upsample_nearest1d unfold_backward reflection_pad1d "
    "reflection_pad2d replication_pad2d "
    "lift_fresh_copy diagonal_copy tril_indices resolve_conj as_strided_copy channel_shuffle "
    "split_with_sizes_copy _chunk_cat"
)
_INTO_ZEROS = names(
    "slice_backward select_backward constant_pad_nd diagonal_backward new_zeros_and_copy "
    "slice_scatter select_scatter as_strided_scatter"
)
#: The other types that a plane is cast to.
_CASTS = {
    "float32": ("bfloat16", "float16"),
    "bfloat16": ("float32",),
    "float16": ("float32",),
}


def _into_zeros(call: Call) -> Cost:
    return Cost(0.0, call.read_all, call.write_all + call.read_all)


def _copy(call: Call) -> Cost:
    """``copy_(self, source)``: the destination is an operand but is not read."""
    return Cost(0.0, call.read(*call.inputs[-1:]), call.write_all)


def _terms(operation: Operation, _precision: str) -> list[Term]:
    call = operation.call
    form = "cast" if call.name.rstrip("_") == "_to_copy" else "plain"
    return streams.term(operation, form, streams.contiguity(call))


# ---- suite


def _suite(device: SuiteDevice) -> Iterator[Case]:
    for dtype in device.plain_dtypes:
        for rows, width in device.sizes(*streams.PLANES):
            yield from _on_planes(rows, width, dtype)
        for shape in device.sizes(*streams.HEADS):
            yield from _on_heads(shape, dtype)
    for shape in device.sizes(*streams.IDS):
        yield from _on_ids(shape)
    for samples, length in device.sizes(*streams.MASKS):
        square = (samples, 1, length, length)
        yield case(
            "aten._to_copy.default", [(square, "bool")], [(square, "float32")], dtype="float32"
        )


def _on_planes(rows: int, width: int, dtype: str) -> Iterator[Case]:
    plane = ((1, rows, width), dtype)
    for other in _CASTS.get(dtype, ()):
        yield case("aten._to_copy.default", [plane], [((1, rows, width), other)], dtype=other)
    yield case("aten.clone.default", [plane], [plane])
    yield case("aten.cat.default", [plane, plane], [((1, rows, 2 * width), dtype)], dim=2)
    if rows > 1:
        yield case(
            "aten.select_backward.default",
            [((rows, width), dtype)],
            [((rows, 8, width), dtype)],
            dim=1,
            index=0,
        )


def _on_heads(shape: tuple[int, int, int, int], dtype: str) -> Iterator[Case]:
    """The copies around attention work on exchanged dimensions."""
    batch, length, heads, width = shape
    seen, lies = ((batch, heads, length, width), dtype, "s"), ((batch, heads, length, width), dtype)
    half = ((batch, heads, length, width // 2), dtype, "s")
    other = "bfloat16" if dtype == "float32" else "float32"
    yield case(
        "aten.clone.default",
        [((batch, length, heads, width), dtype, "s")],
        [((batch, length, heads, width), dtype)],
    )
    yield case("aten.cat.default", [half, half], [lies], dim=-1)
    yield case(
        "aten.slice_backward.default",
        [half],
        [lies],
        dim=3,
        start=width // 2,
        end=9223372036854775807,
        step=1,
    )
    yield case(
        "aten._to_copy.default", [seen], [((batch, heads, length, width), other, "s")], dtype=other
    )


def _on_ids(shape: tuple[int, int]) -> Iterator[Case]:
    batch, length = shape
    ids, mask, short = (shape, "int64"), (shape, "bool"), (shape, "int32")
    yield case("aten.clone.default", [ids], [ids])
    yield case("aten._to_copy.default", [ids], [short], dtype="int32")
    yield case("aten._to_copy.default", [mask], [short], dtype="int32")
    yield case("aten._to_copy.default", [short], [ids], dtype="int64")
    yield case(
        "aten.constant_pad_nd.default",
        [ids],
        [((batch, length + 1), "int64")],
        pad=(0, 1),
        value=-100.0,
    )
    yield case("aten.clone.default", [(shape, "int64", "s")], [ids])


KIND = OperationKind(
    name="copy",
    place=100,
    formulas={
        **dict.fromkeys(_PLAIN, streams.moved),
        **dict.fromkeys(_INTO_ZEROS, _into_zeros),
        "aten.copy": _copy,
    },
    price=streams.price,
    terms=_terms,
    suite=_suite,
    weights={"": 4.0},
    fusable=True,
    shows="bandwidth",
)
