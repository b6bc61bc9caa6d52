"""The fields of a question and the keys of an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reference.markdown import code, page, plain, table


def fields() -> str:
    """Flags, keys of project.yaml and arguments of Python."""
    from planner.question import Question
    from planner.question.groups import FIRST, GROUPS

    parts = []
    for title, names in {"The ones that matter first": FIRST, **GROUPS}.items():
        rows = [_field(name, Question.model_fields[name]) for name in names]
        parts.append(f"## {title}\n\n{table(('Flag', 'Takes', 'By default', 'What it is'), rows)}")
    return page(
        "Fields of a question",
        "The same names are flags of the commands (`--lora-rank 8`), keys of `project.yaml` "
        "(`lora_rank: 8`) and arguments of Python (`lora_rank=8`). As JSON Schema: "
        "`planner schema question`.",
        *parts,
    )


def _field(name: str, info: Any) -> tuple[str, str, str, str]:
    from planner.cli.question_options import ARGUMENTS
    from planner.errors import flag
    from planner.question.fields import choices, plain_types

    allowed = choices(info.annotation)
    kinds = sorted(kind.__name__ for kind in plain_types(info.annotation) if kind is not object)
    takes = ", ".join(map(code, allowed)) or " or ".join(_kind(kind) for kind in kinds)
    default = "" if info.is_required() or info.default is None else code(info.default)
    called = ARGUMENTS.get(name) or flag(name)
    return code(called), takes, default, plain(info.description or "")


def _kind(name: str) -> str:
    words = {
        "int": "a whole number",
        "float": "a number",
        "str": "text",
        "bool": "yes or no",
        "list": "several, or a text with commas",
        "datetime": "a date, or a date and a time",
    }
    return words.get(name, plain(name))


def answer() -> str:
    """Every key of the answer's document."""
    from planner.answer.json_schema import answer_schema

    schema = answer_schema()
    parts = [_object("The document", schema)]
    parts += [_object(name, part) for name, part in sorted(schema["$defs"].items())]
    return page(
        "The answer's document",
        "What `planner estimate --json` prints and `planner.estimate` returns, from "
        "`planner schema answer`. Keys may be added within a major version; none is renamed or "
        "removed. Bytes, hours, seconds and US dollars, as the keys say; a figure is its median "
        "`p50` with `p10` and `p90`, between which it lies with 80 % probability.",
        *(part for part in parts if part),
    )


def _object(name: str, schema: Mapping[str, Any]) -> str:
    rows = [
        (code(key), " or ".join(dict.fromkeys(_types(part))), plain(part.get("description", "")))
        for key, part in schema.get("properties", {}).items()
    ]
    if not rows:
        return ""
    words = plain(schema.get("description", "").replace("``", ""))
    return f"## {name}\n\n{words}\n\n{table(('Key', 'Holds', 'What it is'), rows)}"


def _types(part: Mapping[str, Any]) -> Iterator[str]:
    for one in part.get("anyOf", [part]):
        if "$ref" in one:
            name = one["$ref"].rpartition("/")[2]
            yield f"[{name}](#{name.lower()})"
        elif one.get("type") == "array":
            yield "a list of " + " or ".join(_types(one.get("items", {})))
        elif "enum" in one:
            yield ", ".join(map(code, one["enum"]))
        elif "const" in one:
            yield code(one["const"])
        else:
            yield plain(one.get("type", "anything"))
