"""The chat template of a model's family, where the model's own is not at hand: rows of
``profiles/datasets/chat_templates.csv`` and the texts beside it."""

from __future__ import annotations

import re
from functools import cache

from planner import tables
from planner.datasets.templates.chat_template import ChatTemplate
from planner.errors import ProfileError
from planner.files import read_text

TABLE = ("datasets", "chat_templates.csv")
TEXTS = ("datasets", "chat_templates")
#: What trainers give a model that has no template, and what they do without one.
DEFAULT, PLAIN, INSTRUCTIONS = "chatml", "plain", "alpaca"
VARIABLES = ("bos_token", "eos_token", "default_system", "spaced", "marks")


@cache
def family_of(name: str, model_type: str | None, vocabulary: int | None) -> str | None:
    """The family by the model's name, else by its type and vocabulary; None where no row fits."""
    last = name.rsplit("/", 1)[-1]
    rows = tables.rows(*TABLE)
    for row in rows:
        if row["names"] and re.search(row["names"], last, re.IGNORECASE):
            return row["family"]
    for row in rows:
        sized = tables.number(row["vocabulary"])
        if model_type in row["model_types"].split() and sized in (None, vocabulary):
            return row["family"]
    return None


@cache
def family_template(family: str) -> ChatTemplate:
    """The template of a family of the table. Raises ProfileError."""
    row = next((row for row in tables.rows(*TABLE) if row["family"] == family), None)
    if row is None:
        raise ProfileError(f"no chat template {family!r}", where="/".join(TABLE))
    file = tables.path(*TEXTS, f"{row['file']}.jinja")
    try:
        text = read_text(file)
    except OSError as error:
        raise ProfileError(f"cannot be read: {error.strerror}", where=str(file)) from error
    counted = (mark.rpartition("=") for mark in row["special"].split())
    return ChatTemplate(
        name=family,
        text=text,
        variables={name: row[name] for name in VARIABLES},
        special={
            mark if sign else number: int(number) if sign else 1 for mark, sign, number in counted
        },
        source=row["source"],
        assumed=True,
        plain=family in (PLAIN, INSTRUCTIONS),
    )


def families() -> tuple[str, ...]:
    """Every family of the table."""
    return tuple(row["family"] for row in tables.rows(*TABLE))
