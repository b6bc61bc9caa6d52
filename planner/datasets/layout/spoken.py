"""Conversations that only their structure tells: lists of texts in which two take turns, and texts
that name who speaks. Their cells become messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planner.datasets.constants import constant
from planner.datasets.layout.cells import names
from planner.datasets.layout.cells.values import LANGUAGE
from planner.datasets.layout.cells.written import asks_and_answers, style_of, turns_of_text
from planner.datasets.layout.column import CHAT, TEXT, TEXTS, TOKENS, Column, inner_name, judge
from planner.errors import FieldName

Record = dict[str, Any]
#: What a column's cells become.
Convert = Callable[[Any], Any]
#: Cells by which a column is judged.
JUDGED = 200
#: A share that goes without saying.
NEARLY_ALL = 0.99
#: Roles of texts that need others beside them.
BESIDE = ("chosen", "rejected", "prompt")
#: Roles of texts that stand before a conversation, whatever their size.
BEFORE = ("system", "tools", "reasoning", "aside", "rejected")


def listed_turns(
    sample: Sequence[Mapping[str, Any]], named: Sequence[str]
) -> tuple[dict[str, Convert], list[str]]:
    """({column: what its cells become}, what to say) for lists of texts that are turns of a user
    and an assistant. ``named``: columns that the user named, which count as they stand."""
    columns = judge(sample)
    found: dict[str, Convert] = {}
    said = []
    for path, column in columns.items():
        if column.form != TEXTS or column.role not in ("", "text") or _is_named(path, named):
            continue
        lists = [v for r in sample if (v := r.get(path)) and all(isinstance(t, str) for t in v)]
        if _is_main(column, columns) and asks_and_answers(lists, named_text=column.role == "text"):
            found[path] = _alternating
            text = f"the texts under {path!r} are taken as turns of user and assistant"
            said.append(text + _as_it_stands(path))
    return found, said


def _alternating(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        return value
    roles = ("user", "assistant")
    return [_message(roles[place % 2], text) for place, text in enumerate(value) if text]


def written_turns(
    sample: Sequence[Mapping[str, Any]], named: Sequence[str]
) -> tuple[dict[str, Convert], list[str]]:
    """As ``listed_turns``, for columns of which most texts name user and assistant."""
    columns = judge(sample)
    found: dict[str, Convert] = {}
    told: dict[str, list[str]] = {}
    for path, column in columns.items():
        if not _may_be_written(column, columns) or _is_named(path, named):
            continue
        texts = [v for r in sample if isinstance(v := r.get(path), str) and v.strip()]
        style = style_of(texts[:: max(1, len(texts) // JUDGED)])
        if style is not None:
            found[path] = _writer(style[0], "user" if column.role == "prompt" else "assistant")
            mend = "" if column.role in BESIDE else _as_it_stands(path)
            of = "" if style[3] > NEARLY_ALL else f" in {style[3]:.0%} of the records"
            text = f"are told by {style[1]!r} and {style[2]!r}{of}{mend}"
            told.setdefault(text, []).append(repr(path))
    return found, [f"the turns in {' and '.join(paths)} {text}" for text, paths in told.items()]


def _as_it_stands(path: str) -> str:
    return f" ({FieldName('text_columns')} {path} counts it as it stands)"


def _writer(style: str, role: str) -> Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, str) or not value.strip():
            return value
        return [_message(turn.role, turn.content) for turn in turns_of_text(value, role, (style,))]

    return convert


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _may_be_written(column: Column, columns: Mapping[str, Column]) -> bool:
    """Preference pairs and prompts beside their answers; else what holds nearly all the text."""
    if column.form != TEXT or column.kind != LANGUAGE:
        return False
    roles = {one.role for one in columns.values()}
    if column.role in ("chosen", "rejected"):
        return {"chosen", "rejected"} <= roles
    if column.role == "prompt" and roles & {"answer", "chosen"}:
        return True
    return column.role not in (*BEFORE, "history", "identifier") and _is_main(column, columns)


def _is_main(column: Column, columns: Mapping[str, Column]) -> bool:
    """Hardly any text stands beside the column, and nothing that it goes together with."""
    spoken = [
        one
        for one in columns.values()
        if one.role not in BEFORE and one.is_language and one.form in (TEXT, TEXTS, TOKENS, CHAT)
    ]
    beside = {inner_name(one.path) for one in spoken}
    pairs = (*names.pairs("transfer"), *names.pairs("pair"))
    if any(inner_name(column.path) in pair and beside >= set(pair) for pair in pairs):
        return False
    return column.size >= (1 - constant("large_share")) * sum(one.size for one in spoken)


def _is_named(path: str, named: Sequence[str]) -> bool:
    return any(path == n or path.startswith(f"{n}.") or path.endswith(f".{n}") for n in named)


def converted(record: Record, columns: Mapping[str, Convert]) -> Record:
    """The record with messages in these columns."""
    return record | {path: to(record[path]) for path, to in columns.items() if path in record}
