"""Combinations of a grid as questions: each with a name of its own, what cannot be asked with its
refusal, and what is wrong for all of them refused before any is answered."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from planner.choose.sweep.grid import Fields, Grid, Part
from planner.cost.prices.offers import check_region, is_provider, providers
from planner.devices.lookup import resolve_device
from planner.errors import FieldName, PlannerError, QuestionError, UnknownNameError
from planner.models.resolve import resolve
from planner.question import Question
from planner.question.parsing import is_file, question_from

#: Looks a value up in the light of all values that the grid lists. Raises PlannerError.
Look = Callable[[str, Mapping[str, list[Any]]], None]
#: Hexadecimal digits of a question's name: of a million questions no two have the same.
DIGITS = 20


@dataclass(frozen=True)
class Asked:
    """One question. ``given``: the grid's fields for it; ``values``: those of the question that are
    set, as plain JSON, None where the fields make no question, which ``refusal`` says. ``notes``
    and ``granted``: of a question that was read from a file."""

    id: str
    given: Fields
    values: Fields | None
    notes: tuple[str, ...] = ()
    granted: tuple[str, ...] = ()
    refusal: str | None = None

    def question(self) -> Question:
        """The question itself, as it was understood. Raises QuestionError where it is none."""
        if self.values is None:
            raise QuestionError(self.refusal or "is no question")
        made = Question.model_validate(self.values)
        return made.noting(*self.notes, granted=self.granted)


def questions_of(grid: Grid) -> tuple[list[Asked], int]:
    """Every question of the grid once, in its order, and how many were written again. Raises
    PlannerError where a value is wrong for all of them, or where none can be asked."""
    for part in grid.parts:
        _check_values(part, grid)
        _check_names(part, grid)
    found: dict[str, Asked] = {}
    count = 0
    for given in grid.combinations():
        one = _asked(given, grid)
        found.setdefault(one.id, one)
        count += 1
    if not found:
        raise QuestionError("every combination is left out", where=str(grid.path))
    questions = list(found.values())
    if all(one.values is None for one in questions):
        raise QuestionError(questions[0].refusal or "is no question", where=str(grid.path))
    return questions, count - len(questions)


def _asked(given: Fields, grid: Grid) -> Asked:
    try:
        made = _question(given, grid)
    except PlannerError as error:
        return Asked(_id(given), given, None, refusal=str(error))
    values = made.model_dump(mode="json", exclude_unset=True)
    named = _id({"values": values, "notes": made.notes, "granted": made.granted})
    return Asked(named, given, values, made.notes, made.granted)


def _id(value: Any) -> str:
    """The same for the same question, in whatever order and file it is written."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _question(given: Mapping[str, Any], grid: Grid) -> Question:
    """As the command line asks it; fields are called by where they stand in the file."""
    fields = dict(given)
    model = fields.pop("model", None)
    if not isinstance(model, str):
        where = grid.places.get("model") or str(grid.path)
        what = "the key 'model' is missing" if model is None else f"{model!r} is no model's name"
        raise QuestionError(what, where=where)
    data = fields.pop("data", None)
    named = {name: str(place) for name, place in grid.places.items()}
    return question_from(model, None if data is None else str(data), fields, places=named)


# ---- what is wrong for every combination


def _check_values(part: Part, grid: Grid) -> None:
    """Each value of each field, in the first combination that has it: what a field never takes is
    wrong, what contradicts another field is this combination's matter."""
    listed = part.values()
    first = {name: values[0] for name, values in listed.items() if values[0] is not None}
    for name, values in listed.items():
        for value in values:
            if value is None:
                continue
            try:
                _question({**first, name: value}, grid)
            except PlannerError as error:
                if name in error.fields or name == "model" and isinstance(error, UnknownNameError):
                    raise


def _check_names(part: Part, grid: Grid) -> None:
    """Names that are looked up: a misspelt one would be refused once a combination."""
    listed = part.values()
    for name, look in _LOOKED_UP.items():
        for value in listed.get(name, ()):
            if value is not None:
                _look(name, str(value), look, listed, grid)


def _look(name: str, value: str, look: Look, listed: Mapping[str, list[Any]], grid: Grid) -> None:
    try:
        look(value, listed)
    except PlannerError as error:
        if error.exit_code != QuestionError.exit_code:
            raise
        where = grid.places.get(name) or FieldName(name)
        raise QuestionError(str(error), where=where) from None


def _look_for_model(name: str, listed: Mapping[str, list[Any]]) -> None:
    """Under its own task, or one of the grid's: a task that it does not do is a matter of the
    combination."""
    if is_file(name):
        return  # a project file, which was read already
    refusals: list[PlannerError] = []
    for task in dict.fromkeys([None, *listed.get("task", ())]):
        try:
            resolve(
                name,
                task=None if task is None else str(task).replace("-", "_"),
                trust_remote_code=any(listed.get("trust_remote_code", ())),
                offline=all(listed.get("offline") or [False]),
            )
            return
        except PlannerError as error:
            refusals.append(error)
    raise refusals[0]


def _look_for_gpu(name: str, listed: Mapping[str, list[Any]]) -> None:
    resolve_device(name)


def _look_for_data(name: str, listed: Mapping[str, list[Any]]) -> None:
    if not os.path.exists(os.path.expanduser(name)):
        raise QuestionError(f"there is no file or folder {name!r}", mend="Check the path")


def _look_for_provider(name: str, listed: Mapping[str, list[Any]]) -> None:
    if not any(is_provider(known, name) for known in providers()):
        raise UnknownNameError("provider", name, providers())


def _look_for_region(name: str, listed: Mapping[str, list[Any]]) -> None:
    check_region(name)


_LOOKED_UP: dict[str, Look] = {
    "model": _look_for_model,
    "gpu": _look_for_gpu,
    "data": _look_for_data,
    "provider": _look_for_provider,
    "region": _look_for_region,
}
