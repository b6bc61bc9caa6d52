"""The page of the Word document: size, styles, running title, page numbers."""

from __future__ import annotations

import datetime
from typing import Any

from planner.report.look import LIGHT, SPACE_PT, TYPE_PT

#: On every machine that opens a Word document.
FONT, CODE_FONT = "Calibri", "Consolas"
#: A4 and its margins.
PAGE_MM, MARGIN_MM = (210, 297), 20
TEXT_MM = PAGE_MM[0] - 2 * MARGIN_MM


def set_up(document: Any, title: str, day: datetime.date) -> None:
    """Styles, A4, what stands above and below each page, and what the file says of itself."""
    _styles(document)
    _page(document.sections[0], title, day)
    told = document.core_properties
    told.title, told.author, told.comments = title[:255], "planner", ""
    moment = datetime.datetime.combine(day, datetime.time.min)
    told.created = told.modified = moment
    told.last_modified_by, told.language = "planner", "en"


def _styles(document: Any) -> None:
    from docx.shared import Pt

    plain = document.styles["Normal"]
    _look(plain, TYPE_PT["body"], LIGHT.ink)
    plain.paragraph_format.space_after = Pt(SPACE_PT["tight"])
    for name, size, colour, above in (
        ("Title", TYPE_PT["title"], LIGHT.ink, 0.0),
        ("Heading 1", TYPE_PT["heading"], LIGHT.accent, SPACE_PT["part"]),
        ("Heading 2", TYPE_PT["lead"], LIGHT.ink, SPACE_PT["close"]),
    ):
        style = document.styles[name]
        _look(style, size, colour, bold=True)
        style.paragraph_format.space_before = Pt(above)
        style.paragraph_format.space_after = Pt(SPACE_PT["tight"])
        style.paragraph_format.keep_with_next = True
    _look(document.styles["Caption"], TYPE_PT["small"], LIGHT.soft)
    _look(document.styles["List Bullet"], TYPE_PT["body"], LIGHT.ink)
    _no_rule(document.styles["Title"])


def _look(style: Any, size: float, colour: str, bold: bool = False) -> None:
    """The theme's own fonts give way in every script."""
    from docx.oxml.ns import qn
    from docx.shared import Pt, RGBColor

    font = style.font
    font.name, font.size, font.bold = FONT, Pt(size), bold
    font.color.rgb = RGBColor.from_string(colour.lstrip("#").upper())
    fonts = style.element.get_or_add_rPr().get_or_add_rFonts()
    for theme in ("asciiTheme", "hAnsiTheme", "eastAsiaTheme", "cstheme"):
        fonts.attrib.pop(qn(f"w:{theme}"), None)


def _no_rule(style: Any) -> None:
    """The title of Word's template is underlined across the page."""
    from docx.oxml.ns import qn

    rule = style.element.pPr.find(qn("w:pBdr"))
    if rule is not None:
        style.element.pPr.remove(rule)


def _page(section: Any, title: str, day: datetime.date) -> None:
    from docx.shared import Mm

    section.page_width, section.page_height = (Mm(side) for side in PAGE_MM)
    section.left_margin = section.right_margin = Mm(MARGIN_MM)
    section.top_margin = section.bottom_margin = Mm(MARGIN_MM)
    above = section.header.paragraphs[0]
    above.style = "Caption"
    above.add_run(f"{title} · made on {day.isoformat()}")
    below = section.footer.paragraphs[0]
    below.style = "Caption"
    below.add_run("Page ")
    _field(below, "PAGE")
    below.add_run(" of ")
    _field(below, "NUMPAGES")


def _field(paragraph: Any, what: str) -> None:
    """A number that Word works out."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    run = paragraph.add_run()
    for kind in ("begin", None, "separate", "end"):
        if kind is None:
            part = OxmlElement("w:instrText")
            part.text = what
        else:
            part = OxmlElement("w:fldChar")
            part.set(qn("w:fldCharType"), kind)
        run._r.append(part)
