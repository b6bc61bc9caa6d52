"""The question that a file asks: a project's own, or another tool's with the files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from planner.errors import FieldName, QuestionError
from planner.question.fields import choices
from planner.question.files import project_file
from planner.question.files.command import LAUNCH
from planner.question.files.project_file import PATHS, FileKeys
from planner.question.importers import Imported, Importer, importer_named
from planner.question.importers.keys import CANNOT_BE_ASKED, NO_NUMBER, UNKNOWN
from planner.question.question import Question
from planner.units import parse_count


@dataclass(frozen=True)
class FileQuestion:
    """``values``: by the question's fields; ``where``: the place of each; ``notes``: what the
    answer will not be about; ``granted``: the tool's own defaults. ``tool`` and ``imported``: of
    another tool's file, None for a project's."""

    values: dict[str, Any]
    where: dict[str, FieldName]
    notes: tuple[str, ...] = ()
    granted: tuple[str, ...] = ()
    tool: str | None = None
    imported: Imported | None = None


def of_file(
    path: Path, given: Mapping[str, Any], data: str | None = None, beside: Sequence[str] = ()
) -> FileQuestion:
    """The question of a file. ``given`` and ``data``: what its user says besides. Raises
    QuestionError."""
    found = project_file.read(path, Question.model_fields)
    if found.importer is None:
        if beside:
            raise QuestionError(
                "is a project file, which holds all by itself",
                where=str(path),
                mend=f"Leave out {FieldName('beside')}",
            )
        keys = {name: name for name in found.values}
        return FileQuestion(from_folder(found.values, path.parent), _places(found, path, keys))
    said = _whole(found, path, given, [_tools_file(Path(name)) for name in beside])
    said = said.refusing([name for name, value in said.values.items() if not _allowed(name, value)])
    if found.importer.stack is not None:
        said = replace(said, values={"stack": found.importer.stack} | said.values)
    where = _places(found, path, said.keys)
    values = from_folder(said.values, path.parent)
    _check_numbers(found, path, said, given)
    _check(values, where, path, given, data)
    return FileQuestion(
        values,
        where,
        _notes(found.importer, path, said),
        _granted(found.importer, path, said, given),
        found.importer.tool,
        said,
    )


def imported(path: Path, beside: Sequence[str] = ()) -> Imported:
    """What another tool's file says, before any of it is a question. Raises QuestionError."""
    found = _tools_file(path)[1]
    said = _whole(found, path, {}, [_tools_file(Path(name)) for name in beside])
    _check_numbers(found, path, said, {})
    return said


def _tools_file(path: Path) -> tuple[Path, FileKeys, Importer]:
    found = project_file.read(path, Question.model_fields)
    if found.importer is None:
        raise QuestionError("is a project file, and goes beside no other", where=str(path))
    return path, found, found.importer


def _whole(
    found: FileKeys,
    path: Path,
    given: Mapping[str, Any],
    beside: Sequence[tuple[Path, FileKeys, Importer]],
) -> Imported:
    """A tool's file with those that it refers to and those that are named beside it."""
    assert found.importer is not None
    document = dict(found.values)
    launch = cast("dict[str, Any]", dict(document.pop(LAUNCH, None) or {}))
    others = [(name, dict(keys.values), importer) for name, keys, importer in beside]
    for key in found.importer.of_launcher:
        for source in (launch, *(values for _, values, _ in others)):
            if key in source and key not in document:
                document[key] = source.pop(key)
    said = [
        _gpus(given.get("gpus")),
        found.importer.devices(document),
        importer_named("accelerate").devices(launch),
        *(importer.devices(values) for _, values, importer in others),
    ]
    gpus = next((count for count in said if count), 1)
    imported = found.importer.read(document, gpus)
    if launch:
        flags = importer_named("accelerate").read(launch, gpus)
        imported = imported.over(flags, f"{LAUNCH}.")
    waiting = [(path, one) for one in imported.beside]
    for name, values, importer in others:
        other = importer.read(values, gpus)
        imported = imported.over(other, f"{name.name}: ")
        waiting += [(name, one) for one in other.beside]
    for origin, (tool, what, key) in waiting:
        imported = _with(imported, origin, tool, what, key, gpus)
    return imported


