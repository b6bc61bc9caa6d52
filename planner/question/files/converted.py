"""Another tool's file as a project file: every key with the key that it came from, and in comments
all that it does not hold."""

from __future__ import annotations

import datetime
import os
import textwrap
from pathlib import Path
from typing import Any

import yaml

from planner.question.files.of_file import FileQuestion
from planner.question.files.project_file import PATHS
from planner.question.importers.keys import (
    CANNOT_BE_ASKED,
    FATES,
    SHOWN,
    UNDERSTOOD,
    UNKNOWN,
    WITHOUT_COST,
    shown,
)
from planner.question.importers.keys import listed as listed_values
from planner.question.question import Question

WIDTH = 98


def project_text(question: Question, found: FileQuestion, source: Path, target: Path) -> str:
    """The project file at ``target`` that asks ``question``, which ``source`` asked."""
    first = f"From {source.name} ({found.tool}), by planner convert. Paths start from here."
    lines = _comment(first)
    if found.imported is not None:
        for words, fate in (
            ("Not in it, since it cannot be asked yet", CANNOT_BE_ASKED),
            ("Not understood", UNKNOWN),
        ):
            if keys := found.imported.words(fate):
                lines += _comment(f"{words}: {', '.join(keys)}")
        if harmless := [one.key for one in found.imported.of(WITHOUT_COST)]:
            lines += _comment(f"Without bearing on the cost: {', '.join(harmless)}")
    lines.append("")
    values = question.model_dump(exclude_unset=True)
    for name in (name for name in Question.model_fields if name in values):
        lines.append(_line(name, _from(name, values[name], target), _origin(name, found)))
    return "\n".join([*lines, ""])


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent="# ",
        subsequent_indent="#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _line(name: str, value: Any, origin: str) -> str:
    flow = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    said = f"{name}: {flow.strip().removesuffix('...').strip()}"
    return f"{said}  # {origin}" if origin else said


def _from(name: str, value: Any, target: Path) -> Any:
    """As a project file writes it; a path that is there, from the project's folder."""
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if name in PATHS and isinstance(value, str) and os.path.exists(value):
        return value if os.path.isabs(value) else os.path.relpath(value, target.parent)
    return value


def _origin(name: str, found: FileQuestion) -> str:
    """The key of the file; blank where it was given besides."""
    if found.imported is None or name not in found.values:
        return ""
    if name in found.imported.assumed:
        return f"{found.tool} does so by itself: {found.imported.assumed[name]}"
    return found.imported.keys.get(name, "")


def document(question: Question, found: FileQuestion) -> dict[str, Any]:
    """What was understood, as one document: the fields of the question, every key of the file in
    one of four lists, and what was taken of the tool's own defaults."""
    assert found.imported is not None
    return {
        "schema": 1,
        "tool": found.tool,
        "question": question.model_dump(exclude_unset=True, mode="json"),
        "keys": {
            fate: [
                {"key": one.key, "value": one.value, "field": one.field or None}
                for one in found.imported.of(fate)
            ]
            for fate in FATES
        },
        "assumed": dict(found.imported.assumed),
    }


def listed(document: dict[str, Any]) -> list[str]:
    """The same in lines, what was not understood first."""
    keys = document["keys"]
    counts = ", ".join(f"{len(found)} {fate}" for fate, found in keys.items())
    lines = [f"Read as a file of {document['tool']}: {counts}."]
    for fate in (UNKNOWN, CANNOT_BE_ASKED, UNDERSTOOD, WITHOUT_COST):
        if not keys[fate]:
            continue
        lines += ["", f"{fate.capitalize()}:"]
        if fate == WITHOUT_COST:
            lines += textwrap.wrap(", ".join(one["key"] for one in keys[fate]), 76)
            continue
        for one in keys[fate]:
            field = one["field"]
            value = document["question"].get(field)
            told = "given besides" if value is None else _said(value)
            meant = f" → {field}: {told}" if field else ""
            lines.append(f"  {shown(one['key'], one['value'])}{meant}")
    if document["assumed"]:
        words = dict.fromkeys(document["assumed"].values())
        lines += ["", f"Not in it, and so as {document['tool']} does by itself:"]
        lines += [f"  {word}" for word in words]
    return lines


def _said(value: Any) -> str:
    text = ", ".join(map(str, listed_values(value))) if isinstance(value, list) else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
