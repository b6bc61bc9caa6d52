"""Which decoders hand-written kernels are there for: rows of ``profiles/models/kernels.csv``. No
torch here; the kernels stand in ``training/savings``."""

from __future__ import annotations

from functools import cache

from planner import tables

#: The part that is fused with the head.
LOSS = "loss"
UNSLOTH = "unsloth"


@cache
def families(kernels: str) -> dict[str, frozenset[str]]:
    """Model type → the parts that the library has kernels for."""
    rows = tables.rows("models", "kernels.csv")
    return {
        row["model_type"]: frozenset(row["parts"].split())
        for row in rows
        if row["kernels"] == kernels
    }
