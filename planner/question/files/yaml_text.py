"""YAML as plain values, with the line of every top-level key. No tags are run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from planner.errors import QuestionError
from planner.question.files.document import Document

#: Values that a file may grow to by its aliases; a page of settings has some hundred.
MOST_VALUES = 20_000
MERGE = "tag:yaml.org,2002:merge"
INTEGER, FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
#: No setting has more digits.
MOST_DIGITS = 40
#: A whole number that YAML 1.1 reads to the base of 8, and YAML 1.2 to that of 10.
TWO_MEANINGS = re.compile(r"[-+]?0[0-7_]+")


class _Strict(yaml.SafeLoader):
    """Refuses a key that is given twice, at any depth: plain YAML keeps the last in silence. A
    number with colons stays a text, as in YAML 1.2: 1.1 takes ``1:30`` for 90."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        _lines(node)
        return super().construct_mapping(node, deep=deep)

    def construct_number(self, node: Any) -> Any:
        text = str(node.value)
        if ":" in text:
            return text
        if len(text) > MOST_DIGITS:
            raise yaml.MarkedYAMLError(
                problem=f"a number of {len(text):,} signs", problem_mark=node.start_mark
            )
        if TWO_MEANINGS.fullmatch(text):
            raise yaml.MarkedYAMLError(
                problem=f"{text} is {int(text.replace('_', ''), 8)} to some programs and "
                f"{int(text.replace('_', ''))} to others: write it without the leading 0",
                problem_mark=node.start_mark,
            )
        made = self.construct_yaml_int if node.tag == INTEGER else self.construct_yaml_float
        return made(node)


for _tag in (INTEGER, FLOAT):
    _Strict.add_constructor(_tag, _Strict.construct_number)


def of_yaml(text: str, path: Path) -> Document:
    """Raises QuestionError."""
    loader: Any = None  # PyYAML's stubs leave its methods untyped
    try:
        loader = _Strict(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise QuestionError(
                "a project file is a list of 'key: value' lines",
                where=str(path),
                mend="planner init writes one",
            )
        if _grown(root, {}, set()) > MOST_VALUES:
            raise QuestionError(
                f"its aliases make more than {MOST_VALUES} values of it", where=str(path)
            )
        lines = _lines(root)
        values = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        raise QuestionError(_problem(error), where=_place(path, error)) from None
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError, TypeError) as error:
        raise QuestionError(
            f"not readable as YAML: {' '.join(str(error).split())[:200]}", where=str(path)
        ) from None
    finally:
        if loader is not None:
            loader.dispose()
    return Document({str(key): value for key, value in values.items()}, lines)


def _grown(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """How many values a node stands for, those of its aliases counted each time. Raises ValueError
    for one that holds itself."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in above:
        raise ValueError("a value that holds itself")
    if isinstance(node, yaml.ScalarNode):
        return 1
    above.add(id(node))
    parts: list[Any] = node.value
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    known[id(node)] = 1 + sum(_grown(part, known, above) for part in parts)
    above.discard(id(node))
    return known[id(node)]


def _lines(node: yaml.MappingNode) -> dict[str, int]:
    """The line of every key. Raises MarkedYAMLError for one that is given twice or is no name."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if key.tag == MERGE:
            continue
        name = key.value
        if not isinstance(name, str):
            raise yaml.MarkedYAMLError(
                problem="unknown key, which is no name", problem_mark=key.start_mark
            )
        if name in lines:
            raise _Twice(name, lines[name], key.start_mark)
        lines[name] = key.start_mark.line + 1
    return lines


class _Twice(yaml.MarkedYAMLError):
    def __init__(self, name: str, first: int, mark: Any):
        super().__init__(problem_mark=mark)
        self.words = f"{name!r} is given twice, first in line {first}"


def _problem(error: yaml.MarkedYAMLError) -> str:
    if isinstance(error, _Twice):
        return error.words
    return "not YAML: " + ", ".join(filter(None, [error.context, error.problem]))


def _place(path: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{path} line {mark.line + 1}" if mark else str(path)
