"""Operations that no kind lists: priced by the bytes of their operands, and named as a share of
their own. Nothing says which cases would measure them."""

from __future__ import annotations

from planner.operations import streams
from planner.operations.kind import OperationKind

KIND = OperationKind(
    name="unmodelled",
    place=180,
    formulas={},
    prefixes={"": streams.touched_once},
    price=streams.price,
    terms=streams.plain_terms,
    suite=None,
)
