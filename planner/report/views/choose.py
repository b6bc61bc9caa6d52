"""A decision's document as tables and sentences, for ``planner choose``. Words only: no figure is
worked out here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.views.device import Section
from planner.report.views.option import device, name, short_device
from planner.report.views.table import DASH, Table
from planner.report.words import (
    bytes_text,
    clean,
    count_text,
    figure_text,
    hours_text,
    percentiles,
    usd_text,
)


def sections(document: Mapping[str, Any], *, brief: bool = False) -> list[Section]:
    """What is recommended, the table of strategies, and (not ``brief``) the front, the stages, the
    data, what speaks against it."""
    table = _strategies(document)
    found = [
        recommended(document),
        Section(_surveyed(document), table=table if table.rows else None),
        _not_done(document),
        _paid(document),
    ]
    if document.get("ways"):
        found.append(
            Section(
                f"{document['front']['strategy']} on every GPU at every provider",
                table=_ways(document["ways"]),
            )
        )
    if brief:
        return [section for section in found if section.pairs or section.lines or section.table]
    front = document["front"]
    if front["ways"]:
        found.append(
            Section(
                f"{front['strategy']}: what more dollars buy in hours ({len(front['ways'])} of "
                f"{front['of']} on the front)",
                table=_front(front["ways"]),
            )
        )
    found += [
        Section(
            "In which order to go, and what each stage costs", table=_stages(document["stages"])
        ),
        Section(
            "When to go on and when to stop",
            tuple((row["stage"], _rule(row)) for row in document["stages"]),
        ),
        Section(
            "What the data at hand supports",
            tuple((row["strategy"], _support(row)) for row in document["data"]),
        ),
        Section(
            "Speaks against tuning a pretrained model here",
            lines=tuple(
                f"{_sentence(row['reason'])} ({row['source']})" for row in document["cautions"]
            ),
        ),
        Section(
            "Ask yourself",
            tuple(
                (row["question"], f"If so: {row['reason']} ({row['source']})")
                for row in document["questions"]
            ),
        ),
        Section(
            "A smaller model",
            tuple((clean(row["model"]), _smaller(row)) for row in document["smaller"]),
        ),
        Section("Assumptions", lines=tuple(clean(line) for line in document["assumptions"])),
        Section(
            "Warnings",
            lines=tuple(clean(line) for line in [*document["warnings"], *_warnings(document)]),
        ),
    ]
    return [section for section in found if section.pairs or section.lines or section.table]


def recommended(document: Mapping[str, Any]) -> Section:
    way = document["recommended"]
    if way is None:
        return Section(
            "Recommended",
            lines=(f"nothing: {clean(document['licence'] or 'no way keeps the limits')}",),
        )
    if way["gpu"] is None:
        return Section(
            "Recommended",
            lines=(
                f"{_named(way)}: {figure_text(way['usd'], usd_text)}; prices of "
                f"{way['price_date'] or 'no known date'}",
                clean(way["why"]),
            ),
        )
    cheapest = document["cheapest"]
    lines = (
        f"{_title(way)}: {figure_text(way['usd'], usd_text)}, "
        f"{figure_text(way['wall_hours'], hours_text)}; {_price(way)}",
        f"{_setting(way)}, {_memory(way)}",
        clean(way["why"]),
    )
    lines += tuple(filter(None, [served(document)]))
    if cheapest and (cheapest["strategy"], cheapest["variant"]) != (
        way["strategy"],
        way["variant"],
    ):
        lines += (
            f"Cheapest of all strategies: {_title(cheapest)}, {usd_text(cheapest['usd']['p50'])}",
        )
    return Section("Recommended", lines=lines)


def served(document: Mapping[str, Any]) -> str:
    """Where the recommended model answers requests, and what the months cost; empty without
    requests."""
    way = document["recommended"]
    if not way or not way.get("project_usd"):
        return ""
    by = way["serving"]
    return (
        f"Served on {device(by)} at {clean(by['provider'])} for "
        f"{figure_text(by['usd_per_month'], usd_text)} a month; "
        f"{figure_text(way['project_usd'], usd_text)} over "
        f"{document['question']['horizon_months']:g} months"
    )


def _title(way: Mapping[str, Any]) -> str:
    place = ", ".join(
        part
        for part in (
            clean(way["provider"]),
            clean(way["instance_type"] or ""),
            "" if way["region"] == "any" else clean(way["region"]),
            "spot" if way["spot"] else "",
        )
        if part
    )
    return f"{_named(way)} on {device(way)} at {place}"


def _named(way: Mapping[str, Any]) -> str:
    return name(way).replace("_", " ")


def _price(way: Mapping[str, Any]) -> str:
    return f"{usd_text(way['usd_per_gpu_hour'])} a GPU-hour of {way['price_date']}, {_age(way)} old"


def _age(way: Mapping[str, Any]) -> str:
    return f"{way['price_age_days']} d" + ("!" if way["price_stale"] else "")


def _setting(way: Mapping[str, Any]) -> str:
    checkpointing = (
        ""
        if way["gradient_checkpointing"] == "none"
        else f", gradient checkpointing {way['gradient_checkpointing']}"
    )
    return (
        f"micro-batch {way['micro_batch_size']}, {way['gradient_accumulation']} "
        f"accumulated, {way['precision']}{checkpointing}"
    )


def _memory(way: Mapping[str, Any]) -> str:
    return (
        f"{bytes_text(way['memory_bytes']['p50'])} of {bytes_text(way['device_total_bytes'])}"
        if way["memory_bytes"]
        else "memory not proven"
    )


def _surveyed(document: Mapping[str, Any]) -> str:
    seen = document["surveyed"]
    if not seen["ways"]:
        return "The cheapest way of each strategy"
    return (
        f"The cheapest way of each strategy, of {seen['ways']:,} on {seen['gpus']} GPUs at "
        f"{seen['providers']} providers; prices are "
        f"{seen['newest_price_days']} to {seen['oldest_price_days']} days old"
    )


def _strategies(document: Mapping[str, Any]) -> Table:
    """With a column for the whole project where requests are asked for."""
    project = document["question"]["requests_per_month"] is not None
    rows = []
    for row in document["strategies"]:
        way = row["way"]
        if way:
            whole = (
                [usd_text(row["project_usd"]["p50"]) if row["project_usd"] else DASH]
                if project
                else []
            )
            rows.append(
                (
                    _named(way),
                    short_device(way),
                    clean(way["provider"]),
                    *_hours(way),
                    *_usd(way),
                    *whole,
                    _age(way),
                )
            )
    return Table(
        (
            "Strategy",
            "GPU",
            "Provider",
            "Hours",
            "range",
            "Cost",
            "range",
            *(["Project"] if project else []),
            "Price age",
        ),
        tuple(rows),
    )


def _not_done(document: Mapping[str, Any]) -> Section:
    return Section(
        "Not under these limits",
        tuple(
            (row["strategy"], clean(row["why_not"]))
            for row in document["strategies"]
            if row["why_not"]
        ),
    )


def _paid(document: Mapping[str, Any]) -> Section:
    paid = [(row["strategy"], row["paid"]) for row in document["strategies"] if row.get("paid")]
    rows = tuple(
        (
            strategy,
            clean(row["variant"]),
            usd_text(row["usd"]["p50"]) if row["usd"]["p50"] else DASH,
            DASH if row["usd_per_request"] is None else usd_text(row["usd_per_request"]),
            row["price_date"] or "undated",
        )
        for strategy, row in paid
    )
    return Section(
        "Paid by the token",
        table=Table(("Strategy", "Model", "Project", "A request", "Price of"), rows)
        if rows
        else None,
    )


def _hours(way: Mapping[str, Any]) -> tuple[str, str]:
    return percentiles(way["wall_hours"], hours_text)


def _usd(way: Mapping[str, Any]) -> tuple[str, str]:
    return percentiles(way["usd"], usd_text)


def _ways(ways: list[Mapping[str, Any]]) -> Table:
    rows = tuple(
        (
            short_device(way),
            clean(way["provider"]),
            clean(way["instance_type"] or DASH),
            str(way["micro_batch_size"]),
            *_hours(way),
            *_usd(way),
            _age(way),
        )
        for way in ways
    )
    return Table(
        ("GPU", "Provider", "Instance", "Batch", "Hours", "range", "Cost", "range", "Price age"),
        rows,
    )


def _front(ways: list[Mapping[str, Any]]) -> Table:
    rows = tuple(
        (
            short_device(way),
            clean(way["provider"]),
            *_hours(way),
            *_usd(way),
            _age(way),
            "yes" if way["keeps_limits"] else "no",
        )
        for way in ways
    )
    return Table(
        ("GPU", "Provider", "Hours", "range", "Cost", "range", "Price age", "Keeps limits"), rows
    )


def _stages(stages: list[Mapping[str, Any]]) -> Table:
    return Table(
        ("Stage", "Strategy", "Costs", "Spent by then", "Where"),
        tuple(
            (row["stage"], row["strategy"], stage_cost(row), _spent(row), _stage_where(row))
            for row in stages
        ),
    )


def stage_cost(row: Mapping[str, Any]) -> str:
    if row["usd"] is not None:
        return usd_text(row["usd"]) + (", instead" if row["instead"] else "")
    return (
        DASH if row["usd_per_request"] is None else f"{usd_text(row['usd_per_request'])} a request"
    )


def _spent(row: Mapping[str, Any]) -> str:
    return usd_text(row["spent_usd"]) + (
        f" without {', '.join(row['sum_lacks'])}" if row["sum_lacks"] else ""
    )


def _stage_where(row: Mapping[str, Any]) -> str:
    return clean(row["where"] or row["why_not"] or DASH)


def _rule(row: Mapping[str, Any]) -> str:
    rate = f" Learning rate {row['learning_rate']}." if row["learning_rate"] else ""
    return (
        f"{_sentence(row['do'])}.{rate} Go on while {row['go_on_while']}; stop when "
        f"{row['stop_when']}. {_sentence(row['reason'])} ({row['source']})"
    )


def _support(row: Mapping[str, Any]) -> str:
    unit = {"class": " a class", "tokens": " tokens", "samples": " samples"}.get(
        row["per"], " samples"
    )
    have = DASH if row["have"] is None else count_text(round(row["have"])) + unit
    needed = (
        DASH
        if row["min_samples"] is None
        else f"from {count_text(row['min_samples'])}"
        + (f" to {count_text(row['max_samples'])}" if row["max_samples"] else "")
        + unit
    )
    verdict = {
        "enough": "within what was shown",
        "fewer": "fewer than what was shown to work",
        "more": "more than what it was shown for",
        "unknown": "cannot be said",
    }[row["verdict"]]
    source = f" ({row['source']})" if row["source"] else ""
    return (
        f"{verdict}: {have}, published {needed}. {_sentence(row['reason'])}{source}"
        if row["min_samples"] is not None
        else f"{verdict}: {row['reason']}{source}"
    )


def _smaller(row: Mapping[str, Any]) -> str:
    size = f"{count_text(row['parameters'])} parameters"
    if row["way"] is None:
        return f"{size}; {clean(row['why_not'])}"
    return (
        f"{size}; {_title(row['way'])}: {figure_text(row['way']['usd'], usd_text)}, "
        f"{figure_text(row['way']['wall_hours'], hours_text)}"
    )


def _warnings(document: Mapping[str, Any]) -> list[str]:
    way = document["recommended"]
    return list(way["warnings"]) if way else []


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
