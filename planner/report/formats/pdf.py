"""The budget report as PDF, set by typst: a page of summary, then everything else."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from planner.libraries import import_reporting
from planner.report.charts import draw
from planner.report.charts.registry import drawn
from planner.report.formats.registry import Format
from planner.report.look import LIGHT, TYPE_PT
from planner.report.views.budget.part import Section
from planner.report.views.budget.sections import sections, title
from planner.report.words import clean, hours_text, label, share_text
from planner.today import today

TEMPLATE = Path(__file__).parent / "templates" / "budget.typ"
#: What a screen reader needs: PDF/UA-1 (ISO 14289-1).
ACCESSIBLE = "ua-1"
#: Pixels of a chart as wide as the text, and of one of two beside each other, so that their letters
#: are as large as the text's.
WIDE_PX, HALF_PX, PAIR = 620, 310, 2
#: Charts below the summary, where its page has room: what else could be rented, how sure the sum
#: is; so many pixels high, axes aside.
FIRST, LOW_PX = ("offers", "chances"), 120
NOBODY = "made by planner; every figure is in the answer's JSON document"


def pdf(answer: Mapping[str, Any]) -> bytes:
    """The document's texts go in as data, never as markup. The same report is the same file. Raises
    MissingExtraError without typst, its fonts or vl-convert."""
    typst = import_reporting("typst", "a report as PDF")
    fonts = import_reporting("font_source_sans_pro", "a report as PDF")
    day = _day(answer)
    asked = {
        "input": TEMPLATE.read_bytes(),
        "format": "pdf",
        "font_paths": [str(fonts.font_directory)],
        "sys_inputs": {"data": json.dumps(_data(answer, day), allow_nan=False)},
        "timestamp": datetime.datetime.combine(day, datetime.time.min, datetime.UTC),
    }
    try:
        return typst.compile(**asked, pdf_standards=[ACCESSIBLE])
    except typst.TypstError:
        # a name in letters that no font here has breaks the standard, not the report
        return typst.compile(**asked)


def _data(answer: Mapping[str, Any], day: datetime.date) -> dict[str, Any]:
    shown = sections(answer, every_figure=False, suffix=".pdf")
    return {
        "title": title(answer),
        "made": f"made on {day.isoformat()}",
        "day": {"year": day.year, "month": day.month, "day": day.day},
        "footer": NOBODY,
        "look": asdict(LIGHT),
        "sizes": TYPE_PT,
        "sections": [_plain(section) for section in shown],
        "charts": {section.key: _charts(answer, section.charts) for section in shown},
        "phases": _phases(answer),
        "beside": _charts(answer, FIRST, LOW_PX),
        "costs": _costs(answer),
    }


def _day(answer: Mapping[str, Any]) -> datetime.date:
    """On which the report was made."""
    made = answer["budget"]["reproduce"]["made"] if "budget" in answer else None
    return datetime.date.fromisoformat(made) if made else today()


def _plain(section: Section) -> dict[str, Any]:
    """Lists where JSON knows no sets."""
    found = asdict(section)
    for table in found["tables"]:
        table["right"], table["marked"] = sorted(table["right"]), sorted(table["marked"])
    return found


def _costs(answer: Mapping[str, Any]) -> list[Any]:
    """What the table of strategies shows first: with the requests where they were asked for."""
    costs = [option.get("cost") or {} for option in answer["options"]]
    key = "project_usd" if any(cost.get("project_usd") for cost in costs) else "usd"
    return [cost.get(key) for cost in costs]


def _phases(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Phases of the recommended run, with their share of it."""
    parts = answer["budget"]["time"] if "budget" in answer else []
    return [
        {
            "name": label(part["phase"]),
            "words": f"{hours_text(part['hours'])}, {share_text(part['share'])}",
            "share": part["share"],
        }
        for part in parts
        if part["part"] is None and part["hours"]
    ]


def _charts(
    answer: Mapping[str, Any], keys: tuple[str, ...], height_px: int | None = None
) -> list[dict[str, str]]:
    found = drawn(answer, keys)
    width = HALF_PX if len(found) == PAIR else WIDE_PX
    more = {} if height_px is None else {"height": height_px}
    return [
        {
            "title": chart.title,
            "caption": chart.caption,
            "alt": clean(chart.alt(answer)),
            "svg": draw.svg({**spec, **more}, width),
        }
        for chart, spec in found
    ]


FORMATS = (Format("answer", ".pdf", pdf, order=22),)
