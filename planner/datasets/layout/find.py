"""find_layout(prepared records) → Layout: judges the columns, chooses those of text, gives them
roles, shape by shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.datasets.layout.assign import LABELLED, Assigner
from planner.datasets.layout.cells import names
from planner.datasets.layout.cells.values import LABEL, ODD_KINDS, WORD
from planner.datasets.layout.column import (
    NUMBERS,
    OBJECTS,
    TEXT,
    TEXTS,
    TOKENS,
    VALUE,
    Column,
    judge,
    sample_of,
)
from planner.datasets.layout.column import text_columns as text_columns_of
from planner.datasets.layout.encoders import told_task
from planner.datasets.layout.shape import Layout, Shape, signature
from planner.datasets.readers import AUDIO, IMAGE
from planner.errors import DataError, FieldName, nearest

Records = Sequence[Mapping[str, Any]]
SHOWN_COLUMNS = 40


def find_layout(
    records: Records, task: str | None, text_columns: Sequence[str] | None, source: str
) -> Layout:
    """Of prepared records. Raises DataError naming the columns that exist when there is no text
    among them, or none of the name that was given."""
    sample = sample_of(records)
    columns = judge(sample)
    wanted = _wanted(text_columns, columns, source)
    label = _label(columns, task, wanted)
    paths = wanted or text_columns_of(columns, label)
    said = ""
    if not paths and not any(IMAGE in r or AUDIO in r for r in sample[:100]):
        paths, said = _last_resort(columns, label, source)
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for record in sample:
        groups.setdefault(signature(record, paths), []).append(record)
    layout = _layout(Assigner(columns, groups, task, label, wanted), paths, said)
    layout.flags = _flags(columns, sample) if task in (*LABELLED, *CLASSIFIERS) else ()
    layout.task = told_task(columns, sample)
    return layout


@dataclass
class Assign:
    """The shape of records that fill given columns: one that is known already where it reads all
    of them, such as a record without its optional input."""

    assigner: Assigner
    shapes: dict[tuple[str, ...], Shape]

    def __call__(self, filled: tuple[str, ...]) -> Shape:
        for shape in self.shapes.values():
            mine = set(shape.paths(*shape.roles))
            if mine & set(filled) and set(filled) <= mine | set(shape.copies):
                return shape
        return self.assigner.shape(filled)


def _layout(assigner: Assigner, paths: tuple[str, ...], said: str) -> Layout:
    """Shapes by the columns that records fill, those that fill the most first: records that leave
    out an optional column are of the same shape."""
    counts = {filled: len(records) for filled, records in assigner.sample.items()}
    shapes: dict[tuple[str, ...], Shape] = {}
    assign = Assign(assigner, shapes)
    for filled in sorted(counts, key=lambda f: (-len(f), -counts[f])):
        if filled or len(counts) == 1:
            shapes[filled] = assign(filled)
    number: Counter[int] = Counter()
    for filled, shape in shapes.items():
        number[id(shape)] += counts[filled]
    unique = {id(shape): shape for shape in shapes.values()}
    total = sum(number.values())
    ordered = tuple((unique[key], count / total) for key, count in number.most_common())
    if said:
        first = ordered[0][0]
        first = Shape(first.record_type, first.roles, first.label, first.copies, (said,))
        ordered = ((first, ordered[0][1]), *ordered[1:])
    return Layout(assigner.columns, ordered, assign, paths, assigner.wanted, _known=dict(shapes))


def _wanted(
    given: Sequence[str] | None, columns: Mapping[str, Column], source: str
) -> tuple[str, ...]:
    """The columns that the user named: whole names, or the outer one of ``prompt.system``, or the
    last part of ``paragraphs.context``."""
    found: list[str] = []
    for name in given or ():
        exact = [path for path in columns if path == name]
        inside = [path for path in columns if path.startswith(f"{name}.")]
        last = [path for path in columns if path.endswith(f".{name}")]
        hits = exact or inside or last
        if not hits:
            near = nearest(name, list(columns))
            hint = f"Did you mean {' or '.join(near)}? " if near else ""
            raise DataError(
                f"no column {name!r}",
                where=source,
                mend=f"{hint}The columns are: {_shown(columns)}",
            )
        found += [path for path in hits if path not in found]
    return tuple(found)


def _shown(columns: Mapping[str, Column]) -> str:
    return ", ".join(list(columns)[:SHOWN_COLUMNS]) or "none"


def _label(columns: Mapping[str, Column], task: str | None, wanted: Sequence[str]) -> str | None:
    """By name in the table's order; where the task needs one and none is named, the last column of
    few values."""
    by_name = {names.normal(path): column for path, column in reversed(list(columns.items()))}
    for name in names.words("column", "label"):
        column = by_name.get(name)
        if column is not None and _can_label(column, columns) and column.path not in wanted:
            return column.path
    if task not in (*LABELLED, *CLASSIFIERS):
        return None
    few = [
        c
        for c in columns.values()
        if c.path not in wanted
        and c.role in ("", "answer", "label")
        and (c.kind == LABEL or (_names_classes(c) and 1 < c.distinct <= MOST_CLASSES))
    ]
    named = [c for c in few if c.role == "label" and c.form in (TEXT, VALUE)]  # gold_label
    return (named or few)[-1].path if few else None


def _names_classes(column: Column) -> bool:
    return column.form == VALUE or column.kind in (WORD, "number")


def _flags(columns: Mapping[str, Column], sample: Records) -> tuple[str, ...]:
    """Three or more columns of 0 and 1: each is a class that a record may have."""
    few = [c.path for c in columns.values() if c.distinct <= 2 and _names_classes(c)]
    found = [p for p in few if all(str(r.get(p)) in FLAGS for r in sample)]
    return tuple(found) if len(found) >= LEAST_FLAGS else ()


FLAGS, LEAST_FLAGS = ("0", "1", "0.0", "1.0", "True", "False"), 3
#: Tasks that need a label beside a picture or a sound.
CLASSIFIERS = ("image_classification", "audio_classification")
MOST_CLASSES = 100
LEAST_IDS = 8  # mean numbers in a list from which they are token ids


def _can_label(column: Column, columns: Mapping[str, Column]) -> bool:
    """Lists of numbers beside token ids are what a decoder answers, not classes."""
    if column.form == NUMBERS:
        ids = any(names.normal(path) == "input_ids" for path in columns)
        return not (ids and names.normal(column.path) == "labels")
    return column.form != OBJECTS and column.is_label


def _last_resort(
    columns: Mapping[str, Column], label: str | None, source: str
) -> tuple[tuple[str, ...], str]:
    """No column reads as language: the one with the most text, where it is words at least."""
    sizes = {
        c.path: c.size
        for c in columns.values()
        if c.form in (TEXT, TEXTS, TOKENS) and c.kind in (WORD, LABEL) and c.path != label
    }
    if sizes:
        best = max(sizes, key=sizes.__getitem__)
        return (best,), (
            f"no column reads as language; {best!r} holds the most words and is taken "
            f"({FieldName('text_columns')} changes that)"
        )
    ids = [c.path for c in columns.values() if c.form == NUMBERS and c.length >= LEAST_IDS]
    if ids:
        return (ids[0],), f"{ids[0]!r} holds lists of numbers, which are taken as token ids"
    nested = [c.path for c in columns.values() if c.form == OBJECTS]
    odd = {c.path: c.kind for c in columns.values() if c.kind in ODD_KINDS}
    why = f"; {', '.join(nested[:5])} hold nested values that were not understood" if nested else ""
    why += "".join(f"; {path!r} holds a {kind} each" for path, kind in list(odd.items())[:3])
    raise DataError(
        f"no column holds text{why}",
        where=source,
        mend=f"Name it with {FieldName('text_columns')}. The columns are: {_shown(columns)}; a "
        f"table of numbers is read with {FieldName('task')} tabular_classification, "
        "tabular_regression or time_series_forecasting",
    )
