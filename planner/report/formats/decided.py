"""Documents of ``planner choose`` and ``planner data`` as files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

from planner.report.formats.json_text import as_json
from planner.report.formats.parts.markdown import markdown_of
from planner.report.formats.registry import Format
from planner.report.views import answer as answer_view
from planner.report.views import choose as choose_view
from planner.report.views import data as data_view
from planner.report.views import for_data as models_view
from planner.report.views.device import Section
from planner.report.views.explaining.part import Part
from planner.report.views.table import Table

Document = Mapping[str, Any]


def _json(document: Document) -> str:
    return as_json(document) + "\n"


def _choice(document: Document) -> str:
    return markdown_of("What to rent", [_first(document), *_parts(choose_view.sections(document))])


def _models(document: Document) -> str:
    shown = [_first(document), *_parts(models_view.sections(document))]
    return markdown_of("Models that people take for this data", shown)


def _data(document: Document) -> str:
    columns, lengths = data_view.columns(document), data_view.histogram(document)
    records = [
        Section(title, lines=("".join(f"[[{x}]]" if own else x for x, own in pieces),))
        for title, pieces in data_view.records(document)
    ]
    shown = [
        Section("Understood", pairs=tuple(data_view.understood(document))),
        Section("Columns", table=columns if document["columns"] else None),
        *records,
        Section("Lengths", table=lengths if document["histogram"] else None),
        Section("In batches", pairs=tuple(data_view.batches(document))),
        Section("Assumptions", lines=tuple(data_view.lines(document, "assumptions"))),
        Section("Warnings", lines=tuple(data_view.lines(document, "warnings"))),
    ]
    return markdown_of("What was understood of the data", [_first(document), *_parts(shown)])


def _first(document: Document) -> Part:
    lines = answer_view.first_lines(document)
    return Part("", lines=tuple(f"! {text}" if warns else text for text, warns in lines))


def _parts(sections: Iterable[Section]) -> list[Part]:
    return [
        Part(
            section.title,
            lines=(*section.lines, *(f"{left}: {right}" for left, right in section.pairs)),
            table=_in_lines(section.table),
        )
        for section in sections
        if section.lines or section.pairs or section.table
    ]


def _in_lines(table: Table | None) -> Table | None:
    """A cell of a Markdown table is one line."""
    if table is None:
        return None
    rows = tuple(tuple(" ".join(cell.split()) for cell in row) for row in table.rows)
    return Table(table.headers, rows)


def _text(document: Document) -> str:
    """As the terminal shows all of it, at the width of a pipe."""
    from planner.report.formats.terminal import show_choice

    stream = io.StringIO()
    show_choice(document, stream, whole=True)
    return stream.getvalue()


FORMATS = (
    Format("choice", ".md", _choice, order=10),
    Format("choice", ".json", _json, order=20),
    Format("choice", ".txt", _text, order=30),
    Format("models", ".md", _models, order=10),
    Format("models", ".json", _json, order=20),
    Format("data", ".md", _data, order=10),
    Format("data", ".json", _json, order=20),
)
