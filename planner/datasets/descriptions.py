"""What is written about the files of a media folder: tables, a text beside each file, transcripts
of a folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.datasets.readers.json_document import records_of
from planner.errors import DataError
from planner.files import loads, read_text

Row = dict[str, Any]
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.tsv")
TABLE_FOLDERS = ("annotations", "meta", "metadata", "labels")
TABLES = (".csv", ".tsv", ".jsonl", ".txt", ".json")
MOST_TABLES, MOST_BYTES = 20, 64 * 2**20
#: The table that describes a whole folder: some hundred bytes for each of a million files.
LARGEST_TABLE = 512 * 2**20
NAMED = 0.5  # of a table's cells that must name files of the folder
PLAIN_COLUMNS = ("id", "text", "normalized_text")  # LJSpeech's table, which has no header


def described(files: Sequence[Path], root: Path) -> dict[Path, list[Row]]:
    """Rows by the file that they describe; several where a picture has several captions. Raises
    DataError for a metadata table that cannot be read."""
    by_name = {name: file for file in files for name in (file.stem, file.name, str(file))}
    found: dict[Path, list[Row]] = {}
    for folder in sorted({root, *(f.parent for f in files), *(f.parent.parent for f in files[:1])}):
        for name in METADATA:
            if (folder / name).is_file():
                _add(found, _rows(folder / name), by_name, folder)
    for table in [] if found else _tables(root):
        _add(found, _rows(table, optional=True), by_name, root)
        if found:
            break
    if not found:
        _transcripts(found, files, by_name)
    return found


def beside(file: Path) -> Row:
    """The text file of the same name, as trainers of image models write captions."""
    text = next((t for s in (".txt", ".caption") if (t := file.with_suffix(s)).is_file()), None)
    if text is None:
        return {}
    return {"text": read_text(text, errors="replace").strip()}


def _tables(root: Path) -> list[Path]:
    """Tables in the folder, those of the training split first."""
    tables = [
        file
        for folder in (root, *(root / name for name in TABLE_FOLDERS))
        for file in sorted(folder.glob("*"))
        if file.suffix.lower() in TABLES and file.stat().st_size <= MOST_BYTES
    ]
    return sorted(tables, key=lambda file: "train" not in file.name.lower())[:MOST_TABLES]


def _add(
    found: dict[Path, list[Row]], rows: Sequence[Row], by_name: dict[str, Path], folder: Path
) -> None:
    """The rows under the files that one of their columns names."""
    column = _file_column(rows, by_name)
    if column is None:
        return
    for row in rows:
        cell = str(row.get(column) or "")
        file = by_name.get(Path(cell).name) or by_name.get(cell)
        exact = folder / cell
        file = (
            exact
            if exact in found or (file and exact.name == file.name and exact.exists())
            else file
        )
        if file is not None:
            rest = {key: value for key, value in row.items() if key != column and key is not None}
            found.setdefault(file, []).append(rest)


def _file_column(rows: Sequence[Row], by_name: dict[str, Path]) -> str | None:
    probe = rows[:200]
    for column in dict.fromkeys(key for row in probe for key in row):
        cells = [str(row.get(column) or "") for row in probe]
        hits = sum(Path(cell).name in by_name for cell in cells if cell)
        if probe and hits >= NAMED * len(probe):
            return column
    return None


def _rows(file: Path, optional: bool = False) -> list[Row]:
    try:
        text = read_text(file, LARGEST_TABLE, encoding="utf-8-sig")
        if file.suffix.lower() in (".jsonl", ".json"):
            lines = [text] if file.suffix.lower() == ".json" else text.splitlines()
            values = [loads(line) for line in lines if line.strip()]
            if len(values) == 1:
                values = records_of(values[0], file)[0]
            return [row for row in values if isinstance(row, dict)]
        return _delimited(text, file)
    except (OSError, ValueError, csv.Error, DataError) as error:
        if optional:
            return []
        raise DataError(
            f"the table of descriptions cannot be read: {error}", where=str(file)
        ) from error


def _delimited(text: str, file: Path) -> list[Row]:
    """A table with a header, or LJSpeech's ``id|text|normalized text`` without."""
    lines = text.splitlines()
    first = lines[0] if lines else ""
    mark = "\t" if file.suffix.lower() == ".tsv" else max(",\t;|", key=first.count)
    plain = mark == "|" and headerless(first.split(mark))
    quoting = csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL
    reader = csv.DictReader(
        lines, PLAIN_COLUMNS if plain else None, delimiter=mark, quoting=quoting
    )
    return [with_spoken(row) if plain else row for row in reader]


def headerless(cells: Sequence[str]) -> bool:
    """An identifier and one or two sentences: a row of data, not of names."""
    return 2 <= len(cells) <= len(PLAIN_COLUMNS) and all(len(c.split()) > 2 for c in cells[1:])


def with_spoken(row: Row) -> Row:
    """The normalized text is what is spoken; the other is the same text with its signs."""
    if row.get("normalized_text"):
        row.pop("text", None)
    return row


def _transcripts(
    found: dict[Path, list[Row]], files: Sequence[Path], by_name: dict[str, Path]
) -> None:
    """LibriSpeech: ``84-121123.trans.txt`` with ``84-121123-0001 THE WORDS`` a line."""
    for folder in {file.parent for file in files}:
        for table in folder.glob("*.trans.txt"):
            for line in read_text(table, errors="replace").splitlines():
                name, _, words = line.partition(" ")
                if name in by_name and words:
                    found.setdefault(by_name[name], []).append({"text": words})


def is_companion(file: Path, stems: set[tuple[Path, str]], called: set[str]) -> bool:
    """A text beside a medium of the same name, a transcript of its folder or a table that names
    media: no data of its own. ``stems``: (folder, name without suffix) of all media; ``called``:
    their names with and without suffix."""
    if (file.parent, file.stem) in stems or file.name.endswith(".trans.txt"):
        return True
    if file.suffix.lower() not in TABLES or file.stat().st_size > MOST_BYTES:
        return False
    by_name = dict.fromkeys(called, file)
    return _file_column(_rows(file, optional=True), by_name) is not None
