"""Records of one JSON document, whatever stands around them: a list, lists by split, columns,
COCO's tables, objects one after the other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.datasets.layout.cells import names
from planner.datasets.layout.cells.messages import is_message
from planner.datasets.readers import IMAGE
from planner.errors import DataError
from planner.files import checked, loads

Record = dict[str, Any]
Found = tuple[list[Record], str]
DEEPEST = 4  # objects around the list of records
MEND = "Give a list of objects, or .jsonl with an object a line"


def as_record(value: Any) -> Record | None:
    """An object as it is, a string as its text, a list of objects or of pairs as a chat, a list of
    texts as texts; None for anything else."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, list) and value:
        if all(isinstance(item, (dict, list)) for item in value):
            return {"messages": value}
        if all(isinstance(item, str) for item in value):
            return {"texts": value}
        if all(isinstance(item, int) for item in value):
            return {"input_ids": value}
    return None


def document(text: str) -> Any:
    """The value of a text; a list where several values follow each other. Raises ValueError,
    RecursionError."""
    try:
        return loads(text)
    except ValueError as error:
        if "Extra data" not in str(error):
            raise
    decoder, place, values = json.JSONDecoder(), 0, []
    while place < len(text):
        start = len(text) - len(text[place:].lstrip()) if text[place].isspace() else place
        if start >= len(text):
            break
        value, place = decoder.raw_decode(text, start)
        values.append(value)
    return checked(values, text)


def records_of(value: Any, file: Path, depth: int = DEEPEST) -> Found:
    """(records, what had to be said). Raises DataError where there is no record."""
    if isinstance(value, list):
        return _of_list(value, file), ""
    if not isinstance(value, dict):
        raise DataError(
            f"the document is a {type(value).__name__}, not a list of records",
            where=str(file),
            mend="Give a list of objects",
        )
    for reading in (_coco, _table, _lists, _columns, _by_key):
        found = reading(value, file)
        if found is not None:
            return found
    inner = {k: v for k, v in value.items() if isinstance(v, dict) and v}
    if inner and depth:
        name = _split(inner) or max(inner, key=lambda k: len(str(inner[k])[:10_000]))
        try:
            records, note = records_of(inner[name], file, depth - 1)
            return records, note or f"the records stand under {name!r}"
        except DataError:
            pass
    if any(isinstance(item, str) and " " in item.strip() for item in value.values()):
        return [value], "the document is one record"
    raise DataError("the document holds no list of records", where=str(file), mend=MEND)


def _of_list(items: Sequence[Any], file: Path) -> list[Record]:
    records = [record for item in items if (record := as_record(item)) is not None]
    if len(records) < len(items):
        raise DataError(
            f"{len(items) - len(records)} of {len(items)} items of the list are no objects",
            where=str(file),
            mend="Make each an object",
        )
    return records


def _split(value: Mapping[str, Any]) -> str:
    """The key of the training split; "" where none is named so."""
    return next((k for k in value if names.normal(k) in names.words("column", "split")), "")


def _coco(value: Mapping[str, Any], file: Path) -> Found | None:
    """COCO's tables of images and captions: a record a caption, with its image's size."""
    images, notes = value.get("images"), value.get("annotations")
    if not (isinstance(images, list) and isinstance(notes, list) and images and notes):
        return None
    if not (isinstance(images[0], dict) and isinstance(notes[0], dict) and "id" in images[0]):
        return None
    by_id = {image.get("id"): image for image in images if isinstance(image, dict)}
    captions = [note for note in notes if isinstance(note, dict) and note.get("caption")]
    if not captions:
        raise DataError(
            "the annotations hold no captions: boxes and masks are not understood",
            where=str(file),
            mend="Give captions, or name a folder of images",
        )
    records = [
        _pictured(by_id.get(note.get("image_id"), {})) | {"caption": note["caption"]}
        for note in captions
    ]
    each = len(captions) / len(images)
    return records, f"a record is a caption with its image; {each:.3g} captions an image"


def _pictured(image: Mapping[str, Any]) -> Record:
    size = (image.get("width"), image.get("height"))
    known = all(isinstance(side, int) and side > 0 for side in size)
    return {"image": image.get("file_name"), **({IMAGE: size} if known else {})}


def _table(value: Mapping[str, Any], file: Path) -> Found | None:
    """{"columns": [...], "data": [[...], ...]}, as pandas and Spark write tables."""
    columns = value.get("columns") or value.get("header")
    rows = value.get("data") or value.get("rows")
    if not (isinstance(columns, list) and isinstance(rows, list) and rows):
        return None
    if not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        return None
    called = [c.get("name", "") if isinstance(c, dict) else str(c) for c in columns]
    return [dict(zip(called, row)) for row in rows], "the document is a table of rows"


def _lists(value: Mapping[str, Any], file: Path) -> Found | None:
    """An object of which a list holds the records: the training split, or the longest one."""
    lists = {
        k: v
        for k, v in value.items()
        if isinstance(v, list) and v and (isinstance(v[0], dict) or _is_chat_list(v))
    }
    if not lists:
        return None
    if any(all(map(is_message, items)) for items in lists.values()):
        return [dict(value)], "the document is one record"
    name = _split(lists) or ("data" if "data" in lists else max(lists, key=lambda k: len(lists[k])))
    left = [f"{len(v)} of {k!r}" for k, v in lists.items() if k != name]
    note = f"the records are the list {name!r}"
    return _of_list(lists[name], file), note + (f"; left out: {', '.join(left)}" if left else "")


def _is_chat_list(items: Sequence[Any]) -> bool:
    return all(isinstance(item, list) and item and isinstance(item[0], dict) for item in items)


def _columns(value: Mapping[str, Any], file: Path) -> Found | None:
    """{"text": [...], "label": [...]} or {"text": {"0": ...}}: columns of one length."""
    lists = {k: v for k, v in value.items() if isinstance(v, list) and len(v) > 0}
    if lists and len(set(map(len, lists.values()))) == 1 and _hold_text(lists.values()):
        rows = [dict(zip(lists, row)) for row in zip(*lists.values())]
        return rows, f"the document holds columns: {', '.join(map(repr, lists))}"
    tables = {k: v for k, v in value.items() if isinstance(v, dict) and v}
    keys = [tuple(v) for v in tables.values()]
    numbered = keys and all(str(key).isdigit() for key in keys[0])
    if numbered and all(set(other) == set(keys[0]) for other in keys):
        rows = [{name: table[key] for name, table in tables.items()} for key in keys[0]]
        return rows, f"the document holds columns: {', '.join(map(repr, tables))}"
    return None


def _hold_text(lists: Any) -> bool:
    return any(isinstance(items[0], str) for items in lists)


def _by_key(value: Mapping[str, Any], file: Path) -> Found | None:
    """{"id1": {...}, "id2": {...}}: objects of like keys, each a record."""
    inner = list(value.values())
    if len(inner) < 2 or not all(isinstance(item, dict) and item for item in inner):
        return None
    if _split(value):
        return None
    shared = set(inner[0]).intersection(*inner[1:])
    if not shared or not any(isinstance(inner[0][key], (str, list)) for key in shared):
        return None
    return inner, "each key of the document holds a record"
