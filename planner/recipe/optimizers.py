"""How scripts call the plan's optimizer, by rows of ``profiles/recipe_scripts/optimizers.csv``."""

from __future__ import annotations

import json
from typing import Any

from planner import tables
from planner.errors import FieldName, QuestionError
from planner.recipe.config import Key


def trainer_keys(name: str) -> tuple[Key | None, ...]:
    """For transformers' Trainer: its own name, else a class and its arguments. Raises QuestionError
    for an optimizer that no script has."""
    row = _row(name)
    if row["optim"]:
        return (Key("optim", row["optim"]),)
    return (
        Key("optimizer_class", row["class"], "in the place of the Trainer's optim"),
        Key("optimizer_arguments", _arguments(row)),
    )


def loop_keys(name: str) -> tuple[Key, ...]:
    """For a loop of plain torch. Raises QuestionError."""
    row = _row(name)
    if not row["class"]:
        raise _unknown(name)
    return Key("optimizer_class", row["class"]), Key("optimizer_arguments", _arguments(row))


def needs_bitsandbytes(name: str) -> bool:
    return _row(name)["class"].startswith("bitsandbytes") or name.startswith("lion")


def _arguments(row: dict[str, str]) -> dict[str, Any]:
    return json.loads(row["arguments"] or "{}")


def _row(name: str) -> dict[str, str]:
    rows = {row["optimizer"]: row for row in tables.rows("recipe_scripts", "optimizers.csv")}
    if name not in rows:
        raise _unknown(name)
    return rows[name]


def _unknown(name: str) -> QuestionError:
    known = [row["optimizer"] for row in tables.rows("recipe_scripts", "optimizers.csv")]
    return QuestionError(
        f"no script runs the optimizer {name}",
        where=FieldName("optimizer"),
        mend=f"Ask for {', '.join(known)}",
    )
