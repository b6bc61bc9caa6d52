"""From what somebody gives, texts of flags or of a form and a file, to a Question. Every refusal
names the field, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.errors import FieldName, QuestionError
from planner.question.fields import Places, choices, place, plain_types
from planner.question.importers import Imported, Importer, shown
from planner.question.question import Question
from planner.units import parse_count

#: Fields whose relative paths in a file start from the file's folder.
PATHS = ("model", "data", "gpu", "teacher")
FILE_SUFFIXES = (".yaml", ".yml")


def question_from(
    model: str,
    data: str | None,
    given: Mapping[str, Any],
    *,
    places: Mapping[str, str] | None = None,
) -> Question:
    """The question of a model, its data and other fields. A ``model`` that ends in .yaml or .yml is
    a project file, or one of a tool that an importer knows; what is given wins over its keys.
    ``places``: how to call where a field was given, by default its name. Raises QuestionError."""
    called = {name: FieldName(name, text=place) for name, place in (places or {}).items()}
    where = {name: called.get(name) or FieldName(name) for name in given}
    notes: tuple[str, ...] = ()
    if is_file(model):
        values, where_keys, notes = _of_file(Path(model), given)
        values, where = values | dict(given), where_keys | where
        if "samples" in given:
            values.pop("data", None)
    else:
        values = {"model": model, **given}
        where = {"model": called.get("model") or FieldName("model"), **where}
    if data is not None:
        values["data"], where["data"] = data, called.get("data") or FieldName("data")
        if "samples" not in given:
            values.pop("samples", None)
    return _validated(values, where, model).noting(*notes)


def is_file(model: str) -> bool:
    """Whether a model's name is that of a file with a whole question."""
    return Path(model).suffix.lower() in FILE_SUFFIXES


def _of_file(
    path: Path, given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, FieldName], tuple[str, ...]]:
    """(values, the place of each, notes)."""
    # and with it yaml: only where there is a file to read
    from planner.question import project_file

    found = project_file.read(path, Question.model_fields)
    values, keys, notes = found.values, {name: name for name in found.values}, ()
    if found.importer is not None:
        imported = found.importer.read(found.values, _gpus(given.get("gpus")))
        values, keys = _known(imported), imported.keys
        strange = [shown(keys[n], v) for n, v in imported.values.items() if n not in values]
        notes = _left_out(found.importer, path, [*imported.left_out, *strange])
    where = {
        name: FieldName(name, text=found.places.get(key, f"{path}: {key}"))
        for name, key in keys.items()
        if name in values
    }
    return _from_folder(values, path.parent), where, notes


def _known(imported: Imported) -> dict[str, Any]:
    """Without the names that a question has none for, such as a rare optimizer's."""
    return {name: value for name, value in imported.values.items() if _allowed(name, value)}


def _allowed(name: str, value: Any) -> bool:
    if not choices(Question.model_fields[name].annotation):
        return True
    try:
        Question.model_validate({"model": "any", "samples": 1, name: value})
    except QuestionError:
        return False
    return True


def _left_out(importer: Importer, path: Path, left_out: list[str]) -> tuple[str, ...]:
    if not left_out:
        return ()
    return (
        f"{path.name} is read as {importer.tool}'s; left out, since planner does not know what it "
        f"costs: {', '.join(left_out)}",
    )


def _gpus(given: Any) -> int:
    """How many devices a file is for, which does not say it itself; what is no number is refused
    with the question."""
    try:
        return max(1, int(parse_count(given) if isinstance(given, str) else given or 1))
    except (QuestionError, TypeError, ValueError):
        return 1


def _from_folder(keys: dict[str, Any], folder: Path) -> dict[str, Any]:
    found = {
        k: str(folder / v)
        for k, v in keys.items()
        if k in PATHS and isinstance(v, str) and _exists(folder / v)
    }
    return keys | found


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


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
