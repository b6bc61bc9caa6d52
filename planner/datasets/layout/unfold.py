"""Records inside of records: a list of questions under each text, a list under each column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planner.datasets.constants import constant
from planner.datasets.layout.cells import names
from planner.datasets.layout.cells.messages import is_chat
from planner.datasets.layout.cells.values import LABEL, LANGUAGE, kind_of_texts
from planner.datasets.layout.cells.walk import text_bytes
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
NESTED = "records are nested:"
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
    note = f"{NESTED} each item of {path!r} is one, with what stands around the list"
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


def spoken_lists(sample: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Lists of dictionaries that are turns by their structure, under keys of any name: one key
    names few speakers who take turns, one holds language. Column → (speaker's key, text's key)."""
    found = {}
    for path in {path for record in sample for path, value in record.items() if _is_list(value)}:
        cells = [record[path] for record in sample if _is_list(record.get(path))]
        if names.role_of(path)[0] in ("answer", "tools", "aside") or is_chat(cells[0], path):
            continue
        keys = _turn_keys([item for value in cells for item in value])
        if keys and sum(map(len, cells)) > len(cells) and _take_turns(cells, keys[0]):
            found[path] = keys
    return found


def _is_list(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(item, dict) for item in value)
    )


def _turn_keys(items: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    texts: dict[str, list[str]] = {}
    for item in items[:400]:
        for key, value in item.items():
            if isinstance(value, str):
                texts.setdefault(key, []).append(value)
    kinds = {key: kind_of_texts(values) for key, values in texts.items()}
    speakers = [k for k, kind in kinds.items() if kind == LABEL and len(set(texts[k])) > 1]
    spoken = [k for k, kind in kinds.items() if kind == LANGUAGE]
    if len(speakers) != 1 or len(spoken) != 1 or len(set(texts[speakers[0]])) > MOST_SPEAKERS:
        return None
    return speakers[0], spoken[0]


MOST_SPEAKERS = 8


def _take_turns(cells: Sequence[Sequence[Mapping[str, Any]]], speaker: str) -> bool:
    """Hardly ever does one speak twice in a row."""
    pairs = [
        first.get(speaker) != second.get(speaker)
        for value in cells
        for first, second in zip(value, value[1:])
    ]
    return sum(pairs) >= constant("copy_share") * len(pairs)


def with_turns(record: Record, spoken: Mapping[str, tuple[str, str]]) -> Record:
    """The record with those lists under the names of messages."""
    out = dict(record)
    for path, (speaker, text) in spoken.items():
        if _is_list(out.get(path)):
            renamed = {speaker: "role", text: "content"}
            out[path] = [{renamed.get(key, key): v for key, v in i.items()} for i in out[path]]
    return out


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
