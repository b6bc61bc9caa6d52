"""The recommended run: memory, time, stages, energy; what the data supports; how right the planner
was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.views import option as option_view
from planner.report.views.budget import options
from planner.report.views.budget.options import two_lines
from planner.report.views.budget.part import NONE, Grid, Line, Section
from planner.report.views.table import one_line
from planner.report.words import (
    bytes_text,
    clean,
    hours_text,
    kg_text,
    kwh_text,
    label,
    seconds_text,
    share_text,
    usd_text,
)

Document = Mapping[str, Any]


def memory(document: Document) -> Section:
    """At its peak, by part, against the GPU."""
    held = [option for option in document["options"] if option.get("memory")]
    headers = ("Strategy", *map(label, option_view.PARTS), "In all", "GPU has")
    rows = tuple(_held(document, option) for option in held)
    marked = frozenset(at for at, option in enumerate(held) if option is options.chosen(document))
    right = frozenset(range(1, len(headers)))
    option = options.chosen(document)
    peak = option_view.peak(option) if option else ""
    return Section(
        "memory",
        "Memory at its peak against the GPU",
        paragraphs=(f"Peak of the recommended run: {peak}.",) if peak else (),
        charts=("memory",),
        tables=(Grid(headers, rows, right=right, marked=marked),) if rows else (),
        teaser=one_line(option_view.memory(option)) if option and option.get("memory") else "",
    )


def _held(document: Document, option: Mapping[str, Any]) -> tuple[str, ...]:
    part = option["memory"]
    sizes = (part["breakdown"].get(key) for key in option_view.PARTS)
    return (
        options.title(document, option),
        *(NONE if size is None else bytes_text(size) for size in sizes),
        two_lines(part["device_used_bytes"], bytes_text),
        bytes_text(part["device_total_bytes"]),
    )


def time(document: Document) -> Section:
    """Of the run by phase, with parts; of a micro-batch by kind of work."""
    tables = [table for table in (_phases(document), _kinds(document)) if table.rows]
    longest = sorted(options.phases(document), key=lambda phase: phase[1], reverse=True)[:2]
    return Section(
        "time",
        "Time by phase and kind",
        charts=("phases", "kinds"),
        tables=tuple(tables),
        teaser=", ".join(f"{label(name)} {hours_text(hours)}" for name, hours, _ in longest),
    )


def _phases(document: Document) -> Grid:
    budget, headers = document.get("budget"), ("Phase", "Part", "Time", "Share")
    if budget:
        rows = [
            (
                label(part["phase"]),
                "all of it" if part["part"] is None else label(part["part"]),
                hours_text(part["hours"]),
                share_text(part["share"]),
            )
            for part in budget["time"]
        ]
    else:
        rows = [
            (label(phase), "all of it", hours_text(hours), share or NONE)
            for phase, hours, share in options.phases(document)
        ]
    return Grid(headers, tuple(rows), "The run by phase", frozenset({2, 3}))


def _kinds(document: Document) -> Grid:
    step = (options.chosen(document) or {}).get("step") or {}
    rows = tuple(
        (label(kind), seconds_text(seconds))
        for kind, seconds in (step.get("by_kind") or {}).items()
        if seconds
    )
    return Grid(("Kind", "GPU time"), rows, _pass_of(step), frozenset({1}))


def _pass_of(step: Mapping[str, Any]) -> str:
    """Whose time the kinds sum to: of one pass, of which a step makes several."""
    title, passes = "One micro-batch by kind of work", step.get("gradient_accumulation", 1)
    if passes == 1:
        return f"{title}; it is the whole step"
    return f"{title}; a step makes {passes:,} such passes, and the optimizer's part once"


def stages(document: Document) -> Section:
    """The order to go in, when to go on, when to stop."""
    headers = ("Stage", "Strategy", "USD", "Spent by then, USD", "Where", "When to go on")
    rows = tuple(
        (
            clean(stage["name"]),
            options.strategy(stage["strategy"]),
            NONE if stage["usd"] is None else usd_text(stage["usd"]),
            NONE if stage["spent_by_then_usd"] is None else usd_text(stage["spent_by_then_usd"]),
            clean(stage["where"]) if stage["where"] else NONE,
            "\n".join(
                clean(text) for text in (stage["go_on"], _not_priced(stage["why_not"])) if text
            ),
        )
        for stage in document["budget"]["stages"]
    )
    table = Grid(headers, rows, right=frozenset({2, 3}))
    return Section(
        "stages",
        "Stages: when to go on, when to stop",
        tables=(table,) if rows else (),
        teaser=" → ".join(row[0] for row in rows),
    )


def _not_priced(why: str | None) -> str:
    return f"Not priced: {why}" if why else ""


def enough(document: Document) -> Section:
    """Scratch against transfer: how much data each wants."""
    headers = ("Strategy", "Verdict", "Data it wants", "Source")
    part = (document.get("budget") or {}).get("enough") or []
    rows = tuple(
        (
            options.strategy(each["strategy"]),
            clean(each["verdict"]),
            clean(each["needed"]) if each["needed"] else NONE,
            clean(each["source"]) if each["source"] else NONE,
        )
        for each in part
    )
    return Section(
        "enough",
        "From scratch against transfer: how much data each wants",
        paragraphs=tuple(_scratch(document)),
        tables=(Grid(headers, rows),) if rows else (),
    )


def _scratch(document: Document) -> list[str]:
    found = [(option, option_view.scratch(option)) for option in document["options"]]
    return [f"{options.name(option)} really takes: {text}." for option, text in found if text]


def energy(document: Document) -> Section:
    """Energy and carbon by option, and what the recommended one stands on."""
    used = [option for option in document["options"] if option.get("energy_kwh")]
    rows = tuple(
        (
            options.title(document, option),
            two_lines(option["energy_kwh"], kwh_text),
            two_lines(option["co2_kg"], kg_text) if option.get("co2_kg") else NONE,
        )
        for option in used
    )
    marked = frozenset(at for at, option in enumerate(used) if option is options.chosen(document))
    table = Grid(("Strategy", "Energy", "CO₂e"), rows, "", frozenset({1, 2}), marked)
    option = options.chosen(document)
    stands = option_view.headline(option) if option else []
    lines = [Line(f"{title}: {text}") for title, text in stands if title in ("grid", CODECARBON)]
    spent = _spent(option)
    return Section(
        "energy",
        "Energy and carbon",
        lines=tuple(lines),
        tables=(table,) if rows else (),
        teaser=spent,
    )


def _spent(option: Mapping[str, Any] | None) -> str:
    """Of the recommended option, medians."""
    if not option or not option.get("energy_kwh"):
        return ""
    carbon = f", {kg_text(option['co2_kg']['p50'])} CO₂e" if option.get("co2_kg") else ""
    return kwh_text(option["energy_kwh"]["p50"]) + carbon


CODECARBON = "codecarbon would say"


def accuracy(document: Document) -> Section:
    """On runs like this one."""
    part = document["budget"]["accuracy"]
    if not part:
        return Section("accuracy", "How right the planner was on runs like this")
    said = [
        ("median error of the hours", part["median_error"]),
        ("within 30 % of what was reported", part["within_30_percent"]),
        ("inside the range that we gave", part["inside_range"]),
        ("our lean", part["bias"]),
    ]
    known = [f"{what}: {share_text(value)}" for what, value in said if value is not None]
    text = f"{part['runs']} runs: {clean(part['like'])}. " + "; ".join(known) + "."
    headers = ("Run", "Strategy", "GPU", "Reported", "Planned", "Error", "Source")
    rows = tuple(map(_reported, part["shown"]))
    table = Grid(headers, rows, right=frozenset({3, 4, 5}))
    return Section(
        "accuracy",
        "How right the planner was on runs like this",
        paragraphs=(text,),
        tables=(table,) if rows else (),
        teaser=f"{part['runs']} runs",
        notes=(f"From {clean(part['source'])}.",),
    )


def _reported(run: Mapping[str, Any]) -> tuple[str, ...]:
    reported, planned, error = run["reported_hours"], run["planned_hours"], run["error"]
    return (
        clean(run["name"]),
        options.strategy(run["strategy"]),
        clean(run["gpu"]),
        NONE if reported is None else hours_text(reported),
        NONE if planned is None else hours_text(planned),
        NONE if error is None else share_text(error),
        clean(run["source"]),
    )
