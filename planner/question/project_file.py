"""``project.yaml``: read with the line of every key, and written with a comment on every key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from planner.errors import QuestionError, nearest
from planner.question.fields import choices
from planner.question.importers import Importer, importer_of
from planner.question.question import Question

#: A project file is a page of text; anything larger is another file.
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class FileKeys:
    """What a file says. ``places``: where each key stands, ``file line N: key``; ``importer``:
    whose file it is, None for a project file."""

    values: dict[str, Any]
    places: dict[str, str]
    importer: Importer | None


def read(path: Path, known: Iterable[str]) -> FileKeys:
    """The keys of a project file, or of a file that an importer knows. Raises QuestionError for a
    file that is missing, is not YAML, or has duplicate or unknown keys. Only plain YAML: no tags
    are run."""
    loader: Any = yaml.SafeLoader(_text(path))  # PyYAML's stubs leave its methods untyped
    try:
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise QuestionError(
                "a project file is a list of 'key: value' lines",
                where=str(path),
                mend="planner init writes one",
            )
        importer = importer_of(str(key.value) for key, _ in root.value)
        lines = _lines(root, path, list(known) if importer is None else None)
        values: dict[str, Any] = {
            key.value: loader.construct_object(value, deep=True) for key, value in root.value
        }
    except yaml.MarkedYAMLError as error:
        raise QuestionError(_problem(error), where=_place(path, error)) from None
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise QuestionError(
            f"not readable as YAML: {' '.join(str(error).split())[:200]}", where=str(path)
        ) from None
    finally:
        loader.dispose()
    return FileKeys(
        values={key: value for key, value in values.items() if value is not None},
        places={key: f"{path} line {line}: {key}" for key, line in lines.items()},
        importer=importer,
    )


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise QuestionError(
                f"larger than {MAX_BYTES} bytes, not a project file", where=str(path)
            )
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise QuestionError(
            "no such project file", where=str(path), mend=f"Write one with: planner init {path}"
        ) from None
    except UnicodeDecodeError:
        raise QuestionError("not text in UTF-8", where=str(path)) from None
    except OSError as error:
        raise QuestionError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _lines(root: yaml.MappingNode, path: Path, known: list[str] | None) -> dict[str, int]:
    """The line of every key; any key is allowed where ``known`` is None."""
    lines: dict[str, int] = {}
    for key, _ in root.value:
        line, name = key.start_mark.line + 1, key.value
        if not isinstance(name, str) or (known is not None and name not in known):
            raise _unknown(name, known or [], f"{path} line {line}")
        if name in lines:
            raise QuestionError(
                f"{name!r} is given twice, first in line {lines[name]}", where=f"{path} line {line}"
            )
        lines[name] = line
    return lines


def _unknown(name: Any, known: list[str], where: str) -> QuestionError:
    near = nearest(name.replace("-", "_"), known) if isinstance(name, str) else []
    mend = f"Did you mean {' or '.join(near)}?" if near else f"Known keys: {', '.join(known)}"
    return QuestionError(f"unknown key {str(name)[:80]!r}", where=where, mend=mend)


def _problem(error: yaml.MarkedYAMLError) -> str:
    return "not YAML: " + ", ".join(filter(None, [error.context, error.problem]))


def _place(path: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{path} line {mark.line + 1}" if mark else str(path)


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
