"""``planner convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from planner.cli.question_options import question_options
from planner.errors import QuestionError


@click.command("convert")
@click.argument("file")
@click.argument("data", required=False)
@question_options
@click.option(
    "--output",
    "-o",
    "output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the project file here, such as project.yaml.",
)
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
def command(
    file: str, data: str | None, output: Path | None, force: bool, as_json: bool, **flags: Any
) -> None:
    """What planner understands of a training's own FILE, and with -o the same as a project.yaml.

    FILE is a configuration of axolotl, LLaMA-Factory, torchtune, TRL or the Trainer, Unsloth,
    accelerate, DeepSpeed, Lightning, diffusers or kohya. Each of its keys is understood, without
    bearing on the cost, not to be asked yet, or not understood. DATA and flags go into the project.
    """
    from planner.cli import writing
    from planner.cli.question_options import question_and_file
    from planner.question.files import converted
    from planner.question.parsing import is_file

    if output is not None and output.exists() and not force:
        raise QuestionError("is already there", where=str(output), mend="--force overwrites it")
    if not is_file(file):
        raise QuestionError("is no file of a tool that is known here", where=file)
    question, found = question_and_file(file, data, flags)
    if found is None or found.imported is None:
        raise QuestionError("is a project file already", where=file)
    document = converted.document(question, found)
    if output is None:
        click.echo(writing.as_json(document) if as_json else "\n".join(converted.listed(document)))
        return
    if output.suffix.lower() not in (".yaml", ".yml"):
        raise QuestionError("a project file ends in .yaml", where=str(output))
    writing.write(output, converted.project_text(question, found, Path(file), output))
    counts = ", ".join(f"{len(keys)} {fate}" for fate, keys in document["keys"].items())
    writing.wrote(output, as_json, f"wrote {output} ({counts})", **document)
