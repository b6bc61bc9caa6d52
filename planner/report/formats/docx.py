"""The budget report as a Word document that can be edited: styles, real tables, pictures with
alternative text."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Mapping
from typing import Any

from planner.libraries import import_reporting
from planner.report.formats.registry import Format
from planner.report.formats.word import blocks, page
from planner.report.views.budget.part import Section
from planner.report.views.budget.sections import sections, title
from planner.today import today

#: The oldest date that a ZIP can hold: the same report is the same file.
NO_TIME = (1980, 1, 1, 0, 0, 0)


def docx(answer: Mapping[str, Any]) -> bytes:
    """Raises MissingExtraError without python-docx or vl-convert."""
    document = import_reporting("docx", "a report as Word document").Document()
    day, name = _day(answer), title(answer)
    page.set_up(document, name, day)
    for section in sections(answer, every_figure=False, suffix=".docx"):
        _section(document, answer, section)
    stream = io.BytesIO()
    document.save(stream)
    return _dateless(stream)


def _day(answer: Mapping[str, Any]) -> datetime.date:
    """On which the report was made."""
    made = answer["budget"]["reproduce"]["made"] if "budget" in answer else None
    return datetime.date.fromisoformat(made) if made else today()


def _section(document: Any, answer: Mapping[str, Any], section: Section) -> None:
    if section.key == "summary":
        document.add_heading(section.title, 0)
    else:
        document.add_heading(section.title, 1)
    for words in section.paragraphs:
        paragraph = document.add_paragraph()
        is_advice = section.key == "recommendation" and words is section.paragraphs[0]
        paragraph.add_run(words).bold = is_advice
        # what announces a chart stays with it
        paragraph.paragraph_format.keep_with_next = bool(section.charts)
    blocks.facts(document, section.facts)
    blocks.lines(document, section.lines)
    blocks.charts(document, answer, section.charts)
    for table in section.tables:
        blocks.table(document, table)
    for name, words in section.code:
        blocks.code(document, name, words)
    for words in section.notes:
        document.add_paragraph(words, style="Caption")


def _dateless(stream: io.BytesIO) -> bytes:
    """The file without the time at which it was saved."""
    made = io.BytesIO()
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            entry = zipfile.ZipInfo(name, NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(entry, old.read(name))
    return made.getvalue()


FORMATS = (Format("answer", ".docx", docx, order=26),)
