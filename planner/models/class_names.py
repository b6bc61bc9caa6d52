"""What a transformers class trains, by its name: rows of ``profiles/models/class_tasks.csv``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from planner import tables


@dataclass(frozen=True)
class ClassTask:
    """A row. ``tasks``: of this program, the first that a model type has; none where what the class
    does is not covered. ``nearest``: priced in its place. ``base``: published checkpoints have this
    class and are tuned for something else as a rule."""

    ending: str
    tasks: tuple[str, ...]
    words: str
    nearest: str | None
    base: bool


@cache
def _rows() -> tuple[ClassTask, ...]:
    rows = [
        ClassTask(
            row["ending"],
            tuple(row["tasks"].split()),
            row["words"],
            row["nearest"] or None,
            row["base"] == "1",
        )
        for row in tables.rows("models", "class_tasks.csv")
    ]
    return tuple(sorted(rows, key=lambda row: -len(row.ending)))


def class_of(config: Mapping[str, Any]) -> str | None:
    """The class that a config names first, None where it names none."""
    names = config.get("architectures")
    names = names if isinstance(names, list) else [names]
    return next((name for name in names if isinstance(name, str) and name), None)


def class_task(name: str | None) -> ClassTask | None:
    """The row of a class's name, None for one that says nothing (``BertModel``)."""
    return next((row for row in _rows() if name and name.endswith(row.ending)), None)


def model_type_of(name: str | None, families: Iterable[str]) -> str | None:
    """The family that a class's name begins with (``LlamaForCausalLM`` → ``llama``), None where no
    family is called so."""
    if not name:
        return None
    row = class_task(name)
    stem = _joined(name.removesuffix(row.ending) if row else name.removesuffix("Model"))
    return next((family for family in sorted(families) if _joined(family) == stem), None)


def _joined(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(".", "")
