"""One JSON document that holds a list of records; where it is too large to be read whole, its
beginning is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.datasets.blocks import sniff
from planner.datasets.readers import Budget, Reader, Sample, jsonl
from planner.errors import DataError


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """Raises DataError for malformed JSON or a document without a list of records."""
    file = files[0]
    size = sum(f.stat().st_size for f in files)
    if size == 0:
        raise DataError("the file is empty: there is nothing to count", where=str(file))
    sniff(file)
    if _is_lines(file):
        return jsonl.read(files, root, budget)
    if size <= budget.whole_bytes:
        found = [_records(_load(f), f) for f in files]
        notes = tuple(dict.fromkeys(note for _, note in found if note))
        records = [record for part, _ in found for record in part]
        return Sample("json", records, len(records), True, assumptions=notes)
    return _beginning(files, size, budget)


def _is_lines(file: Path) -> bool:
    """A first line that is a whole JSON object, with something after it: JSON Lines under the name
    .json."""
    with file.open("rb") as handle:
        first, rest = handle.readline(2**20), handle.read(1024)
    try:
        return isinstance(json.loads(first), dict) and bool(rest.strip())
    except (ValueError, RecursionError):
        return False


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start} is not UTF-8", where=str(file), mend="Convert it to UTF-8"
        ) from error
    except RecursionError as error:
        raise DataError("the JSON is nested too deeply", where=str(file)) from error
    except ValueError as error:
        raise DataError(
            f"not JSON: {error}",
            where=str(file),
            mend="A .json file holds one list of objects; a .jsonl file an object a line",
        ) from error


def _records(document: Any, file: Path) -> tuple[list[dict[str, Any]], str]:
    """(records, what had to be said). A dict of which one value is a list of records stands for
    that list."""
    note = ""
    if isinstance(document, dict):
        lists = {
            k: v
            for k, v in document.items()
            if isinstance(v, list) and v and isinstance(v[0], dict)
        }
        name = (
            "train" if "train" in lists else "data" if "data" in lists else next(iter(lists), None)
        )
        if name is None:
            raise DataError(
                "the document holds no list of records",
                where=str(file),
                mend="Give a list of objects, or .jsonl with an object a line",
            )
        document, note = lists[name], f"the records are the list {name!r} of {file.name}"
    if not isinstance(document, list):
        raise DataError(
            f"the document is a {type(document).__name__}, not a list of records",
            where=str(file),
            mend="Give a list of objects",
        )
    records = [r for r in map(jsonl.as_record, document) if r is not None]
    if len(records) < len(document):
        raise DataError(
            f"{len(document) - len(records)} of {len(document)} items of the list are no objects",
            where=str(file),
            mend="Make each an object",
        )
    return records, note


def _beginning(files: Sequence[Path], size: int, budget: Budget) -> Sample:
    """Records of the first ``sample_bytes`` of one file, extrapolated by bytes."""
    file = files[0]
    with file.open("rb") as handle:
        text = handle.read(budget.sample_bytes).decode("utf-8-sig", errors="ignore")
    place, decoder, records = text.find("[") + 1, json.JSONDecoder(), []
    first = place
    while place:
        place += len(text[place : place + 1000]) - len(
            text[place : place + 1000].lstrip(" \t\r\n,")
        )
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            break
        record = jsonl.as_record(value)
        if record is None:
            break
        records.append(record)
        place = end
    if not records:
        raise DataError(
            "no list of records at the start of a large JSON document",
            where=str(file),
            mend="Write it as .jsonl, an object a line",
        )
    share = len(text[first:place].encode()) / size
    return Sample(
        "json",
        records,
        max(len(records), round(len(records) / share)),
        False,
        samples_relative_error=1 / math.sqrt(len(records)),
        warnings=(
            f"only the start of {file.name} was read ({share:.1%}): a large JSON list cannot "
            "be entered in the middle; .jsonl can",
        ),
    )


READER = Reader("json", (".json",), read, hint="a list of JSON objects")
