"""One JSON document that holds a list of records; where it is too large to be read whole, its
beginning is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.datasets.blocks import sniff
from planner.datasets.compressed import COMPRESSED, open_binary
from planner.datasets.readers import Budget, Reader, Sample, json_document, lines
from planner.datasets.readers.json_document import Record
from planner.errors import DataError
from planner.files import checked

#: An object with lists inside is understood only whole: its share of the budget is larger.
OBJECT_FACTOR = 8
HEAD = 2**16
#: Blank lines before the first record that are looked past.
BLANK_LINES = 10_000


def read(files: Sequence[Path], root: Path, budget: Budget) -> Sample:
    """Raises DataError for malformed JSON or a document without a list of records."""
    file = files[0]
    size = sum(f.stat().st_size for f in files)
    if size == 0:
        raise DataError("the file is empty: there is nothing to count", where=str(file))
    files = [f for f in files if f.stat().st_size]
    sniff(files[0])
    if not is_document(files[0], budget):
        return lines.read_lines("jsonl", files, budget)
    return read_documents("json", files, size, budget)


def is_document(file: Path, budget: Budget) -> bool:
    """Whether a file is one JSON document, or objects over several lines: the first line is none by
    itself, or a list that holds all records."""
    with open_binary(file) as handle:
        first = b""
        for _ in range(BLANK_LINES):
            first = handle.readline(budget.longest_record_bytes)
            if not first or first.strip():
                break
        rest = handle.read(HEAD).strip()
    try:
        value = json.loads(first.decode("utf-8-sig"))
    except RecursionError:
        return True
    except ValueError:
        return (
            file.suffix.lower() == ".json"
            or first.lstrip(b"\xef\xbb\xbf \t")[:1] in (b"[", b"{")
            and _opens(first)
        )
    return not rest and (isinstance(value, list) or file.suffix.lower() == ".json")


def _opens(line: bytes) -> bool:
    """A line with more brackets opened than closed: a value that goes on, not a broken one."""
    text = line.decode("utf-8-sig", errors="replace").rstrip()
    return text[-1:] in ("[", "{", ",") or text in ("[", "{")


def read_documents(format: str, files: Sequence[Path], size: int, budget: Budget) -> Sample:
    """Whole files, or the beginning of the first of them."""
    with open_binary(files[0]) as handle:
        starts = handle.read(HEAD).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    factor = OBJECT_FACTOR if starts == b"{" else 1
    if size > factor * budget.whole_bytes:
        return _beginning(format, files, size, budget)
    found = [json_document.records_of(_load(file), file) for file in files]
    notes = tuple(dict.fromkeys(note for _, note in found if note))
    records = [record for part, _ in found for record in part]
    return Sample(format, records, len(records), True, said=notes)


def _load(file: Path) -> Any:
    try:
        with open_binary(file) as handle:
            return json_document.document(handle.read().decode("utf-8-sig"))
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


def _beginning(format: str, files: Sequence[Path], size: int, budget: Budget) -> Sample:
    """Records of the first ``sample_bytes`` of one file, extrapolated by bytes."""
    file = files[0]
    with open_binary(file) as handle:
        text = handle.read(budget.sample_bytes).decode("utf-8-sig", errors="ignore")
    records, first, place = _items(text)
    if not records:
        raise DataError(
            "no list of records at the start of a large JSON document",
            where=str(file),
            mend="Write it as .jsonl, an object a line",
        )
    whole = size if file.suffix.lower() not in COMPRESSED else _unpacked(file, size)
    share = len(text[first:place].encode()) / whole
    return Sample(
        format,
        records,
        max(len(records), round(len(records) / share)),
        False,
        samples_relative_error=1 / math.sqrt(len(records)),
        warnings=(
            f"only the start of {file.name} was read ({share:.1%}): a large JSON list cannot "
            "be entered in the middle; .jsonl can",
        ),
    )


def _items(text: str) -> tuple[list[Record], int, int]:
    """(records, where the list starts, where the last of them ends) of the first list of objects in
    a text; none where the list holds no objects, as columns do."""
    place, decoder = text.find("[") + 1, json.JSONDecoder()
    first, records = place, []
    while place:
        place += len(text[place : place + 1000]) - len(
            text[place : place + 1000].lstrip(" \t\r\n,")
        )
        try:
            value, end = decoder.raw_decode(text, place)
            checked(value, text[place:end])
        except (ValueError, RecursionError):
            break
        record = json_document.as_record(value)
        if record is None or (isinstance(value, str) and not text.lstrip().startswith("[")):
            break
        records.append(record)
        place = end
    return records, first, place


def _unpacked(file: Path, size: int) -> int:
    """Bytes of a compressed file once it is unpacked; it is read through."""
    total = 0
    with open_binary(file) as handle:
        while data := handle.read(2**22):
            total += len(data)
    return max(total, size)


READER = Reader("json", (".json",), read, hint="a list of JSON objects")
