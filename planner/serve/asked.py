"""What somebody else may ask: the question's fields without those that would read this machine's
disk, run foreign code or reach the network, and names instead of paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model

from planner.errors import FieldName, ModelError, QuestionError, nearest
from planner.question import Question
from planner.question.parsing import FILE_SUFFIXES, question_from

#: Never set from outside: they read this machine, run code that comes with weights, or decide
#: about its network.
CLOSED = ("data", "text_columns", "exact", "trust_remote_code", "offline", "parallel")
#: Models are names; paths, factories (package.module:function) and files of questions are not.
MODELS = ("model", "teacher")
#: A hub id, a catalogue name or a size; ``timm:`` and ``torchvision:`` name a library's models.
NAME = re.compile(r"(?:(?:timm|torchvision):)?\w[\w.+ -]*(?:/\w[\w.+-]*)?", re.ASCII)
FILES = (*FILE_SUFFIXES, ".json", ".csv", ".bin")
LONGEST_TEXT, LONGEST_LIST = 200, 64
Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT)]


def open_fields() -> Iterator[str]:
    """The fields of a question that may be asked from outside."""
    return (name for name in Question.model_fields if name not in CLOSED)


def _model() -> type[BaseModel]:
    known = Question.model_fields
    fields: dict[str, Any] = {
        name: (known[name].annotation, Field(known[name].default, **_said(name)))
        for name in open_fields()
        if name != "model"
    }
    return create_model(
        "Asked",
        __config__=ConfigDict(extra="forbid"),
        __doc__="A question: the fields of planner.Question that may be asked from outside.",
        model=(str, Field(description=known["model"].description)),
        **fields,
    )


def _said(name: str) -> dict[str, Any]:
    """A field's description and its limits."""
    info = Question.model_fields[name]
    limits = {
        limit: value
        for rule in info.metadata
        for limit in ("gt", "ge", "lt", "le")
        if (value := getattr(rule, limit, None)) is not None
    }
    return {"description": info.description, **limits}


#: The shape of a question in the API, for its documentation; ``asked`` is what reads one.
Asked = _model()


def spelled(name: str, off: bool = False) -> str:
    """Fields as the API calls them: by their names."""
    return f"{name} = false" if off else name


def asked(fields: Mapping[str, Any], *, online: bool = False) -> Question:
    """The question of fields from outside. ``online``: whether a hub id that no catalogue holds may
    be asked for over the network. Raises QuestionError and ModelError; reads no file."""
    given = {
        str(name): value for name, value in fields.items() if value is not None and value != ""
    }
    for name, value in given.items():
        _check_open(name)
        _check_size(name, value)
    model = given.pop("model", None)
    if not isinstance(model, str):
        raise QuestionError("no model is named", where=FieldName("model"), mend="Name a model")
    for name, value in (("model", model), ("teacher", given.get("teacher"))):
        if value is not None:
            _check_model(name, value)
    if "gpu" in given:
        _check_name("gpu", given["gpu"])
    return question_from(model, None, {**given, "offline": not online})


def _check_open(name: str) -> None:
    if name in CLOSED:
        raise QuestionError(
            "is not set from here",
            where=FieldName(name),
            mend="Ask planner estimate on this machine",
        )
    if name not in Question.model_fields:
        near = nearest(str(name), list(open_fields()))
        raise QuestionError(
            f"there is no field {str(name)[:LONGEST_TEXT]!r}",
            mend=f"Did you mean {' or '.join(near)}?" if near else None,
        )


def _check_size(name: str, value: Any) -> None:
    values = value if isinstance(value, list) else [value]
    if len(values) > LONGEST_LIST:
        raise QuestionError(f"more than {LONGEST_LIST} entries", where=FieldName(name))
    for one in values:
        if isinstance(one, str) and (len(one) > LONGEST_TEXT or not one.isprintable()):
            raise QuestionError(
                f"longer than {LONGEST_TEXT} characters, or with control characters",
                where=FieldName(name),
            )
        if isinstance(one, float) and not abs(one) < float("inf"):
            raise QuestionError("is not a number", where=FieldName(name))
        if isinstance(one, (list, dict)):
            raise QuestionError("is not a plain value", where=FieldName(name))


def _check_name(name: str, value: Any) -> None:
    """No path, no file, and nothing that lies under this name where the server runs."""
    if not isinstance(value, str):
        raise QuestionError(f"{value!r} is not text", where=FieldName(name))
    text = value.strip()
    is_path = text.startswith((".", "/", "~", "\\")) or "\\" in text or "/." in text
    if is_path or text.lower().endswith(FILES) or (name == "gpu" and "/" in text):
        raise QuestionError(
            f"{text!r} is a path: files of this machine are not read from here",
            where=FieldName(name),
            mend="Give a name",
        )


def _check_model(name: str, value: Any) -> None:
    _check_name(name, value)
    text = str(value).strip()
    if not NAME.fullmatch(text):
        raise ModelError(
            f"{text!r} names no model that can be asked for from here",
            where=FieldName(name),
            mend="Give a name of the catalogue, a hub id, or a size such as 7B",
        )
    if _lies_here(text):
        raise ModelError(
            "a file or folder of this name lies where the server runs, and is not read from here",
            where=FieldName(name),
            mend="Give the hub id, or ask planner estimate on this machine",
        )


def _lies_here(text: str) -> bool:
    """A folder would be taken before the catalogue and the hub."""
    return Path(text).exists()
