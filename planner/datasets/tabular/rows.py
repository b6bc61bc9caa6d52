"""Rows of a table as a model of tables reads them: numbers, categories, and what is learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from planner.datasets.constants import constant
from planner.datasets.tabular.columns import (
    CATEGORY,
    NUMBER,
    Cells,
    Records,
    columns_of,
    is_missing,
    named,
    wanted,
)
from planner.errors import DataError, FieldName
from planner.first_lines import FirstLine

MOST_NAMES = 4


@dataclass(frozen=True)
class TableRows:
    """``numbers``: columns of numbers; ``categories``: column → its distinct values; ``target``:
    the column that is learnt, of ``classes`` values, None where they are measured numbers.
    ``task``: what the target makes of it. ``left_out``: column → what it holds. ``columns``: all,
    as they were judged."""

    numbers: tuple[str, ...]
    categories: Mapping[str, int]
    target: str
    classes: int | None
    task: str
    left_out: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Cells] = field(default_factory=dict)
    first_lines: tuple[FirstLine, ...] = ()

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        roles = {"number": self.numbers, "category": tuple(self.categories)}
        return {role: paths for role, paths in roles.items() if paths}


def rows_of(records: Records, given: Sequence[str] | None, source: str, samples: int) -> TableRows:
    """Of records read. ``given``: columns that the user named, the target last; one alone is the
    target. ``samples``: rows in all. Raises DataError where nothing is left to learn or to learn
    from."""
    columns = columns_of(records)
    chosen = wanted(given, columns, source)
    target, why = _target(columns, chosen, source)
    inputs = [path for path in (chosen[:-1] or columns) if path != target]
    numbers = tuple(path for path in inputs if columns[path].kind == NUMBER)
    categories = {p: columns[p].distinct for p in inputs if columns[p].kind == CATEGORY}
    if not numbers and not categories:
        raise DataError(
            f"no column beside the target {target!r} holds numbers or categories",
            where=source,
            mend=f"Name others with {FieldName('text_columns')}, the target last",
        )
    cells = columns[target]
    classes = cells.distinct if cells.kind == CATEGORY or cells.whole else None
    learnt = "tabular_classification" if _is_class(cells) else "tabular_regression"
    left = {p: columns[p].kind for p in inputs if not columns[p].is_read}
    left |= {p: "not named" for p in columns if chosen[:-1] and p not in {*inputs, target}}
    found = TableRows(numbers, categories, target, classes, learnt, left, columns)
    return replace(found, first_lines=tuple(_said(found, why, records, samples)))


def _target(columns: Mapping[str, Cells], chosen: Sequence[str], source: str) -> tuple[str, str]:
    """(column, why it is assumed; "" where it was named)."""
    if chosen:
        if not columns[chosen[-1]].is_read:
            raise DataError(
                f"the target {chosen[-1]!r} holds {columns[chosen[-1]].kind}, which no model of "
                "tables learns",
                where=source,
                mend=f"Name another column last in {FieldName('text_columns')}",
            )
        return chosen[-1], ""
    usable = [path for path, cells in columns.items() if cells.is_read]
    if not usable:
        kinds = ", ".join(f"{path!r} holds {cells.kind}" for path, cells in columns.items())
        raise DataError(
            f"no column holds numbers or categories: {kinds[:200]}",
            where=source,
            mend="Give a table with a column a feature, or a model that reads text",
        )
    by_name = named(usable, "table", "target")
    return (by_name, "by its name") if by_name else (usable[-1], "the last column")


def _is_class(cells: Cells) -> bool:
    """Words, or few whole numbers that come again and again."""
    return cells.kind == CATEGORY or (
        cells.whole and cells.distinct <= constant("table_class_values")
    )


def _said(rows: TableRows, why: str, records: Records, samples: int) -> Iterator[FirstLine]:
    inputs = [_listed("number", rows.numbers)] if rows.numbers else []
    if rows.categories:
        shown = [f"{path} of {count:,}" for path, count in rows.categories.items()]
        inputs.append(_listed("category", shown))
    text = f"{samples:,} rows of {' and '.join(inputs)}; the target is {rows.target!r}"
    yield FirstLine("data", f"{text}, {_values(rows)}")
    if why:
        text = (
            f"the target {rows.target!r} is assumed ({why}): {FieldName('text_columns')} names the "
            "columns, the target last"
        )
        yield FirstLine("data", text, warning=why == "the last column")
    if rows.left_out:
        shown = ", ".join(f"{p!r} ({kind})" for p, kind in list(rows.left_out.items())[:MOST_NAMES])
        more = len(rows.left_out) - MOST_NAMES
        shown += f" and {more} more" if more > 0 else ""
        yield FirstLine("left_out", f"columns left out: {shown}")
    yield from _missing(rows, records)


def _values(rows: TableRows) -> str:
    cells = rows.columns[rows.target]
    if cells.kind == CATEGORY:
        return f"{cells.distinct:,} values"
    whole = "whole numbers" if cells.whole else "numbers"
    return f"{whole} of {cells.distinct:,} values" if cells.whole else whole


def _missing(rows: TableRows, records: Records) -> Iterator[FirstLine]:
    lacking = sum(is_missing(record.get(rows.target)) for record in records)
    if lacking:
        share = f"{lacking / len(records):.1%}"
        text = f"{share} of the rows have no {rows.target!r} and count all the same"
        yield FirstLine("data", text, warning=True)
    holes = [p for p in (*rows.numbers, *rows.categories) if rows.columns[p].missing]
    if holes:
        shown = ", ".join(map(repr, holes[:MOST_NAMES]))
        shown += f" and {len(holes) - MOST_NAMES} more" if len(holes) > MOST_NAMES else ""
        yield FirstLine("data", f"cells are missing in {shown}: taken as filled before training")


def _listed(noun: str, shown: Sequence[str]) -> str:
    count, more = len(shown), len(shown) - MOST_NAMES
    many = {"number": "numbers", "category": "categories"}[noun] if count > 1 else noun
    named_ones = ", ".join(shown[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return f"{count:,} {many} ({named_ones})"
