"""JSON and TOML as plain values."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, cast

from planner.errors import QuestionError
from planner.question.files.document import Document


def of_json(text: str, path: Path) -> Document:
    """Raises QuestionError; a key that is given twice is refused."""
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise QuestionError(f"not JSON: {error.msg}", where=f"{path} line {error.lineno}") from None
    except (ValueError, RecursionError) as error:
        raise QuestionError(f"not JSON: {str(error)[:200]}", where=str(path)) from None
    return _named(found, path)


def of_toml(text: str, path: Path) -> Document:
    """Raises QuestionError."""
    try:
        return _named(tomllib.loads(text), path)
    except (ValueError, RecursionError) as error:
        raise QuestionError(f"not TOML: {str(error)[:200]}", where=str(path)) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} is given twice")
        found[key] = value
    return found


def _named(found: Any, path: Path) -> Document:
    if not isinstance(found, dict):
        raise QuestionError("holds no names with values", where=str(path))
    return Document(cast("dict[str, Any]", found))
