"""From what somebody gives, texts of flags or of a form and a file, to a Question. Every refusal
names the field, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from planner.errors import FieldName, QuestionError
from planner.question.fields import Places, place, plain_types
from planner.question.files.document import COMMANDS, JSON, PICKLES, TOML, YAML, text_of
from planner.question.question import Question
from planner.units import parse_count

if TYPE_CHECKING:
    from planner.question.files.of_file import FileQuestion

#: Suffixes of files that hold a whole question, and no model or data.
FILE_SUFFIXES = (*YAML, *TOML, *COMMANDS)


def question_from(
    model: str,
    data: str | None,
    given: Mapping[str, Any],
    *,
    places: Mapping[str, str] | None = None,
    beside: Sequence[str] = (),
) -> Question:
    """The question of a model, its data and other fields. A ``model`` that is a project file, or a
    file of a tool that an importer knows, is read; what is given wins over its keys. ``beside``:
    files of settings that belong to it, such as accelerate's. ``places``: how to call where a field
    was given, by default its name. Raises QuestionError."""
    return question_and_file(model, data, given, places=places, beside=beside)[0]


def question_and_file(
    model: str,
    data: str | None,
    given: Mapping[str, Any],
    *,
    places: Mapping[str, str] | None = None,
    beside: Sequence[str] = (),
) -> tuple[Question, FileQuestion | None]:
    """As ``question_from``, with what the file says; None where there is none."""
    found: FileQuestion | None = None
    called = {name: FieldName(name, text=place) for name, place in (places or {}).items()}
    where = {name: called.get(name) or FieldName(name) for name in given}
    if is_file(model):
        # and with it yaml: only where there is a file to read
        from planner.question.files.of_file import of_file

        found = of_file(Path(model), given, data, beside)
        values, where = found.values | dict(given), found.where | where
        notes, granted = found.notes, found.granted
    else:
        if beside:
            raise QuestionError("goes with a file, and none is named", where=FieldName("beside"))
        values = {"model": model, **given}
        where = {"model": called.get("model") or FieldName("model"), **where}
        notes = granted = ()
    if "samples" in given:
        values = {name: value for name, value in values.items() if name != "data" or name in given}
    if data is not None:
        values["data"], where["data"] = data, called.get("data") or FieldName("data")
        if "samples" not in given:
            values.pop("samples", None)
    return _validated(values, where, model).noting(*notes, granted=granted), found


def is_file(model: str) -> bool:
    """Whether a model's name is that of a file with a whole question: of a project, or of another
    tool."""
    path = Path(model)
    if path.suffix.lower() in FILE_SUFFIXES or path.name in PICKLES:
        return True
    return path.suffix.lower() in JSON and _is_of_a_tool(path)


def _is_of_a_tool(path: Path) -> bool:
    """A JSON file may be a model's configuration, data or an answer as well. One that says a key
    twice is a tool's, and refused where it is read."""
    import json

    from planner.question.importers import importer_of

    try:
        found = json.loads(text_of(path))
    except (QuestionError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and importer_of(cast("dict[str, Any]", found)) is not None


def _validated(values: dict[str, Any], where: Mapping[str, FieldName], model: str) -> Question:
    values = {name: _number(name, value, where) for name, value in values.items()}
    whole = model if is_file(model) else None
    return Question.model_validate(values, context=Places(where, whole, model))


def _number(name: str, value: Any, where: Mapping[str, FieldName]) -> Any:
    """``20k`` samples are 20000; what is not a number is left for the question to refuse."""
    info = Question.model_fields[name]
    if (
        isinstance(value, str)
        and plain_types(info.annotation) & {int, float}
        and value.strip()[-1:].lower() in ("k", "m", "b", "t")
    ):
        try:
            return parse_count(value)
        except QuestionError as error:
            raise QuestionError(str(error), where=place(name, where)) from None
    return value