def _with(imported: Imported, origin: Path, tool: str, what: Any, key: str, gpus: int) -> Imported:
    """With a part of another tool, or with a file that is named and stands beside."""
    if isinstance(what, Mapping):
        part = importer_named(tool).read(cast("Mapping[str, Any]", what), gpus)
        return imported.over(part, f"{key}.")
    name = Path(str(what))
    for place in (origin.parent / name, origin.parent / name.name):
        if place.suffix and _exists(place):
            keys = project_file.read(place, Question.model_fields)
            if keys.importer is not None and keys.importer.tool == tool:
                return imported.over(keys.importer.read(keys.values, gpus), f"{name.name}: ")
    fates = tuple(
        replace(one, fate=CANNOT_BE_ASKED) if one.key.endswith(key) else one
        for one in imported.fates
    )
    return replace(imported, fates=fates)


def _places(found: FileKeys, path: Path, keys: Mapping[str, str]) -> dict[str, FieldName]:
    """Where each field was set: the line of the key, or of what it is a part of."""
    places: dict[str, FieldName] = {}
    for name, key in keys.items():
        top = key.split(".")[0].split("[")[0]
        line = found.places.get(top)
        text = f"{line}{key[len(top) :]}" if line else f"{path}: {key}"
        places[name] = FieldName(name, text=text)
    return places


def _check_numbers(
    found: FileKeys, path: Path, imported: Imported, given: Mapping[str, Any]
) -> None:
    """That what a tool takes a number from is one, unless its user gives the batch besides."""
    for one in imported.of(NO_NUMBER):
        if "global_batch" not in given:
            raise QuestionError(
                f"{str(one.value)[:80]!r} is no whole number",
                where=found.places.get(one.key, f"{path}: {one.key}"),
                mend=f"Give one, or {FieldName('global_batch')} besides",
            )


def _check(
    values: Mapping[str, Any],
    where: Mapping[str, FieldName],
    path: Path,
    given: Mapping[str, Any],
    data: str | None,
) -> None:
    """That the file's model and data can be asked about, or are given besides."""
    if "model" not in values and "model" not in given:
        raise QuestionError(
            "names no model that is known here",
            where=str(path),
            mend=f"Name it with {FieldName('model')}",
        )
    named = values.get("data")
    if named is None or data is not None or given.keys() & {"samples", "data", "audio_hours"}:
        return
    if not _exists(Path(str(named))):
        raise QuestionError(
            f"{str(named)[:80]!r} is not on this machine",
            where=where["data"],
            mend=f"Name the data's file after this one, or give {FieldName('samples')} and "
            f"{FieldName('tokens_per_sample')}",
        )


def _allowed(name: str, value: Any) -> bool:
    """Whether a question has a word for it: not for a rare optimizer's name."""
    if not choices(Question.model_fields[name].annotation):
        return True
    try:
        Question.model_validate({"model": "any", "samples": 1, name: value})
    except QuestionError:
        return False
    return True


def _notes(importer: Importer, path: Path, imported: Imported) -> tuple[str, ...]:
    parts = [
        (words, ", ".join(imported.words(fate)))
        for words, fate in (
            ("not in this answer, since it cannot be asked yet", CANNOT_BE_ASKED),
            ("not understood", UNKNOWN),
        )
    ]
    said = "; ".join(f"{words}: {keys}" for words, keys in parts if keys)
    found = [f"{path.name}: {words}" for words in imported.concluded]
    return (
        *([f"{path.name} is read as a file of {importer.tool}; {said}"] if said else []),
        *found,
    )


def _granted(
    importer: Importer, path: Path, imported: Imported, given: Mapping[str, Any]
) -> tuple[str, ...]:
    words = dict.fromkeys(w for name, w in imported.assumed.items() if name not in given)
    if not words:
        return ()
    return (f"as {importer.tool} does where {path.name} does not say: {', '.join(words)}",)


def _gpus(given: Any) -> int | None:
    """How many devices are asked for; what is no number is refused with the question."""
    if given is None:
        return None
    try:
        return max(1, int(parse_count(given) if isinstance(given, str) else given))
    except (QuestionError, TypeError, ValueError):
        return None


def from_folder(keys: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The keys of a file with the paths that are there, taken from the file's folder."""
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
