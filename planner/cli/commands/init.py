"""``planner init``."""

from __future__ import annotations

from pathlib import Path

import click

from planner.errors import QuestionError


@click.command("init")
@click.argument("path", default="project.yaml")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
def command(path: str, force: bool, as_json: bool) -> None:
    """Write a commented project.yaml at PATH (a file, or a folder to put it in)."""
    from planner.cli import writing
    from planner.question.files import project_file

    target = Path(path) / "project.yaml" if Path(path).is_dir() else Path(path)
    if target.exists() and not force:
        raise QuestionError("is already there", where=str(target), mend="--force overwrites it")
    writing.write(target, project_file.template())
    writing.wrote(target, as_json, f"wrote {target}; edit it, then: planner estimate {target}")
