"""The optimizers that a question can name: rows of ``profiles/optimizers.csv``. No torch here; how
each is built stands in ``training/optimizers.py``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from planner import tables


@dataclass(frozen=True)
class OptimizerRow:
    """The names of one optimizer. ``recipe``: the one whose trace it has, by a recipe's name."""

    name: str
    asked_as: str
    recipe: str
    aliases: tuple[str, ...]
    classes: tuple[str, ...]
    bitsandbytes: str | None


@cache
def optimizer_rows() -> tuple[OptimizerRow, ...]:
    """Every row, in the order in which they are shown. Raises ProfileError."""
    return tuple(
        OptimizerRow(
            name=row["optimizer"],
            asked_as=row["asked_as"] or row["optimizer"],
            recipe=row["traced_as"] or row["optimizer"],
            aliases=tuple(row["aliases"].split()),
            classes=tuple(row["classes"].split()),
            bitsandbytes=row["bitsandbytes"] or None,
        )
        for row in tables.rows("optimizers.csv")
    )


def asked_names() -> tuple[str, ...]:
    """What a question may say."""
    return tuple(row.asked_as for row in optimizer_rows())


def asked_as(name: str) -> str:
    """A question's name for another tool's; itself where none is known."""
    return _aliases().get(name, name)


def recipe_names() -> dict[str, str]:
    """A question's name → a recipe's, of each optimizer."""
    return {row.asked_as: row.recipe for row in optimizer_rows()}


def asked_of_classes() -> dict[str, str]:
    """The lower-case name of an optimizer's class → a question's name."""
    return {name.lower(): row.asked_as for row in optimizer_rows() for name in row.classes}


def bitsandbytes_classes() -> dict[str, str]:
    """A recipe's name → the class of ``bitsandbytes.optim`` that runs it."""
    return {row.name: row.bitsandbytes for row in optimizer_rows() if row.bitsandbytes}


@cache
def _aliases() -> dict[str, str]:
    return {alias: row.asked_as for row in optimizer_rows() for alias in row.aliases}
