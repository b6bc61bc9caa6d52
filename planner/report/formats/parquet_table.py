"""Runs as a Parquet table."""

from __future__ import annotations

from collections.abc import Iterable

from planner.ledger import export
from planner.ledger.record import RunRecord
from planner.report.formats.registry import Format


def render(records: Iterable[RunRecord]) -> bytes:
    """A row a run. Raises MissingExtraError without pyarrow."""
    return export.as_parquet(records)


FORMATS = (Format("runs", ".parquet", render, order=20),)
