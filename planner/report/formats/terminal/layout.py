"""Texts and tables as lines of a given width: columns are left out where there is no room, words
and numbers are never cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len

from planner.report.views.summary.columns import Column, Columns

#: Between two columns, and before the first for the mark.
GAP, MARK = 2, 2
RECOMMENDED = ">"
#: A column is worth so many lines of a table of ``SCREEN`` rows, divided by its ``drop``.
WORTH, SCREEN = 100.0, 8
#: Rows of a long list that its columns' widths are judged by.
LOOKED_AT = 50
#: A table that has no room at any choice of columns is shown as pairs, indented by this.
INDENT = 2


def wrapped(text: str, width: int, hang: int = 0) -> list[str]:
    """The words of a text in lines; lines after the first are indented by ``hang``. Only a word
    that is longer than a line is broken, a range after its dash."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}" if line.strip() else line + word
        if cell_len(longer) <= width:
            line = longer
            continue
        if line.strip():
            lines.append(line)
        line = " " * hang + word
        while cell_len(line) > width:
            cut = _cells(line, width)
            lines.append(line[:cut])
            line = " " * hang + line[cut:]
    return [*lines, line] if line.strip() or not lines else lines


def _cells(text: str, width: int) -> int:
    """How many characters fill a width, at least one more than its indentation."""
    least = len(text) - len(text.lstrip()) + 1
    most = next((n for n in range(len(text), least, -1) if cell_len(text[:n]) <= width), least)
    return max(text.rfind("–", 0, most) + 1, 0) or most  # between the numbers of a range


def table_lines(table: Columns, width: int) -> list[tuple[str, int | None]]:
    """(line, the row that it is of; None for the header) of a table."""
    fitted = fitting(table.columns, width - MARK)
    if fitted is None:
        return list(_as_pairs(table, width))
    return _drawn(table, *fitted)


def _drawn(
    table: Columns, shown: Sequence[Column], widths: Sequence[int]
) -> list[tuple[str, int | None]]:
    found: list[tuple[str, int | None]] = []
    for row in range(-1, len(shown[0].cells)):
        cells = [_cell(column, row, wide) for column, wide in zip(shown, widths)]
        for number, parts in enumerate(zip_longest(*cells, fillvalue="")):
            mark = RECOMMENDED if row >= 0 and row == table.marked and number == 0 else ""
            line = mark.ljust(MARK) + (" " * GAP).join(
                _padded(part, wide, column.number)
                for part, wide, column in zip(parts, widths, shown)
            )
            found.append((line.rstrip(), row if row >= 0 else None))
    return found


def fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[int]] | None:
    """The columns that are shown and how wide each is; None where those that must stay have no
    room. One is left out, too, where that spares the others many broken lines."""
    shown, tried = list(columns), []
    while True:
        if _least(shown) <= width:
            widths = _widths(shown, width)
            rows = min(LOOKED_AT, _rows(shown[0]))
            lines = sum(_height(shown, widths, row) for row in range(-1, rows))
            lost = sum(WORTH / column.drop for column in columns if column not in shown)
            lost *= max(1.0, rows / SCREEN)
            tried.append((lines + lost, shown, widths))
        droppable = [column for column in shown if column.drop]
        if not droppable:
            break
        least = max(droppable, key=lambda column: column.drop)
        shown = [column for column in shown if column is not least]
    if not tried:
        return None
    _, shown, widths = min(tried, key=lambda each: each[0])
    return shown, widths


def _height(columns: Sequence[Column], widths: Sequence[int], row: int) -> int:
    return max(len(_cell(column, row, wide)) for column, wide in zip(columns, widths))


def _widths(shown: Sequence[Column], width: int) -> list[int]:
    """Of each column: step by step the spare room goes where it saves most lines a character."""
    widths = [least_width(column) for column in shown]
    spare = width - _least(shown)
    lines = [_lines_at(column, wide) for column, wide in zip(shown, widths)]
    while True:
        steps = [
            ((lines[n] - fewer) / (wide - widths[n]), n, wide, fewer)
            for n, column in enumerate(shown)
            for wide, fewer in _wider(column, widths[n], lines[n], spare)
        ]
        if not steps:
            return widths
        _, n, wide, fewer = max(steps, key=lambda step: step[0])
        spare -= wide - widths[n]
        widths[n], lines[n] = wide, fewer


def _wider(column: Column, width: int, lines: int, spare: int) -> Iterator[tuple[int, int]]:
    """(width, lines) of each wider column with fewer lines."""
    for wide in range(width + 1, min(natural_width(column), width + spare) + 1):
        fewer = _lines_at(column, wide)
        if fewer < lines:
            yield wide, fewer
            lines = fewer


def _lines_at(column: Column, width: int) -> int:
    """Of the header and the first rows; the further ones of a long list are much alike."""
    return sum(len(_cell(column, row, width)) for row in range(-1, min(LOOKED_AT, _rows(column))))


def _rows(column: Column) -> int:
    return len(column.cells)


def _least(columns: Sequence[Column]) -> int:
    return sum(map(least_width, columns)) + GAP * max(0, len(columns) - 1)


def least_width(column: Column) -> int:
    """Words are not broken, and numbers not into lines."""
    cells = [part for c in column.cells for part in (_lines(c) if _stays(column) else c.split())]
    return max(map(cell_len, [*cells, *column.title.split(), column.unit]), default=0)


def natural_width(column: Column) -> int:
    if column.number:
        return least_width(column)
    lines = [line for cell in column.cells for line in _lines(cell)]
    return max(map(cell_len, [*lines, column.title, column.unit]))


def _stays(column: Column) -> bool:
    return column.number or column.whole


def _lines(cell: str) -> list[str]:
    return cell.split("\n")


def _cell(column: Column, row: int, width: int) -> list[str]:
    if row < 0:
        return [*wrapped(column.title, width), *([column.unit] if column.unit else [])]
    lines = _lines(column.cells[row])
    if _stays(column):
        return lines
    return [line for part in lines for line in wrapped(part, width)]


def _padded(text: str, width: int, right: bool) -> str:
    room = " " * max(0, width - cell_len(text))
    return room + text if right else text + room


def _as_pairs(table: Columns, width: int) -> Iterator[tuple[str, int | None]]:
    """A row a paragraph, its cells as ``title: value`` with the unit."""
    for row in range(len(table.columns[0].cells)):
        for number, column in enumerate(table.columns):
            mark = RECOMMENDED if row == table.marked and number == 0 else ""
            unit = f" {column.unit}" if column.unit and column.unit != "$" else ""
            sign = "$" if column.unit == "$" else ""
            value = " ".join(column.cells[row].split())
            if not value:
                continue
            text = f"{column.title}: {sign}{value}{unit}" if number else value
            indent = mark.ljust(MARK) if not number else " " * (MARK + INDENT)
            for line in wrapped(text, width - len(indent), INDENT):
                yield indent + line, row
