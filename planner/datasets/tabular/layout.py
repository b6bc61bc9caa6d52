"""A table's columns as what is shown of any dataset."""

from __future__ import annotations

from collections.abc import Mapping

from planner.datasets.layout.column import VALUE, Column
from planner.datasets.layout.shape import Layout, Shape
from planner.datasets.tabular.columns import Cells


def layout_of(
    columns: Mapping[str, Cells], roles: Mapping[str, tuple[str, ...]], label: str | None = None
) -> Layout:
    """One shape without text. ``roles``: role → columns; ``label``: what is learnt."""
    shape = Shape("none", roles, label)
    judged = {
        path: Column(path, "", False, VALUE, cells.kind, cells.size, 1.0, cells.distinct)
        for path, cells in columns.items()
    }
    return Layout(judged, ((shape, 1.0),), lambda _filled: shape, ())
