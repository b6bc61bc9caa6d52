"""The optimizers that a question can name: rows of ``profiles/optimizers.csv``. No torch here; how
each is built stands in ``training/optimizers.py``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from planner import tables


@dataclass(frozen=True)
class OptimizerRow:
    """One optimizer. ``recipe``: the one whose trace it has, by a recipe's name.
    ``library_class``: the dotted class that is recorded and run, with ``options``; ``run_by``: that
    of a library for CUDA that a real run takes. ``in_backward``: it updates each weight inside the
    backward pass. ``left_out``: what no estimate of it holds."""

    name: str
    asked_as: str
    recipe: str
    aliases: tuple[str, ...]
    classes: tuple[str, ...]
    library_class: str | None
    options: dict[str, bool | float]
    run_by: str | None
    in_backward: bool
    left_out: str | None


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
            library_class=row["library_class"] or None,
            options=_options(row["options"]),
            run_by=row["run_by"] or None,
            in_backward=row["in_backward"] == "yes",
            left_out=row["left_out"] or None,
        )
        for row in tables.rows("optimizers.csv")
    )


def _options(cell: str) -> dict[str, bool | float]:
    """``momentum=0.9 foreach=false``."""
    pairs = (word.split("=", 1) for word in cell.split())
    return {
        name: text == "true" if text in ("true", "false") else float(text) for name, text in pairs
    }


def asked_names() -> tuple[str, ...]:
    """What a question may say."""
    return tuple(row.asked_as for row in optimizer_rows())


@cache
def refused_names() -> dict[str, str]:
    """Optimizers that exist and are not planned → why not."""
    return {row["optimizer"]: row["reason"] for row in tables.rows("optimizers_refused.csv")}


def asked_row(name: str) -> OptimizerRow | None:
    """Of a question's name."""
    return next((row for row in optimizer_rows() if row.asked_as == name), None)


def asked_as(name: str) -> str:
    """A question's name for another tool's; itself where none is known."""
    return _aliases().get(name, name)


def recipe_names() -> dict[str, str]:
    """A question's name → a recipe's, of each optimizer."""
    return {row.asked_as: row.recipe for row in optimizer_rows()}


def asked_of_class(name: str) -> str | None:
    """A question's name of an optimizer's class, with or without its modules: where two packages
    have a class of one name, the package says which it is."""
    package, last = name.partition(".")[0], name.rpartition(".")[2]
    classes = _classes()
    return classes.get(f"{package}.{last}".lower(), classes.get(last.lower()))


def run_by() -> dict[str, str]:
    """A recipe's name → the dotted class that runs it, of a library for CUDA."""
    return {row.name: row.run_by for row in optimizer_rows() if row.run_by}


@cache
def _classes() -> dict[str, str]:
    return {name.lower(): row.asked_as for row in optimizer_rows() for name in row.classes}


@cache
def _aliases() -> dict[str, str]:
    return {alias: row.asked_as for row in optimizer_rows() for alias in row.aliases}
