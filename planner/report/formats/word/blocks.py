"""Facts, lists, tables, pictures and code of a Word document."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from planner.report.charts import draw
from planner.report.charts.registry import drawn
from planner.report.formats.word.page import CODE_FONT, TEXT_MM
from planner.report.look import LIGHT, TYPE_PT
from planner.report.views.budget.part import Fact, Grid, Line
from planner.report.words import clean

TONES = {"plain": LIGHT.ink, "good": LIGHT.good, "warn": LIGHT.warn, "bad": LIGHT.bad}
#: Said before a line, since colour alone tells nothing.
SIGNS = {"plain": "", "good": "Good: ", "warn": "Careful: ", "bad": "Broken: "}
FACTS_A_ROW = 3
#: From so many columns on, letters are smaller.
MANY = 8
#: A column is as wide as so many letters at least, and at most where its words may break.
MIN_LETTERS, MOST_LETTERS, PADDING = 7, 40, 6
CHART_PX = 620


def facts(document: Any, found: Sequence[Fact]) -> None:
    """The leading figure large, the others three beside each other."""
    for fact in found:
        if fact.lead:
            _lead(document, fact)
    others = [fact for fact in found if not fact.lead]
    if not others:
        return
    rows = -(-len(others) // FACTS_A_ROW)
    table = document.add_table(rows, FACTS_A_ROW)
    for at, fact in enumerate(others):
        _fact(table.cell(at // FACTS_A_ROW, at % FACTS_A_ROW), fact)
    for cell in table._cells:
        _fill(cell, LIGHT.card)


def _lead(document: Any, fact: Fact) -> None:
    from docx.shared import Pt

    paragraph = document.add_paragraph()
    paragraph.paragraph_format.space_before = Pt(TYPE_PT["small"])
    _run(paragraph, f"{fact.label}  ", "small", LIGHT.soft)
    shown = LIGHT.accent if fact.tone == "plain" else TONES[fact.tone]
    _run(paragraph, fact.value, "figure", shown, bold=True)
    if fact.detail:
        _run(paragraph, f"  {fact.detail}", "body", LIGHT.soft)


def _fact(cell: Any, fact: Fact) -> None:
    paragraph = cell.paragraphs[0]
    _run(paragraph, fact.label, "small", LIGHT.soft)
    paragraph.add_run().add_break()
    _run(paragraph, fact.value, "lead", TONES[fact.tone], bold=True)
    if fact.detail:
        paragraph.add_run().add_break()
        _run(paragraph, fact.detail, "small", LIGHT.soft)


def lines(document: Any, found: Sequence[Line]) -> None:
    for line in found:
        paragraph = document.add_paragraph(style="List Bullet")
        if SIGNS[line.tone]:
            _run(paragraph, SIGNS[line.tone], "body", TONES[line.tone], bold=True)
        paragraph.add_run(line.text)


def charts(document: Any, answer: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    """Each chart as a picture as wide as the text, with what it shows in words."""
    from docx.shared import Mm

    found = drawn(answer, keys)
    for chart, spec in found:
        if len(found) > 1:
            document.add_heading(chart.title, 2)
        # not see-through: Word's dark pages would swallow the letters
        picture = io.BytesIO(draw.png({**spec, "background": LIGHT.paper}, CHART_PX))
        shown = document.add_picture(picture, width=Mm(TEXT_MM))
        said = shown._inline.docPr
        said.set("descr", clean(chart.alt(answer)))
        said.set("title", chart.title)
        document.paragraphs[-1].paragraph_format.keep_with_next = True
        document.add_paragraph(chart.caption, style="Caption")


def code(document: Any, name: str, words: str) -> None:
    document.add_paragraph(name, style="Caption")
    run = document.add_paragraph().add_run(words)
    run.font.name = CODE_FONT
    _shade(run._r.get_or_add_rPr(), LIGHT.card)


# ---- tables


def table(document: Any, found: Grid) -> None:
    """With a header that is repeated on every page; the recommended row tinted, a sum in bold."""
    if found.caption:
        document.add_heading(found.caption, 2)
    made = document.add_table(1, len(found.headers))
    made.autofit = False
    _rules(made)
    size = TYPE_PT["small"] - (2.0 if len(found.headers) > MANY else 0.5)
    _row(made.rows[0], found.headers, found, size, colour=LIGHT.soft, bold=True)
    _repeats(made.rows[0])
    last = len(found.rows) - 1
    for at, words in enumerate(found.rows):
        row = made.add_row()
        summed = found.total and at == last
        _row(row, words, found, size, bold=summed or at in found.marked)
        if at in found.marked:
            for cell in row.cells:
                _fill(cell, LIGHT.tint)
    _widths(made, found)
    document.add_paragraph().paragraph_format.space_after = 0


def _row(
    row: Any,
    words: Sequence[str],
    found: Grid,
    size: float,
    *,
    colour: str = LIGHT.ink,
    bold: bool = False,
) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH

    _whole(row)
    for at, (cell, text) in enumerate(zip(row.cells, words)):
        paragraph = cell.paragraphs[0]
        paragraph.paragraph_format.space_after = 0
        if at in found.right:
            paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
        for number, line in enumerate(text.split("\n")):
            if number:
                paragraph.add_run().add_break()
            _sized(paragraph, line, size, LIGHT.soft if number else colour, bold and not number)


def _widths(made: Any, found: Grid) -> None:
    """By the longest line of a column; columns of words may break theirs."""
    from docx.shared import Mm

    texts = (found.headers, *found.rows)
    longest = [
        max(MIN_LETTERS, *(len(line) for row in texts for line in row[at].split("\n")))
        for at in range(len(found.headers))
    ]
    shares = [
        PADDING + (length if at in found.right else min(MOST_LETTERS, length))
        for at, length in enumerate(longest)
    ]
    for column, share in zip(made.columns, shares):
        column.width = Mm(TEXT_MM * share / sum(shares))
        for cell in column.cells:
            cell.width = column.width


def _rules(made: Any) -> None:
    """A line below each row, none between columns."""
    _, element = _element("w:tblBorders")
    for side in ("top", "bottom", "insideH"):
        qn, line = _element(f"w:{side}")
        line.set(qn("w:val"), "single")
        line.set(qn("w:sz"), "4")
        line.set(qn("w:color"), LIGHT.rule.lstrip("#"))
        element.append(line)
    made._tbl.tblPr.append(element)


def _repeats(row: Any) -> None:
    qn, element = _element("w:tblHeader")
    element.set(qn("w:val"), "true")
    row._tr.get_or_add_trPr().append(element)


def _whole(row: Any) -> None:
    """Not parted between pages."""
    _, element = _element("w:cantSplit")
    row._tr.get_or_add_trPr().append(element)


def _fill(cell: Any, colour: str) -> None:
    _shade(cell._tc.get_or_add_tcPr(), colour)


def _shade(properties: Any, colour: str) -> None:
    qn, element = _element("w:shd")
    element.set(qn("w:val"), "clear")
    element.set(qn("w:fill"), colour.lstrip("#"))
    properties.append(element)


def _element(name: str) -> tuple[Any, Any]:
    """(how attributes are named, a new element)."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    return qn, OxmlElement(name)


def _run(paragraph: Any, text: str, size: str, colour: str, bold: bool = False) -> None:
    _sized(paragraph, text, TYPE_PT[size], colour, bold)


def _sized(paragraph: Any, text: str, size: float, colour: str, bold: bool) -> None:
    from docx.shared import Pt, RGBColor

    run = paragraph.add_run(text)
    run.font.size, run.font.bold = Pt(size), bold
    run.font.color.rgb = RGBColor.from_string(colour.lstrip("#").upper())
