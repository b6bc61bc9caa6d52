"""Records become flat: JSON inside of cells is read, dictionaries become columns with dots in their
names, lists of records become records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.datasets.constants import ENCODER_TASKS, constant
from planner.datasets.layout.cells import names
from planner.datasets.layout.cells.messages import is_chat, is_message, parsed
from planner.datasets.layout.cells.values import LANGUAGE, kind_of_texts
from planner.datasets.layout.cells.walk import empty
from planner.datasets.layout.column import sample_of
from planner.datasets.layout.encoders import as_pairs, judged_pairs
from planner.datasets.layout.spoken import converted, listed_turns, written_turns
from planner.datasets.layout.unfold import (
    NESTED,
    nested_list,
    parallel_lists,
    spoken_lists,
    with_turns,
)

DEEPEST = 5  # dictionaries inside of dictionaries that become columns, lists that become records
MOST_KEYS = 64  # a dictionary with more of them over the records is data, not columns
DECODED = ("history", "conversation", "token_list", "label", "chosen", "rejected")

Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Prepared:
    """``owners``: int64 [records], which record of the file each came from; None where each is one.
    ``notes``: what was done to them."""

    records: list[Record]
    owners: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def prepare(
    records: Sequence[Record], task: str | None = None, named: Sequence[str] = ()
) -> Prepared:
    """Flat records; the given ones themselves where they are flat already. Conversations in lists
    of texts and in texts become messages, but for a ``task`` of encoders and in the columns that
    the user ``named``."""
    turns = task not in ENCODER_TASKS
    flat = _flat(list(records))
    owners: np.ndarray | None = None
    notes: list[str] = []
    if turns:
        flat, notes = _talking(flat, listed_turns, named)
    for _ in range(DEEPEST):
        sample = sample_of(flat)
        found = nested_list(sample) or parallel_lists(sample, len(flat))
        if found is None:
            break
        expand, note = found
        flat, mine = _expanded(flat, expand)
        owners = mine if owners is None else owners[mine]
        notes = [said for said in notes if not said.startswith(NESTED)] + [note]
        flat = _flat(flat)
    if turns:
        flat, said = _talking(flat, written_turns, named)
        notes += said
    found = judged_pairs(sample_of(flat)) if task == "reranking" else None
    if found is not None:
        flat, mine = _expanded(flat, lambda record: as_pairs(record, *found))
        owners = mine if owners is None else owners[mine]
        notes.append("each query is read with its right passages and its wrong ones, a pair each")
    return Prepared(flat, owners, tuple(notes))


def _talking(
    records: list[Record], find: Callable[..., Any], named: Sequence[str]
) -> tuple[list[Record], list[str]]:
    columns, said = find(sample_of(records), named)
    return ([converted(record, columns) for record in records] if columns else records), said


def _expanded(
    records: list[Record], expand: Callable[[Record], list[Record]]
) -> tuple[list[Record], np.ndarray]:
    parts = [expand(record) for record in records]
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return [record for part in parts for record in part], owners


def _flat(records: list[Record]) -> list[Record]:
    sample = sample_of(records)
    coded = _coded(sample)
    if coded:
        records = [_decoded(record, coded) for record in records]
        sample = sample_of(records)
    spoken = spoken_lists(sample)
    if spoken:
        records = [with_turns(record, spoken) for record in records]
        sample = sample_of(records)
    for _ in range(DEEPEST):
        opened = _opened(sample)
        if not opened:
            break
        records = [_flattened(record, opened) for record in records]
        sample = sample_of(records)
    return records


def _coded(sample: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns whose texts are JSON, or Python's literals, of something that is no text: messages, a
    history, tokens, tags, SQuAD's answers."""
    cells: dict[str, list[str]] = {}
    for record in sample[:200]:
        for path, value in record.items():
            if isinstance(value, str) and value[:1] in ("[", "{"):
                cells.setdefault(path, []).append(value)
    found = []
    for path, texts in cells.items():
        filled = sum(not empty(record.get(path)) for record in sample[:200])
        if len(texts) < constant("copy_share") * filled:
            continue
        values = [parsed(text) for text in texts[:50]]
        good = sum(_is_structure(value, path) for value in values)
        if good >= constant("copy_share") * len(values):
            found.append(path)
    return found


def _is_structure(value: Any, path: str) -> bool:
    if is_chat(value, path):
        return True
    if isinstance(value, dict):
        return "answer_start" in value or (names.role_of(path)[0] in DECODED and bool(value))
    if not isinstance(value, list) or not value:
        return False
    return names.role_of(path)[0] in DECODED or (not names.role_of(path)[0] and _are_texts(value))


def _are_texts(value: list[Any]) -> bool:
    """Several texts of language, such as the turns of a conversation."""
    if len(value) < 2 or not all(isinstance(item, str) for item in value):
        return False
    return kind_of_texts(value) == LANGUAGE


def _decoded(record: Record, paths: Sequence[str]) -> Record:
    out = dict(record)
    for path in paths:
        if isinstance(out.get(path), str):
            out[path] = parsed(out[path])
    return out


def _opened(sample: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Columns that hold dictionaries with few different keys; what is a message, the schema of a
    tool or says things about the record stays as it is. True: lists under each key make turns."""
    keys: dict[str, dict[str, None]] = {}
    closed: set[str] = set()
    for record in sample:
        for path, value in record.items():
            if isinstance(value, dict) and path not in closed:
                if is_message(value) or names.role_of(path)[0] in ("tools", "aside"):
                    closed.add(path)
                keys.setdefault(path, {}).update(dict.fromkeys(map(str, value)))
    return {
        path: names.role_of(path)[0] in ("conversation", "history")
        for path, inner in keys.items()
        if path not in closed and len(inner) <= MOST_KEYS
    }


def _flattened(record: Record, opened: Mapping[str, bool]) -> Record:
    if not any(isinstance(record.get(path), dict) for path in opened):
        return record
    out: Record = {}
    for path, value in record.items():
        if path not in opened or not isinstance(value, dict):
            out[path] = value
        elif opened[path] and (rows := _rows(value)) is not None:
            out[path] = rows
        else:
            for key, inner in value.items():
                out[f"{path}.{key}"] = inner
    return out


def _rows(value: Mapping[str, Any]) -> list[Record] | None:
    """{"speaker": [...], "utterance": [...]} as a list of dictionaries; None where it is none."""
    lists = [inner for inner in value.values() if isinstance(inner, (list, tuple))]
    if not lists or len(lists) < len(value) or len(set(map(len, lists))) != 1:
        return None
    return [dict(zip(value, items)) for items in zip(*value.values())]
