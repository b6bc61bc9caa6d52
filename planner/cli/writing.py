"""Where a command's output goes: files are written whole or not at all, and a failed write is one
line."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click

from planner.cli.switches import remark
from planner.errors import MachineError, QuestionError
from planner.report.formats.json_text import as_json
from planner.report.formats.json_text import as_json as as_document

__all__ = ["as_json", "done", "write", "write_bytes", "wrote"]


def write(path: Path, made: str | bytes) -> None:
    """As ``write_bytes``; a text in UTF-8."""
    write_bytes(path, made.encode("utf-8", "replace") if isinstance(made, str) else made)


def write_bytes(path: Path, data: bytes) -> None:
    """Write through a temporary file in the same folder and one rename. Raises QuestionError where
    the folder is not there, MachineError where the machine refuses (permission, full disk)."""
    folder = path.parent
    if path.is_dir():
        raise QuestionError("is a folder, not a file", where=str(path))
    if not folder.is_dir():
        raise QuestionError("no such folder", where=str(folder), mend="Create it or choose another")
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise MachineError(f"cannot be written: {error.strerror}", where=str(path)) from error


def done(as_json: bool, line: str, **document: Any) -> None:
    """What a command that did something answers: ``document`` as JSON, else ``line``."""
    if as_json:
        click.echo(as_document({"schema": 1, **document}))
    else:
        remark(line)


def wrote(path: Path, as_json: bool, line: str, **more: Any) -> None:
    """As ``done``, of a command that writes a file."""
    done(as_json, line, wrote=str(path), **more)


def _umask() -> int:
    """The process's mask can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
