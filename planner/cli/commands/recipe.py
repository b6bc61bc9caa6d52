"""``planner recipe``."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli.question_options import question_options
from planner.errors import QuestionError


@click.command("recipe")
@click.argument("model")
@click.argument("data", required=False)
@question_options
@click.option(
    "--output",
    "-o",
    "output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write the recipe into this folder, such as train/.",
)
@click.option("--force", is_flag=True, help="Overwrite a recipe's files that are in the folder.")
def command(
    model: str, data: str | None, output: Path | None, force: bool, as_json: bool, **flags
) -> None:
    """A folder with the script and the settings that run the recommended plan, or the one of
    --strategy.

    MODEL and DATA are those of planner estimate, or MODEL is a project file. The script trains with
    transformers and PEFT, TRL, or plain torch for images; it forecasts its own cost, records its
    run, and planner validate holds the record against the estimate.
    """
    from planner.cli import answering, writing
    from planner.cli.question_options import question_from
    from planner.cli.switches import working
    from planner.recipe.folder import check_folder, write_folder

    if output is None:
        raise QuestionError("no folder to write to", mend="Name one with -o, such as -o train/")
    check_folder(output, force=force)
    answering.must_name_a_model(model, data, flags)
    with working() as progress:
        question = question_from(model, data, flags)
        from planner.recipe.planned import planned  # after the question stands

        plan = planned(question, progress)
    from planner.recipe.scripts import files_of, plan_document

    files = files_of(plan)
    write_folder(output, files, force=force)
    document = plan_document(plan)
    if not as_json:
        for line in document["said"]:
            click.echo(line)
    line = f"wrote {', '.join(files)} into {output}"
    writing.wrote(output, as_json, line, files=list(files), **document)
