"""An answer as a flat table: a row an option, a column a figure with its unit in the name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.answer.limits import recommended_option
from planner.choose.sweep.flat import Row, figures


def rows(answer: Mapping[str, Any]) -> list[Row]:
    """All rows have the same columns; None where an option has no such figure."""
    best = recommended_option(answer)
    return [row(option) | {"recommended": option is best} for option in answer["options"]]


def row(option: Mapping[str, Any]) -> Row:
    """One option: what it is, then its figures."""
    named = ("strategy", "variant", "gpu", "gpus", "provider")
    return {name: option.get(name) for name in named} | figures(option)
