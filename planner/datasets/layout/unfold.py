"""Records inside of records: a list of questions under each text, a list under each column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planner.datasets.layout import names
from planner.datasets.layout.column import (
    CHAT,
    NUMBERS,
    OBJECTS,
    TEXT,
    TEXTS,
    TOKENS,
    Column,
    judge,
)
from planner.datasets.layout.values import LANGUAGE
from planner.datasets.layout.walk import text_bytes

Record = dict[str, Any]
Unfolding = tuple[Callable[[Record], list[Record]], str]
#: Lists under these roles belong to a record: answers, schemas, what is said about it.
BELONGS = (
    "answer",
    "tools",
    "aside",
    "label",
    "identifier",
    "conversation",
    "history",
    "token_list",
)
NESTED_SHARE = 0.5  # of the language in a list from which its items are the records
BATCH = 8  # mean items from which lists under every column are a batch, not a record


def nested_list(sample: Sequence[Mapping[str, Any]]) -> Unfolding | None:
    """The list whose items are the records, such as SQuAD's ``paragraphs`` and ``qas``; None where
    the records themselves are."""
    columns = judge(sample)
    if _is_complete(columns.values()):
        return None
    lists = {
        path: column
        for path, column in columns.items()
        if column.form == OBJECTS
        and column.kind == LANGUAGE
        and names.role_of(path)[0] not in BELONGS
        and _holds_records(sample, path)
    }
    if not lists:
        return None
    path = max(lists, key=lambda p: lists[p].size)
    named = names.role_of(path)[0] == "records"
    whole = sum(c.size for c in columns.values() if c.is_language)
    if not named and lists[path].size < NESTED_SHARE * whole:
        return None
    note = f"each item of {path!r} is a record, with what stands beside the list"
    return _expander(path), note


def _is_complete(columns: Any) -> bool:
    """A conversation, or a prompt with its answer, stands at the top."""
    if any(c.form == CHAT and c.role != "history" for c in columns):
        return True
    known = {c.role for c in columns if c.known and c.form in (TEXT, TEXTS, CHAT)}
    asks = bool(known & {"prompt", "input"})
    return asks and bool(known & {"answer", "chosen"})


def _holds_records(sample: Sequence[Mapping[str, Any]], path: str) -> bool:
    cells = [record[path] for record in sample if record.get(path)]
    return bool(cells) and all(
        isinstance(value, (list, tuple)) and all(isinstance(item, dict) for item in value)
        for value in cells
    )


def _expander(path: str) -> Callable[[Record], list[Record]]:
    def expand(record: Record) -> list[Record]:
        items = record.get(path) or ()
        if not isinstance(items, (list, tuple)):
            return [record]
        beside = {key: value for key, value in record.items() if key != path}
        inner = [
            beside | {f"{path}.{key}": value for key, value in item.items()}
            for item in items
            if isinstance(item, dict)
        ]
        return inner or ([beside] if text_bytes(beside) else [])

    return expand


def parallel_lists(sample: Sequence[Mapping[str, Any]], records: int) -> Unfolding | None:
    """Lists of one length under every column: {"text": [...], "label": [...]}, a batch a line or
    the columns of a whole file. Lists of tokens and their tags are one record; so are the
    questions and answers on one text."""
    columns = judge(sample)
    texts = [c for c in columns.values() if c.form == TEXTS and c.kind == LANGUAGE]
    if not texts or any(
        c.form in (TEXT, CHAT, OBJECTS) and c.is_language for c in columns.values()
    ):
        return None
    if any(c.role in ("conversation", "history") for c in texts):
        return None
    lists = [c for c in columns.values() if c.form in (TEXTS, TOKENS, NUMBERS)]
    alike = [c.path for c in lists if _one_length(sample, texts[0].path, c.path)]
    batch = records == 1 and texts[0].length > 1
    batch = batch or (len(alike) > 1 and (not _are_rounds(texts) or texts[0].length >= BATCH))
    if not batch:
        return None
    note = f"each line holds lists of records: the items of {', '.join(map(repr, alike))} are taken"
    return _zipper(alike), note


def _are_rounds(texts: Sequence[Column]) -> bool:
    roles = {column.role for column in texts}
    return "answer" in roles and bool(roles & {"prompt", "input"})


def _one_length(sample: Sequence[Mapping[str, Any]], first: str, second: str) -> bool:
    return all(
        isinstance(record.get(second), (list, tuple)) and len(record[first]) == len(record[second])
        for record in sample
        if isinstance(record.get(first), (list, tuple))
    )


def _zipper(paths: Sequence[str]) -> Callable[[Record], list[Record]]:
    def expand(record: Record) -> list[Record]:
        lists = [record.get(path) for path in paths]
        if not all(isinstance(value, (list, tuple)) for value in lists):
            return [record]
        beside = {key: value for key, value in record.items() if key not in paths}
        return [beside | dict(zip(paths, items)) for items in zip(*lists)]  # type: ignore[arg-type]

    return expand
