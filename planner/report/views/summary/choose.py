"""The first screen of ``planner choose``: what to rent, the shortlist, the front, what decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.choose.decisive import on_topic
from planner.report.views import choose as choose_view
from planner.report.views.option import device, name, short_device
from planner.report.views.summary.asked import asked
from planner.report.views.summary.columns import Column, Columns, dollars, hours, names, numbers
from planner.report.views.summary.estimate import no_limit
from planner.report.views.summary.parts import (
    HELPS,
    Grid,
    Paragraph,
    Part,
    Screen,
    decisive_parts,
    of_file,
    rest_words,
)
from planner.report.views.summary.scaling import scaling_parts
from planner.report.views.table import DASH
from planner.report.words import clean, figure_text, hours_text, usd_text

Json = Mapping[str, Any]
#: Ways of the front that a screen has room for.
FRONT = 4
MORE = "the stages in full, what the data supports"


def screen(document: Json, *, brief: bool = False) -> Screen:
    """``brief``: only what is recommended, and the shortlist."""
    way = document["recommended"]
    parts: list[Part] = [Paragraph(asked(document, _run(way))), *of_file(document)]
    parts += _advised(document)
    told = on_topic(document, "limit")
    parts += [Paragraph(clean(text), "Budget:", "bad" if warns else "") for text, warns in told]
    if not told and not brief:
        parts.append(no_limit())
    parts += [Grid(_shortlist(document))] if _found(document) else []
    parts += _not_done(document)
    decisive, hidden = decisive_parts(document, way)
    if brief:
        parts += [part for part in decisive if not part.keep]
        return Screen(parts, lambda _: "")
    if document.get("ways"):
        parts.append(Grid(_ways(document["ways"]), "Every GPU at every provider"))
        parts += decisive
        return Screen(parts, rest_words(hidden, len(document["assumptions"]), MORE))
    parts += scaling_parts(document)
    parts += [*_front(document), *_stages(document)]
    parts += decisive
    parts += _project(document)
    return Screen(parts, rest_words(hidden, len(document["assumptions"]), MORE))


def _run(way: Json | None) -> dict[str, Any] | None:
    if way is None or way.get("epochs") is None:
        return None
    return {
        "strategy": way["strategy"],
        "epochs": way["epochs"],
        "steps": way["steps"],
        "batch": way["global_batch_size"],
    }


def _advised(document: Json) -> list[Part]:
    """Its place, its dollars and hours with their ranges, and why it."""
    way = document["recommended"]
    if way is None or way["gpu"] is None:
        first, *others = choose_view.recommended(document).lines
        text = ". ".join([first, *others])
        return [Paragraph(text, "Recommended:", "bad" if way is None else "good")]
    figures = f"{figure_text(way['usd'], usd_text)}, {figure_text(way['wall_hours'], hours_text)}"
    place = f"{clean(way['strategy'])} on {device(way)} at {clean(way['provider'])}"
    text = f"{place}: {figures}. {clean(way['reason'])}."
    parts: list[Part] = [Paragraph(text, "Recommended:", "good")]
    served = choose_view.served(document)
    return parts + ([Paragraph(served, "Serving:", keep=HELPS - 4)] if served else [])


def _found(document: Json) -> list[Json]:
    return [row for row in document["strategies"] if row["way"]]


def _shortlist(document: Json) -> Columns:
    """The cheapest way of each strategy."""
    rows, way = _found(document), document["recommended"]
    ways = [row["way"] for row in rows]
    columns = [
        names("Strategy", [name(each) for each in ways]),
        *_figures(ways),
    ]
    if document["question"]["requests_per_month"] is not None:
        columns += dollars("Project", [row["project_usd"] for row in rows], drop_range=70)
    key = way and (way["strategy"], way["variant"])
    marks = [n for n, each in enumerate(ways) if (each["strategy"], each["variant"]) == key]
    return Columns(tuple(columns), marks[0] if marks else None)


def _figures(ways: Sequence[Json]) -> list[Column]:
    return [
        names("GPU", [short_device(each) for each in ways]),
        names("Provider", [clean(each["provider"] or DASH) for each in ways], drop=20),
        *hours("Time", [each["wall_hours"] for each in ways], drop_range=60),
        *dollars("Cost", [each["usd"] for each in ways], drop_range=50),
        numbers("Priced", [_age(each) for each in ways], unit="d ago", drop=55),
    ]


def _age(way: Json) -> str | None:
    return None if way["price_age_days"] is None else f"{way['price_age_days']}"


def _not_done(document: Json) -> list[Part]:
    """Strategies that no way keeps the limits with, those of one reason together."""
    why: dict[str, list[str]] = {}
    for row in document["strategies"]:
        if row["why_not"]:
            why.setdefault(clean(row["why_not"]), []).append(row["strategy"])
    return [
        Paragraph(f"{', '.join(whom)}: {reason}", "Not:", keep=HELPS - 6, counts=1)
        for reason, whom in why.items()
    ]


def _ways(ways: Sequence[Json]) -> Columns:
    return Columns(tuple(_figures(ways)))


def _front(document: Json) -> list[Part]:
    """What more dollars buy in hours: a few of the front, with both ends."""
    front = document["front"]
    ways = front["ways"]
    if len(ways) < 2:
        return []
    shown = [ways[n] for n in _spread(len(ways))]
    title = (
        f"{clean(front['strategy'])}: what more dollars buy in hours ({len(shown)} of "
        f"{front['of']} on the front)"
    )
    kept = ["yes" if way["keeps_limits"] else "no" for way in shown]
    limit = [names("Kept", kept)] if "no" in kept else []
    return [Grid(Columns((*_figures(shown), *limit)), title, keep=2 * HELPS + 5)]


def _spread(count: int) -> list[int]:
    """Places of at most ``FRONT`` of so many, evenly, with both ends."""
    most = min(count, FRONT)
    return [round(n * (count - 1) / (most - 1)) for n in range(most)]


def _stages(document: Json) -> list[Part]:
    stages = document["stages"]
    if not stages:
        return []
    columns = (
        names("In which order to go", [clean(row["stage"]) for row in stages]),
        names("Strategy", [clean(row["strategy"]) for row in stages], drop=40),
        names("Costs", [_stage_cost(row) for row in stages]),
        names("Spent by then", [usd_text(row["spent_usd"]) for row in stages], drop=30),
        names("Go on while", [clean(row["go_on_while"]) for row in stages], drop=50),
    )
    return [Grid(Columns(columns), keep=2 * HELPS)]


def _stage_cost(row: Json) -> str:
    cost = choose_view.stage_cost(row)
    return cost if cost != DASH else "not priced"


def _project(document: Json) -> list[Part]:
    return [
        Paragraph(clean(text), "Project:", keep=3 * HELPS + 5)
        for text, _ in on_topic(document, "cost")
    ]
