"""Runs as a table for spreadsheets."""

from __future__ import annotations

from collections.abc import Iterable

from planner.ledger import export
from planner.ledger.record import RunRecord
from planner.report.formats.registry import Format


def render(records: Iterable[RunRecord]) -> str:
    """A row a run."""
    return export.as_csv(records)


FORMATS = (Format("runs", ".csv", render, order=10),)
