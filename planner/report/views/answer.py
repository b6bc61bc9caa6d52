"""The answer's document as tables and sentences, shared by every format. Words only: no figure is
worked out here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.answer.limits import broken_limits, recommended_option
from planner.report.views.option import (
    device,
    fits,
    hours,
    memory,
    name,
    price,
    project,
    short_device,
    speed,
    to_start,
    trainable,
    training,
    usd,
)
from planner.report.views.table import Table
from planner.report.words import (
    UNKNOWN,
    clean,
    count_text,
    label,
    value_text,
)

#: Where the figures of each basis come from, in words.
BASES = {
    "exact": "every operation of the step was timed on this very device",
    "calibrated": "this device's own measured rates",
    "datasheet": "the device's datasheet and efficiencies learnt from other devices",
}


def comparison(answer: Mapping[str, Any]) -> Table:
    """A row an option, every cell a string; what belongs to a figure (interval, limit) in a line of
    its own. The GPU has a column only where the options differ in it."""
    whole = any((option.get("cost") or {}).get("project_usd") for option in answer["options"])
    headers = (
        "Strategy",
        "GPU",
        "Fits",
        "Memory",
        "GPU time",
        *(("To start", _months(answer)) if whole else ("Cost", "Speed")),
        "Trains",
    )
    rows = []
    for option in answer["options"]:
        spans = [
            "\n".join(filter(None, pair))
            for pair in (
                (hours(option), to_start(option), project(option))
                if whole
                else (hours(option), usd(option))
            )
        ]
        rows.append(
            (
                name(option),
                short_device(option),
                fits(option),
                memory(option),
                *spans,
                *(() if whole else (speed(option),)),
                trainable(option),
            )
        )
    if only_device(answer) is None and any(option.get("gpu") for option in answer["options"]):
        return Table(headers, tuple(rows))
    return Table(headers[:1] + headers[2:], tuple(row[:1] + row[2:] for row in rows))


def _months(answer: Mapping[str, Any]) -> str:
    return f"Over {answer['question']['horizon_months']:g} months"


def break_even(answer: Mapping[str, Any]) -> list[str]:
    """Which way is cheapest at which load, and where ways cross; empty where no requests were asked
    for."""
    part = answer.get("break_even")
    if not part:
        return []
    cheapest, found = part["cheapest"], []
    for stretch, after in zip(cheapest, [*cheapest[1:], None]):
        where = f"from {count_text(stretch['from_requests_per_month'])}" + (
            f" to {count_text(after['from_requests_per_month'])}" if after else ""
        )
        found.append(
            clean(
                f"{where} requests a month: {stretch['option']}"
                if len(cheapest) > 1
                else f"at any load: {stretch['option']}"
            )
        )
    for crossing in part["crossings"]:
        line = (
            f"{crossing['cheaper_above']} costs less than {crossing['cheaper_below']} from "
            f"{count_text(crossing['requests_per_month'])} requests a month on"
        )
        found.append(
            clean(
                line
                + (
                    ", not at every load above, since servers stand whole"
                    if crossing["again"]
                    else ""
                )
            )
        )
    return found


def only_device(answer: Mapping[str, Any]) -> str | None:
    """The device that all options share, or None where there are several or none."""
    devices = {device(option) for option in answer["options"] if option.get("gpu")}
    return devices.pop() if len(devices) == 1 else None


def recommendation(answer: Mapping[str, Any]) -> tuple[str, str]:
    """What is recommended, and why."""
    chosen = answer.get("recommended")
    if not chosen:
        return "nothing", f"No option can be recommended: {cause(answer)}."
    option = recommended_option(answer)
    title = name(option) if option else clean(chosen["strategy"])
    where = f" on {device(chosen)}" if chosen.get("gpu") else ""
    return title + where, clean(chosen["why"])


def cause(answer: Mapping[str, Any]) -> str:
    """Why nothing is recommended, in one sentence: a limit, memory, a price that is not known."""
    told = [line["text"] for line in answer.get("first_lines") or () if line["topic"] == "limit"]
    options = answer["options"]
    fitting = [option for option in options if option.get("fits") is not False]
    broken = broken_limits(answer) if fitting else []
    if broken:
        return clean("; ".join(broken))
    if told:
        return clean("; ".join(told))
    if options and not fitting:
        return "no option fits the memory of its GPU"
    if any(option.get("cost") is None for option in fitting):
        return f"no price is known for {', '.join(dict.fromkeys(map(name, fitting)))}"
    warned = [*answer.get("warnings", ()), *(w for one in options for w in one["warnings"])]
    return clean(warned[0]) if warned else "no option that was asked for can be planned"


def first_lines(document: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """(sentence, whether it warns) of what stands above every table."""
    return [(clean(line["text"]), line["warning"]) for line in document.get("first_lines") or ()]


def limits(answer: Mapping[str, Any]) -> list[str]:
    return [clean(line) for line in broken_limits(answer)]


def understood(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The model and the data as they were understood, a fact a line."""
    facts = []
    for title, part in (("model", answer.get("model")), ("data", answer.get("dataset"))):
        for key, value in (part or {}).items():
            if (
                value is not None
                and value != []
                and key not in ("config", "fingerprint", "assumptions", "warnings")
            ):
                facts.append((f"{title}: {label(key)}", value_text(str(key), value)))
    return facts


def asked(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The question with its defaults filled in."""
    return [
        (label(key), value_text(str(key), value))
        for key, value in answer["question"].items()
        if value is not None
    ]


def choices(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What all options train with, then what each has of its own; options that choose the same are
    said together."""
    each = [(name(option), training(option)) for option in answer["options"] if training(option)]
    shared = (
        [piece for piece in each[0][1] if all(piece in pieces for _, pieces in each)]
        if len(each) > 1
        else []
    )
    together: dict[str, list[str]] = {", ".join(shared): ["all"]} if shared else {}
    for title, pieces in each:
        own = ", ".join(piece for piece in pieces if piece not in shared)
        if own:
            together.setdefault(own, []).append(title)
    return [("; ".join(dict.fromkeys(names)), text) for text, names in together.items()]


def standing(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where the figures stand: each basis with its options, each price with its options."""
    bases: dict[str, list[str]] = {}
    prices: dict[str, list[str]] = {}
    for option in answer["options"]:
        if option.get("basis"):
            bases.setdefault(
                f"time: {option['basis']}, {BASES.get(option['basis'], '')}", []
            ).append(name(option))
        prices.setdefault(f"price: {price(option)}", []).append(name(option))
    return [(text, _these(options, answer)) for text, options in (bases | prices).items()]


def _these(options: list[str], answer: Mapping[str, Any]) -> str:
    return "all options" if len(options) == len(answer["options"]) else "; ".join(options)


def lines(answer: Mapping[str, Any], key: str) -> list[str]:
    """The answer's own lines, then each option's, once."""
    shared = [clean(line) for line in answer[key]]
    own: dict[str, list[str]] = {}
    for option in answer["options"]:
        for line in option[key]:
            if clean(line) not in shared:
                own.setdefault(clean(line), []).append(name(option))
    everyone = len({name(option) for option in answer["options"]})
    notes = [(line, list(dict.fromkeys(names))) for line, names in own.items()]
    return shared + [
        line if len(names) == everyone > 1 else f"{'; '.join(names)}: {line}"
        for line, names in notes
    ]


def sources(answer: Mapping[str, Any]) -> Table:
    rows = tuple(
        (clean(s["what"]), clean(s["source"]), clean(s.get("date") or UNKNOWN))
        for s in answer["sources"]
    )
    return Table(("What", "Source", "Date"), rows)
