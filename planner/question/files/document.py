"""Files of settings as plain values: YAML, JSON, TOML, or a saved command line. Nothing in a file
is run, and a file that would grow when it is read is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.errors import QuestionError
from planner.files import read_text

#: A file of settings is a page of text; anything larger is another file.
MAX_BYTES = 1_000_000
YAML, JSON, TOML = (".yaml", ".yml"), (".json",), (".toml",)
#: Saved command lines.
COMMANDS = (".sh", ".bash", ".args")
#: Pickles that trainers leave beside their checkpoints: reading one runs what is in it.
PICKLES = ("training_args.bin",)


@dataclass(frozen=True)
class Document:
    """What a file says. ``lines``: of its top-level keys, empty where a format keeps none."""

    values: dict[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict[str, int])


def text_of(path: Path) -> str:
    """The text of a file. Raises QuestionError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise QuestionError(
                f"larger than {MAX_BYTES} bytes, not a project file", where=str(path)
            )
        return read_text(path, encoding="utf-8-sig")
    except FileNotFoundError:
        raise QuestionError(
            "no such project file", where=str(path), mend=f"Write one with: planner init {path}"
        ) from None
    except UnicodeDecodeError:
        raise QuestionError("not text in UTF-8", where=str(path)) from None
    except OSError as error:
        raise QuestionError(f"cannot be read: {error.strerror}", where=str(path)) from None
