"""Parts of a page on a terminal of any width: columns are left out where there is no room, words
and figures are never cut; what is piped is plain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from planner.report.formats.terminal.console import console_of
from planner.report.views.explaining.part import Part

GAP = 2
#: A longer word, such as a path, is broken for the sake of the figures beside it.
LONGEST_WORD = 26


def show_parts(parts: Iterable[Part], stream: TextIO) -> None:
    """A blank line between two."""
    console = console_of(stream)
    width = console.width
    for number, part in enumerate(parts):
        if number:
            _print(console, Text(""))
        for line, style in lines_of(part, width):
            _print(console, Text(line, style=style))


def _print(console: Console, text: Text) -> None:
    """Laid out already."""
    console.print(text, no_wrap=True, overflow="ignore", crop=False)


def lines_of(part: Part, width: int) -> list[tuple[str, str]]:
    """(line, style) of a part, each at most ``width`` cells wide."""
    found = [(line, "bold") for line in wrapped(part.title, width)] if part.title else []
    mark, style = ("! ", "yellow") if part.warns else ("- " if part.title else "", "")
    for text in part.lines:
        found += [(line, style) for line in wrapped(mark + text, width, len(mark))]
    found += [(line, "dim") for note in part.notes for line in wrapped(note, width)]
    if part.table is not None:
        found += _table(part, width)
    return found


def wrapped(text: str, width: int, hang: int = 0) -> list[str]:
    """Words in lines, the later ones indented; only a word longer than a line is broken."""
    lines: list[str] = []
    line = ""
    # a blank that does not break keeps a figure by its unit
    for word in filter(None, text.split(" ")):
        longer = f"{line} {word}" if line.strip() else line + word
        if cell_len(longer) <= width:
            line = longer
            continue
        if line.strip():
            lines.append(line)
        line = " " * hang + word
        while cell_len(line) > width:
            cut = next(n for n in range(len(line), 0, -1) if cell_len(line[:n]) <= width)
            cut = max(cut, hang + 1)
            lines.append(line[:cut])
            line = " " * hang + line[cut:]
    return [*lines, line] if line.strip() or not lines else lines


# ---- tables


def _table(part: Part, width: int) -> list[tuple[str, str]]:
    assert part.table is not None
    columns = list(zip(part.table.headers, *part.table.rows))
    shown = list(range(len(columns)))
    for dropped in (None, *part.drop):
        shown = [index for index in shown if index != dropped]
        if sum(_least(part, i, columns[i]) for i in shown) + GAP * (len(shown) - 1) <= width:
            return _rows(part, columns, shown, width)
    return _paragraphs(part, width)


def _least(part: Part, index: int, cells: Sequence[str]) -> int:
    """Figures stand in one line; of a text the longest word, as long as half a narrow screen."""
    if index in part.right or index in part.whole:
        return max(map(cell_len, cells))
    longest = max((cell_len(word) for cell in cells for word in cell.split(" ")), default=0)
    return min(longest, LONGEST_WORD)


def _rows(
    part: Part, columns: Sequence[Sequence[str]], shown: Sequence[int], width: int
) -> list[tuple[str, str]]:
    widths = {index: _least(part, index, columns[index]) for index in shown}
    wanted = {index: max(map(cell_len, columns[index])) for index in shown}
    spare = width - sum(widths.values()) - GAP * (len(shown) - 1)
    while spare > 0 and any(wanted[i] > widths[i] for i in shown):
        most = max(shown, key=lambda index: wanted[index] - widths[index])
        widths[most] += 1
        spare -= 1
    found: list[tuple[str, str]] = []
    for number, row in enumerate(zip(*(columns[index] for index in shown))):
        cells = [
            [cell] if index in part.right else wrapped(cell, widths[index])
            for index, cell in zip(shown, row)
        ]
        for line in zip_longest(*cells, fillvalue=""):
            text = (" " * GAP).join(
                _padded(cell, widths[index], index in part.right)
                for index, cell in zip(shown, line)
            )
            found.append((text.rstrip(), "" if number else "dim"))
    return found


def _padded(cell: str, width: int, right: bool) -> str:
    room = " " * max(0, width - cell_len(cell))
    return room + cell if right else cell + room


def _paragraphs(part: Part, width: int) -> list[tuple[str, str]]:
    """A row a paragraph: its first cell, then what each column says of it."""
    assert part.table is not None
    found: list[tuple[str, str]] = []
    for name, *cells in part.table.rows:
        found += [(line, "bold") for line in wrapped(name, width, 2)]
        for header, cell in zip(part.table.headers[1:], cells):
            if cell.strip():
                text = f"{header}: {' '.join(cell.split())}"
                found += [("  " + line, "") for line in wrapped(text, width - 2, 2)]
    return found
