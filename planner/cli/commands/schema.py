"""``planner schema``."""

from __future__ import annotations

import json

import click

from planner.cli.switches import OneOf

NAMES = ("question", "answer", "data", "explain", "diff", "compare")


@click.command("schema")
@click.argument("name", type=OneOf(NAMES), default="answer")
def command(name: str, as_json: bool) -> None:
    """Print the JSON Schema of a question (project.yaml), of an answer (--json), of planner data,
    planner explain, planner diff or planner compare: one JSON document either way."""
    click.echo(text(name), nl=False)


def text(name: str) -> str:
    """The schema as the file in ``profiles/schema/`` holds it."""
    from planner.answer import json_schema as document
    from planner.answer.data import schema as data_schema
    from planner.compare import schema as compare_schema
    from planner.diff import schema as diff_schema
    from planner.explain import schema as explain_schema

    schema = {
        "question": document.question_schema,
        "answer": document.answer_schema,
        "data": data_schema.data_schema,
        "explain": explain_schema.explain_schema,
        "diff": diff_schema.diff_schema,
        "compare": compare_schema.compare_schema,
    }[name]()
    return json.dumps(schema, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
