"""``planner schema``."""

from __future__ import annotations

import json

import click

NAMES = ("question", "answer")


@click.command("schema")
@click.argument("name", type=click.Choice(NAMES), default="answer")
def command(name: str, as_json: bool) -> None:
    """Print the JSON Schema of a question (project.yaml) or of an answer (--json): one JSON
    document either way."""
    click.echo(text(name), nl=False)


def text(name: str) -> str:
    """The schema as the file in ``profiles/schema/`` holds it."""
    from planner.answer import json_schema as document

    schema = document.question_schema() if name == "question" else document.answer_schema()
    return json.dumps(schema, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
