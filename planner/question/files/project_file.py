"""``project.yaml``: read with the line of every key, and written with a comment on every key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from planner.errors import QuestionError, nearest
from planner.question.fields import choices
from planner.question.files.document import YAML, Document
from planner.question.files.reading import read as read_document
from planner.question.importers import Importer, importer_of, registry
from planner.question.question import Question

#: Fields whose relative paths in a file start from the file's folder.
PATHS = ("model", "data", "gpu", "teacher")


@dataclass(frozen=True)
class FileKeys:
    """What a file says. ``places``: where each key stands, ``file line N: key``; ``importer``:
    whose file it is, None for a project file."""

    values: dict[str, Any]
    places: dict[str, str]
    importer: Importer | None


def read(path: Path, known: Iterable[str]) -> FileKeys:
    """The keys of a project file, or of a file that an importer knows. Raises QuestionError for a
    file that is missing, is not of its format, or has duplicate or unknown keys. Nothing in it is
    run."""
    document = read_document(path)
    importer = importer_of(document.values)
    if importer is None:
        _check(document, path, list(known))
    return FileKeys(
        values={key: value for key, value in document.values.items() if value is not None},
        places={key: f"{path} line {line}: {key}" for key, line in document.lines.items()},
        importer=importer,
    )


def _check(document: Document, path: Path, known: list[str]) -> None:
    """That every key is a project file's."""
    if path.suffix.lower() not in YAML:
        tools = ", ".join(importer.tool for importer in registry())
        raise QuestionError(
            "its keys are of no tool that is known here", where=str(path), mend=f"Known: {tools}"
        )
    for name in document.values:
        if name not in known:
            line = document.lines.get(name)
            raise unknown_key(name, known, f"{path} line {line}" if line else str(path))


def unknown_key(name: str, known: list[str], where: str) -> QuestionError:
    """The refusal of a key that no question has, with the nearest that it has."""
    name = name[:80]
    near = nearest(name.replace("-", "_"), known)
    mend = f"Did you mean {' or '.join(near)}?"
    if not near:
        some = ", ".join(nearest(name, known, cutoff=0.0))
        mend = f"The nearest of {len(known)} keys: {some}; planner schema question lists all"
    return QuestionError(f"unknown key {name!r}", where=where, mend=mend)


def template() -> str:
    """A project file with every key: what is usually set stands ready, the rest is a comment with
    its default."""
    ready = {"model": "Llama-3.2-1B", "data": "train.jsonl", "gpu": "h100", "epochs": "3"}
    parts = [
        "# A question for planner: edit, then run `planner estimate project.yaml`.",
        "# Paths start from this file's folder. A key left out, or commented, is chosen by "
        "planner, which says what it chose.",
        "",
    ]
    for name, info in Question.model_fields.items():
        allowed = choices(info.annotation)
        text = info.description or name.replace("_", " ").capitalize()
        parts += [f"# {text}" + (f" ({' | '.join(allowed)})" if allowed else "")]
        line = f"{name}: {ready[name]}" if name in ready else f"# {name}: {_default(info)}".rstrip()
        parts += [line, ""]
    return "\n".join(parts)


def _default(info: FieldInfo) -> str:
    if info.default is None or info.is_required():
        return ""
    return str(info.default).lower() if isinstance(info.default, bool) else str(info.default)
