"""The rows of ``profiles/defaults/training.csv``: our choices where no recipe is published."""

from __future__ import annotations

from functools import cache

from planner import tables
from planner.errors import ProfileError


@cache
def default(key: str, *scopes: str) -> tuple[float, str]:
    """(value, source) of the first row that matches: a strategy, a task, any. Raises ProfileError
    when there is none."""
    rows = [row for row in tables.rows("defaults", "training.csv") if row["key"] == key]
    for scope in (*scopes, "any"):
        for row in rows:
            if row["scope"] == scope:
                return float(row["value"]), row["source"]
    raise ProfileError(f"no default for {key}", where="profiles/defaults/training.csv")
