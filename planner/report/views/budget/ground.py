"""What the figures stand on: assumptions, prices, sources, the question; words for the reader; how
to make it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from planner.report.views import answer as answer_view
from planner.report.views import option as option_view
from planner.report.views.budget.part import Grid, Line, Section
from planner.report.words import clean, rate_text

Document = Mapping[str, Any]


def assumptions(document: Document) -> Section:
    lines = [
        *(Line(text, "warn") for text in answer_view.lines(document, "warnings")),
        *(Line(text) for text in answer_view.lines(document, "assumptions")),
    ]
    return Section("assumptions", "Assumptions and warnings", lines=tuple(lines))


def notes(document: Document) -> Section:
    """The answer's first lines, all of them; what the report cannot show, and why."""
    budget = document.get("budget")
    told = answer_view.first_lines(document) if budget else []
    lines = [Line(text, "warn" if warns else "plain") for text, warns in told]
    left = (budget or {}).get("left_out") or ()
    lines += [Line(f"Left out: {clean(text)}", "warn") for text in left]
    return Section("notes", "Notes to this answer", lines=tuple(lines))


def sources(document: Document) -> Section:
    """Prices with their age, then everything else that the figures stand on."""
    table = answer_view.sources(document)
    prices = _prices((document.get("budget") or {}).get("prices") or ())
    tables = [Grid(table.headers, table.rows, "Sources")] if table.rows else []
    return Section(
        "sources", "Sources, and the age of prices", tables=(*([prices] if prices else []), *tables)
    )


def _prices(prices: Iterable[Mapping[str, Any]]) -> Grid | None:
    """Each price once."""
    headers = ("GPU", "Provider", "USD a GPU-hour", "Date", "Age, days", "Source")
    rows = dict.fromkeys(
        (
            clean(price["gpu"]),
            clean(price["provider"]),
            rate_text(price["usd_per_gpu_hour"]),
            clean(price["date"]),
            f"{price['age_days']:,}" + ("\nstale" if price["stale"] else ""),
            clean(price["source"]),
        )
        for price in prices
    )
    return Grid(headers, tuple(rows), "Prices", frozenset({2, 4})) if rows else None


def question(document: Document) -> Section:
    """What was asked, understood and chosen, in full."""
    parts = (
        ("What was asked", answer_view.asked(document)),
        ("What was understood", answer_view.understood(document)),
        ("Training choices", answer_view.choices(document)),
        ("Where the figures stand", answer_view.standing(document)),
    )
    tables = [_pairs(caption, pairs) for caption, pairs in parts if pairs]
    lines = [Line(text) for text in answer_view.break_even(document)]
    return Section("question", "The question in full", lines=tuple(lines), tables=tuple(tables))


def _pairs(caption: str, pairs: Iterable[tuple[str, str]]) -> Grid:
    return Grid(("What", "Value"), tuple(pairs), caption)


def every_option(document: Document) -> list[Section]:
    """Every figure of every option."""
    return [
        Section(
            f"option-{at}",
            _title(option),
            tables=(
                *_fixes(option),
                _pairs("Figures", option_view.headline(option)),
                _pairs("The whole document of this option", option_view.every_figure(option)),
            ),
        )
        for at, option in enumerate(document["options"], start=1)
    ]


def _title(option: Mapping[str, Any]) -> str:
    where = f" on {option_view.device(option)}" if option.get("gpu") else ""
    return option_view.name(option) + where


def _fixes(option: Mapping[str, Any]) -> list[Grid]:
    rows = tuple(option_view.fixes(option))
    headers = ("Change", "Memory", "Result")
    return [Grid(headers, rows, "What would use less memory", frozenset({1}))] if rows else []


def command(document: Document, suffix: str) -> str:
    """That makes this very file again: the document's own, with the file's suffix."""
    told = clean(document["budget"]["reproduce"]["command"])
    return told.removesuffix(".html") + suffix if told.endswith(" budget.html") else told


def reproduce(document: Document, suffix: str) -> Section:
    part = document["budget"]["reproduce"]
    made = f"Made on {clean(part['made'])} by planner {clean(part['version'])}."
    code = (("Command line", command(document, suffix)), ("Python", clean(part["python"])))
    return Section("reproduce", "How to make this report again", paragraphs=(made,), code=code)


def glossary(document: Document) -> Section:
    rows = tuple(
        (clean(each["term"]), clean(each["meaning"])) for each in document["budget"]["glossary"]
    )
    tables = (Grid(("Term", "Meaning"), rows),) if rows else ()
    return Section("glossary", "Words in this report", tables=tables)
