"""Writes ``planner/api/fields.py``, the keyword arguments that editors show, from ``Question``.

    python benchmarks/question_fields.py            # what it holds, without writing
    python benchmarks/question_fields.py --write

A field of ``Question`` that is new has to be there too: ``tests/api/test_fields.py`` says so.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from planner.files import write  # noqa: E402
from planner.question import Question  # noqa: E402
from planner.question.fields import choices, plain_types  # noqa: E402

FILE = ROOT / "planner" / "api" / "fields.py"
NAMED = ("model", "data")
HEAD = '''"""The keyword arguments of ``estimate`` and ``choose`` for editors and checkers: every
field of ``Question`` but the model and the data, with what it takes. Written by
``benchmarks/question_fields.py``."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Literal, TypedDict


class QuestionFields(TypedDict, total=False):
    """Numbers may be texts with a suffix (``"20k"``), lists a text with commas. ``help(Question)``
    says what each is."""

'''
#: What a field of a type takes, the first type that it has.
TAKES = (
    (list, "Sequence[str] | str"),
    (bool, "bool"),
    (int, "int | str"),
    (float, "float | str"),
    (datetime.datetime, "datetime.datetime | str"),
)
LONGEST = 100


def text() -> str:
    """The file as it should be."""
    fields = Question.model_fields.items()
    return HEAD + "".join(
        _line(name, info.annotation) for name, info in fields if name not in NAMED
    )


def _line(name: str, annotation: Any) -> str:
    parts, literal = _takes(annotation)
    if type(None) in get_args(annotation):
        parts.append("None")
    line = f"    {name}: {' | '.join(parts)}\n"
    if not literal or len(line) <= LONGEST + 1:
        return line
    names = "".join(f'            "{choice}",\n' for choice in choices(annotation))
    return f"    {name}: (\n        Literal[\n{names}        ]\n        | None\n    )\n"


def _takes(annotation: Any) -> tuple[list[str], bool]:
    """(types in words, whether only certain names are allowed)."""
    types = plain_types(annotation)
    found = next((words for kind, words in TAKES if kind in types), None)
    if found is not None:
        return [found], False
    if any(get_origin(part) is Literal for part in (annotation, *get_args(annotation))):
        names = ", ".join(f'"{name}"' for name in choices(annotation))
        return [f"Literal[{names}]"], True
    return ["str"], False


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        write(FILE, text())
    else:
        print(text(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
