"""Where the money goes, and what it hangs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.views.budget import options
from planner.report.views.budget.options import two_lines
from planner.report.views.budget.part import NONE, Grid, Section
from planner.report.words import (
    chance_text,
    clean,
    count_text,
    hours_text,
    rate_text,
    usd_text,
)

Budget = Mapping[str, Any]
#: Groups of lines, titled.
AS_ABOVE = "as above"
GROUPS = {"run": "", "serving": "Answering requests"}


def sections(document: Mapping[str, Any]) -> list[Section]:
    """Of a document with its budget."""
    budget = document["budget"]
    return [
        bill(document),
        project(budget),
        chances(document),
        sensitivity(budget),
        offers(budget),
    ]


def bill(document: Mapping[str, Any]) -> Section:
    """Lines of quantity × price, a table a group, each with its sum as the document has it."""
    lines, option = document["budget"]["lines"], options.chosen(document)
    headers = ("What", "Quantity", "Unit", "USD a unit", "USD", "Price from")
    dearest = sorted(lines, key=lambda line: line["usd"], reverse=True)
    tables = []
    for group, caption in GROUPS.items():
        mine = [line for line in lines if line["group"] == group]
        rows = [_line(line, before) for line, before in zip(mine, [None, *mine])]
        cost = (option or {}).get("cost") if group == "run" else None
        if cost and rows:
            rows.append(("Sum", "", "", "", usd_text(cost["usd"]["p50"]), ""))
        if rows:
            right = frozenset({1, 3, 4})
            caption = caption or options.paid_for(document)
            tables.append(Grid(headers, tuple(rows), caption, right, total=cost is not None))
    return Section(
        "bill",
        "What the money goes to",
        charts=("bill",),
        tables=tuple(tables),
        teaser=", ".join(f"{clean(line['name'])} {usd_text(line['usd'])}" for line in dearest[:2]),
    )


def _line(line: Mapping[str, Any], before: Mapping[str, Any] | None) -> tuple[str, ...]:
    note = clean(line["note"]) if line["note"] else ""
    told = AS_ABOVE if before and _source(line) == _source(before) else _source(line)
    return (
        "\n".join(filter(None, (clean(line["name"]), note))),
        count_text(line["quantity"]),
        clean(line["unit"]),
        rate_text(line["usd_per_unit"]),
        usd_text(line["usd"]),
        told,
    )


def _source(line: Mapping[str, Any]) -> str:
    return ", ".join(clean(line[key]) for key in ("source", "date") if line[key]) or NONE


def project(budget: Budget) -> Section:
    """The project as people run it, beside the single run."""
    part = budget["project"]
    if not part:
        return Section("project", "The project around the run")
    rows = [_around(line) for line in part["lines"]]
    rows.append(("Sum", "", "", usd_text(part["low_usd"]), usd_text(part["high_usd"]), ""))
    headers = ("What", "Quantity", "Unit", "USD, low", "USD, high", "From")
    told = (
        f"One run alone costs {usd_text(part['run_usd'])}; the project as people run it "
        f"{usd_text(part['low_usd'])} to {usd_text(part['high_usd'])}.",
    )
    table = Grid(headers, tuple(rows), right=frozenset({1, 3, 4}), total=True)
    return Section(
        "project",
        "The project around the run",
        paragraphs=told,
        charts=("around",),
        tables=(table,),
        teaser=f"{usd_text(part['low_usd'])} to {usd_text(part['high_usd'])}",
    )


def _around(line: Mapping[str, Any]) -> tuple[str, ...]:
    ends = dict.fromkeys(count_text(line[key]) for key in ("low", "high") if line[key] is not None)
    note = clean(line["note"]) if line["note"] else ""
    return (
        "\n".join(filter(None, (clean(line["name"]), note))),
        "–".join(ends) or NONE,
        clean(line["unit"]),
        usd_text(line["low_usd"]),
        usd_text(line["high_usd"]),
        clean(line["source"]) if line["source"] else NONE,
    )


def offers(budget: Budget) -> Section:
    """Hours against dollars over GPUs and providers."""
    shown = budget["offers"]
    headers = ("GPU and provider", "Cost", "Wall-clock", "USD a GPU-hour", "Price of", "Limits")
    rows = tuple(
        (
            _where(offer),
            two_lines(offer["usd"], usd_text),
            two_lines(offer["wall_hours"], hours_text),
            _rate(offer["usd_per_gpu_hour"]),
            _aged(offer),
            ("kept" if offer["keeps_limits"] else "broken")
            + ("\nnone cheaper and faster" if offer["on_front"] else ""),
        )
        for offer in shown
    )
    marked = frozenset(at for at, offer in enumerate(shown) if offer["chosen"])
    table = Grid(headers, rows, right=frozenset({1, 2, 3}), marked=marked)
    return Section(
        "offers",
        "Hours against dollars over GPUs and providers",
        charts=("offers",),
        tables=(table,) if rows else (),
        teaser=f"{len(rows)} offers",
    )


def _aged(offer: Mapping[str, Any]) -> str:
    """The day of a price, and its age."""
    age = offer["price_age_days"]
    days = "" if age is None else f"\n{age:,} days old"
    return clean(offer["price_date"] or NONE) + days


def _where(offer: Mapping[str, Any]) -> str:
    sign = " ✓" if offer["chosen"] else ""
    return clean(f"{offer['gpus']} × {offer['gpu']}") + f"{sign}\nat {clean(offer['provider'])}"


def _usd(value: float | None) -> str:
    return NONE if value is None else usd_text(value)


def _rate(value: float | None) -> str:
    return NONE if value is None else rate_text(value)


def _hours(value: float | None) -> str:
    return NONE if value is None else hours_text(value)


def sensitivity(budget: Budget) -> Section:
    """One assumption changed at a time."""
    headers = ("Assumption", "Low", "High", "USD, low", "USD, high", "Time, low", "Time, high")
    rows = tuple(
        (
            f"{clean(each['what'])}\n{clean(each['why'])}",
            clean(each["low"]),
            clean(each["high"]),
            _usd(each["usd_low"]),
            _usd(each["usd_high"]),
            _hours(each["hours_low"]),
            _hours(each["hours_high"]),
        )
        for each in budget["sensitivity"]
    )
    table = Grid(headers, rows, right=frozenset({3, 4, 5, 6}))
    return Section(
        "sensitivity",
        "What the sum hangs on",
        charts=("sensitivity",),
        tables=(table,) if rows else (),
        teaser=", ".join(clean(each["what"]) for each in budget["sensitivity"][:3]),
    )


def chances(document: Mapping[str, Any]) -> Section:
    """The chance of passing the budget."""
    budget, limit = document["budget"], document["question"].get("max_usd")
    told, teaser = (), ""
    if budget["chance_over_limit"] is not None and limit is not None:
        chance = chance_text(budget["chance_over_limit"])
        teaser = f"{chance} over {usd_text(limit)}"
        told = (f"The chance that {usd_text(limit)} is not enough for the run: {chance}.",)
    rows = tuple(
        (usd_text(point["usd"]), chance_text(point["chance"])) for point in budget["chances"]
    )
    table = Grid(("USD", "Chance of costing more"), rows, right=frozenset({0, 1}))
    return Section(
        "chances",
        "The chance of passing the budget",
        paragraphs=told,
        charts=("chances",),
        tables=(table,) if rows else (),
        teaser=teaser,
    )
