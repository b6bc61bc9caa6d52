"""A sheet that is written from top to bottom: titles, sentences, tables, and formulas with the
value that the document has for them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planner.report.formats.workbook.style import ACCENT, PALE, WARNING, Kind, Styles
from planner.report.words import clean

#: Excel's longest text of a cell.
LONGEST = 32_000
#: A sentence is so many characters wide, a line of a cell so many points high.
LINE, POINTS = 130, 13.0


@dataclass(frozen=True)
class Formula:
    """What Excel works out, and the document's figure for it, which is shown until it does."""

    text: str
    value: float


@dataclass(frozen=True)
class Input:
    """A figure that the reader may change."""

    value: float


Cell = str | float | int | bool | None | Formula | Input


@dataclass(frozen=True)
class Column:
    """``title`` with its unit; ``width`` in characters. ``span``: it lies over so many columns of
    the sheet."""

    title: str
    kind: Kind = "text"
    width: float = 12
    span: int = 1


@dataclass
class Table:
    """Where a table was written: its first and last row of data, counted from zero."""

    first: int
    last: int
    columns: Sequence[Column]

    def span(self, sheet: Sheet, title: str) -> list[Any]:
        """A column of the table as charts refer to it: sheet, rows, column."""
        before = [column.title for column in self.columns].index(title)
        at = sum(column.span for column in self.columns[:before])
        return [sheet.name, self.first, at, self.last, at]


@dataclass
class Sheet:
    """``row``: the next free one, counted from zero."""

    name: str
    page: Any
    styles: Styles
    row: int = 0
    tables: list[Table] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)

    def title(self, text: str, below: str = "") -> None:
        self.page.set_row(self.row, 26)
        self.write(self.row, 0, text, self.styles.of("none", bold=True, font_size=18))
        self.row += 1
        if below:
            self.line(below)
        self.row += 1

    def heading(self, text: str) -> None:
        self.row += 1
        style = self.styles.of("none", bold=True, font_size=13, font_color=ACCENT)
        self.write(self.row, 0, text, style)
        self.row += 1

    def line(self, text: str, *, warning: bool = False, strong: bool = False) -> None:
        """A sentence that runs over the cells to its right, in as many lines as it takes."""
        look = {"font_color": WARNING, "bold": True} if warning else {"font_color": PALE}
        look = {"bold": True} if strong else look
        style, last = self.styles.of("text", indent=0, **look), self._last_of(LINE)
        if last > 0:
            self.page.merge_range(self.row, 0, self.row, last, None, style)
        self.write(self.row, 0, text, style)
        self._height([(text, sum(self.widths[: last + 1]))])
        self.row += 1

    def columns(self, widths: Iterable[float]) -> None:
        self.widths = list(widths)
        for at, width in enumerate(self.widths):
            self.page.set_column(at, at, width)

    @property
    def last_column(self) -> int:
        return len(self.widths) - 1

    def _last_of(self, width: float) -> int:
        """The last of the columns that together are so wide."""
        taken = 0.0
        for at, each in enumerate(self.widths):
            taken += each
            if taken >= width:
                return at
        return self.last_column

    def _height(self, texts: Iterable[tuple[str, float]], size: float = POINTS) -> None:
        """Of the row, for texts in cells of so many characters: not every program finds it out."""
        lines = max((_lines(text, width) for text, width in texts), default=1)
        if lines > 1:
            self.page.set_row(self.row, size * lines + 2)

    def write(self, row: int, column: int, cell: Cell, style: Any = None) -> None:
        """A text is written as a text, whatever it begins with."""
        if isinstance(cell, Formula):
            self.page.write_formula(row, column, cell.text, style, cell.value)
        elif isinstance(cell, Input):
            self.page.write_number(row, column, cell.value, style)
        elif isinstance(cell, bool):
            self.page.write_string(row, column, "yes" if cell else "no", style)
        elif isinstance(cell, (int, float)):
            self.page.write_number(row, column, cell, style)
        elif cell is None:
            self.page.write_blank(row, column, None, style)
        else:
            self.page.write_string(row, column, clean(cell)[:LONGEST], style)

    def table(
        self,
        columns: Sequence[Column],
        rows: Iterable[Sequence[Cell]],
        *,
        chosen: int | None = None,
        total: Sequence[Cell] | None = None,
        kinds: Mapping[tuple[int, int], Kind] | None = None,
    ) -> Table:
        """A header and a row each. ``chosen``: the row that is marked; ``total``: a last row;
        ``kinds``: cells (row, column) of another kind than their column's."""
        self._header(columns)
        first = self.row
        for number, row in enumerate(rows):
            marked: list[Kind] = [
                (kinds or {}).get((number, at), c.kind) for at, c in enumerate(columns)
            ]
            styles = [self._style(c, kind, number == chosen) for c, kind in zip(row, marked)]
            self._row(columns, row, styles)
        table = Table(first, self.row - 1, columns)
        if total is not None:
            self._row(columns, total, [self.styles.cell(c.kind, total=True) for c in columns])
        self.tables.append(table)
        return table

    def _header(self, columns: Sequence[Column]) -> None:
        titles = [column.title for column in columns]
        self._row(columns, titles, [self.styles.header(column.kind) for column in columns])

    def _row(self, columns: Sequence[Column], cells: Sequence[Cell], styles: Sequence[Any]) -> None:
        at, texts = 0, list[tuple[str, float]]()
        for column, cell, style in zip(columns, cells, styles):
            last = at + column.span - 1
            if last > at:
                self.page.merge_range(self.row, at, self.row, last, None, style)
            self.write(self.row, at, cell, style)
            if isinstance(cell, str):
                texts.append((cell, sum(self.widths[at : last + 1])))
            at = last + 1
        self._height(texts)
        self.row += 1

    def _style(self, cell: Cell, kind: Kind, chosen: bool) -> Any:
        if isinstance(cell, Input):
            return self.styles.input(kind)
        # a word where a figure would stand, such as a dash
        kind = "text" if isinstance(cell, str) else kind
        return self.styles.cell(kind, chosen=chosen)

    def print_setup(self, *, freeze: tuple[int, int] | None = None) -> None:
        """One page wide, across; its name and page numbers below."""
        self.page.set_landscape()
        self.page.set_paper(9)  # A4
        self.page.fit_to_pages(1, 0)
        self.page.set_margins(left=0.5, right=0.5, top=0.6, bottom=0.7)
        self.page.set_footer("&L&8&A&R&8Page &P of &N")
        self.page.hide_gridlines(2)
        if freeze is not None:
            self.page.freeze_panes(*freeze)


def _lines(text: str, width: float) -> int:
    """How many lines a text takes, with some room for words that are not parted."""
    return max(1, math.ceil(len(text) * 1.08 / max(1.0, width - 1)))
