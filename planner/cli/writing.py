"""Where a command's output goes: files are written whole or not at all, and a failed write is one
line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from planner.cli.switches import remark
from planner.files import write, write_bytes
from planner.report.formats.json_text import as_json
from planner.report.formats.json_text import as_json as as_document

__all__ = ["as_json", "done", "write", "write_bytes", "wrote"]


def done(as_json: bool, line: str, **document: Any) -> None:
    """What a command that did something answers: ``document`` as JSON, else ``line``."""
    if as_json:
        click.echo(as_document({"schema": 1, **document}))
    else:
        remark(line)


def wrote(path: Path, as_json: bool, line: str, **more: Any) -> None:
    """As ``done``, of a command that writes a file."""
    done(as_json, line, wrote=str(path), **more)
