"""The answer's document as tables and sentences, shared by every format. Words only: no figure is
worked out here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.answer.limits import broken_limits, recommended_option
from planner.report.words import (
    UNKNOWN,
    bytes_text,
    clean,
    count_text,
    figure_text,
    flat,
    flop_text,
    hours_text,
    kg_text,
    kwh_text,
    label,
    percentiles,
    seconds_text,
    share_text,
    usd_text,
    value_text,
)

DASH = "–"
#: Where the figures of each basis come from, in words.
BASES = {
    "exact": "every operation of the step was timed on this very device",
    "calibrated": "this device's own measured rates",
    "datasheet": "the device's datasheet and efficiencies learnt from other devices",
}
#: What each part of the device's memory is.
PARTS = (
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "temporary",
    "fragmentation",
    "context",
)


@dataclass(frozen=True)
class Table:
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def name(option: Mapping[str, Any]) -> str:
    """``feature_extraction, cached features``."""
    return ", ".join(clean(part) for part in (option["strategy"], option.get("variant")) if part)


def short_device(option: Mapping[str, Any]) -> str:
    """Without the makers' words, for narrow columns: ``RTX 3090``."""
    return re.sub(
        r"\b(NVIDIA|GeForce|AMD|Instinct|Tesla|Generation) ?", "", device(option)
    ).strip() or device(option)


def device(option: Mapping[str, Any]) -> str:
    if not option.get("gpu"):
        return "none: paid by the token"
    return (
        f"{option['gpus']} × {clean(option['gpu'])}" if option["gpus"] > 1 else clean(option["gpu"])
    )


def one_line(cell: str) -> str:
    """A cell as running text: a second line that qualifies a figure stands in brackets."""
    first, *rest = cell.split("\n")
    return " ".join(
        [first, *(f"({line})" if "–" in line or "short" in line else line for line in rest)]
    )


def fits(option: Mapping[str, Any]) -> str:
    """Yes, no with what is missing, or a dash where nothing has to fit."""
    if option.get("fits") is None:
        return DASH
    if option["fits"]:
        return "yes"
    short = (option.get("memory") or {}).get("short_by_bytes")
    return "no" if short is None else f"no\n{bytes_text(short)} short"


def memory(option: Mapping[str, Any]) -> str:
    part = option.get("memory")
    return (
        f"{bytes_text(part['device_used_bytes']['p50'])}\nof "
        f"{bytes_text(part['device_total_bytes'])}"
        if part
        else DASH
    )


def hours(option: Mapping[str, Any]) -> tuple[str, str]:
    """GPU-hours: their median and their 80 % interval."""
    return percentiles(option["run"]["gpu_hours"], hours_text) if option.get("run") else (DASH, "")


def usd(option: Mapping[str, Any]) -> tuple[str, str]:
    return _spread(option["cost"]["usd"]) if option.get("cost") else ("no price", "")


def to_start(option: Mapping[str, Any]) -> tuple[str, str]:
    """What is paid before the first request: training with its interval, or what a provider asks
    once."""
    cost = option.get("cost")
    if cost and cost.get("up_front_usd") is not None and not option.get("run"):
        return usd_text(cost["up_front_usd"]), ""
    return usd(option)


def project(option: Mapping[str, Any]) -> tuple[str, str]:
    """Training and answering the asked requests over the asked months."""
    cost = option.get("cost") or {}
    return _spread(cost["project_usd"]) if cost.get("project_usd") else (DASH, "")


def _spread(figure: Mapping[str, float]) -> tuple[str, str]:
    middle, interval = percentiles(figure, usd_text)
    return middle, "" if figure["p10"] == figure["p90"] else interval


def speed(option: Mapping[str, Any]) -> str:
    step = option.get("step")
    if not step:
        return DASH
    if step.get("tokens_per_second") is not None:
        return f"{count_text(step['tokens_per_second'])}\ntokens/s"
    return f"{count_text(step['samples_per_second'])}\nsamples/s"


def trainable(option: Mapping[str, Any]) -> str:
    return share_text(option["model"]["trainable_share"]) if option.get("model") else DASH


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
    ways, found = part["cheapest"], []
    for way, after in zip(ways, [*ways[1:], None]):
        where = f"from {count_text(way['from_requests_per_month'])}" + (
            f" to {count_text(after['from_requests_per_month'])}" if after else ""
        )
        found.append(
            clean(
                f"{where} requests a month: {way['option']}"
                if len(ways) > 1
                else f"at any load: {way['option']}"
            )
        )
    for met in part["crossings"]:
        line = (
            f"{met['cheaper_above']} costs less than {met['cheaper_below']} from "
            f"{count_text(met['requests_per_month'])} requests a month on"
        )
        found.append(
            clean(
                line
                + (", not at every load above, since servers stand whole" if met["again"] else "")
            )
        )
    return found


def serving(option: Mapping[str, Any]) -> str:
    """How the tuned model is served."""
    part = option.get("serving")
    if not part:
        return ""
    month = part["usd_per_month"]
    pieces = [
        f"{part['gpus']} of these GPUs on all month"
        + (f" for {figure_text(month, usd_text)}" if month else ""),
        f"busy {hours_text(part['busy_gpu_hours_per_month'])}"
        + (
            f", which alone would cost {usd_text(part['usd_per_month_when_busy'])}" if month else ""
        ),
        f"a request is read in {seconds_text(part['prompt_seconds']['p50'])}",
    ]
    if part["token_seconds"]:
        pieces.append(
            f"a token takes {seconds_text(part['token_seconds']['p50'])} with "
            f"{count_text(part['requests_at_once'])} requests at once"
        )
    return clean("; ".join(pieces))


def only_device(answer: Mapping[str, Any]) -> str | None:
    """The device that all options share, or None where there are several or none."""
    devices = {device(option) for option in answer["options"] if option.get("gpu")}
    return devices.pop() if len(devices) == 1 else None


def recommendation(answer: Mapping[str, Any]) -> tuple[str, str]:
    """What is recommended, and why."""
    chosen = answer.get("recommended")
    if not chosen:
        return (
            "nothing",
            "No option can be recommended: see what does not fit, the limits and the warnings.",
        )
    option = recommended_option(answer)
    title = name(option) if option else clean(chosen["strategy"])
    where = f" on {device(chosen)}" if chosen.get("gpu") else ""
    return title + where, clean(chosen["why"])


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


def training(option: Mapping[str, Any]) -> tuple[str, ...]:
    """The choices of one option, a phrase each; empty where nothing is trained."""
    part, step = option.get("training"), option.get("step")
    if not part or not step:
        return ()
    pieces = [
        f"precision {part['precision']}",
        f"optimizer {part['optimizer']}: {part['optimizer_states']}",
        f"micro-batch {step['micro_batch_size']}",
        f"accumulation {step['gradient_accumulation']}",
        f"global batch {part['global_batch_size']}",
        f"checkpointing {part['gradient_checkpointing']}",
        f"attention {part['attention']}",
    ]
    if part.get("max_length") is not None:
        pieces += [f"at most {count_text(part['max_length'])} tokens", f"padding {part['padding']}"]
    if part.get("lora"):
        pieces.append("LoRA " + value_text("lora", part["lora"]))
    return tuple(clean(piece) for piece in pieces)


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


def price(option: Mapping[str, Any]) -> str:
    """The price's source with its age, or that there is none."""
    cost = option.get("cost")
    if not cost:
        return "no price is known"
    offer = cost.get("offer") or {}
    age = f"{offer['age_days']:,.0f} days old" if offer.get("age_days") is not None else None
    pieces = [
        f"{usd_text(cost['usd_per_gpu_hour'])} a GPU-hour"
        if cost.get("usd_per_gpu_hour") is not None
        else None,
        option.get("provider"),
        offer.get("region"),
        offer.get("instance_type"),
        "spot" if offer.get("spot") else None,
        cost.get("price_source"),
        cost.get("price_date"),
        age,
    ]
    return clean(", ".join(piece for piece in pieces if piece))


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
    said = [(line, list(dict.fromkeys(names))) for line, names in own.items()]
    return shared + [
        line if len(names) == everyone > 1 else f"{'; '.join(names)}: {line}"
        for line, names in said
    ]


def fixes(option: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What would make it fit: (change, memory used, whether it then fits)."""
    found = []
    for fix in option.get("fixes") or []:
        change = clean(fix["change"]) + (f" ({clean(fix['gpu'])})" if fix.get("gpu") else "")
        found.append(
            (
                change,
                value_text("device_used_bytes", fix["device_used_bytes"]),
                "fits" if fix["fits"] else "still does not fit",
            )
        )
    return found


def peak(option: Mapping[str, Any]) -> str:
    """The moment of the peak and who holds most of it."""
    part = (option.get("memory") or {}).get("peak")
    if not part:
        return ""
    holders = ", ".join(
        f"{module['module'] or 'the model'} {bytes_text(module['bytes'])}"
        for module in part["modules"][:3]
    )
    return clean(
        f"in the {part['phase']} pass, at {part['operation']}"
        + (f" of {part['module']}" if part["module"] else "")
        + (f"; most is held by {holders}" if holders else "")
    )


def scratch(option: Mapping[str, Any]) -> str:
    """What training from scratch would really take."""
    part = option.get("scratch")
    if not part:
        return ""
    facts = [
        f"{label(key)} {value_text(key, value)}"
        for key, value in part.items()
        if value is not None and key != "source"
    ]
    return clean("; ".join(facts) + f" ({part['source'] or UNKNOWN})")


def headline(option: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures that a budget asks for, with their intervals."""
    run, cost, step = option.get("run"), option.get("cost"), option.get("step")
    pairs = [("fits", one_line(fits(option)))]
    if option.get("memory"):
        part = option["memory"]
        pairs.append(
            (
                "memory on the device",
                f"{figure_text(part['device_used_bytes'], bytes_text)} of "
                f"{bytes_text(part['device_total_bytes'])}",
            )
        )
    if run:
        pairs += [
            ("GPU time", figure_text(run["gpu_hours"], hours_text)),
            ("wall-clock time", figure_text(run["wall_hours"], hours_text)),
        ]
    pairs.append(("cost", figure_text(cost["usd"], usd_text) if cost else "no price is known"))
    if cost and sum(value > 0 for value in cost["breakdown"].values()) > 1:
        pairs.append(
            (
                "of which",
                ", ".join(
                    f"{label(part)} {usd_text(value)}"
                    for part, value in cost["breakdown"].items()
                    if value > 0
                ),
            )
        )
    if cost and cost.get("project_usd"):
        pairs.append(("cost of the project", figure_text(cost["project_usd"], usd_text)))
    if cost and cost.get("usd_per_request") is not None:
        pairs.append(("one request more", usd_text(cost["usd_per_request"])))
    if serving(option):
        pairs.append(("serving", serving(option)))
    if step:
        pairs += [
            (
                "step",
                f"{figure_text(step['seconds'], seconds_text)}, "
                f"{flop_text(step['model_flops'])}, bound by the {step['bound_by']}",
            ),
            (
                "speed",
                one_line(speed(option))
                if step.get("mfu") is None
                else f"{one_line(speed(option))}, {share_text(step['mfu'])} of peak (MFU)",
            ),
        ]
    if step and step.get("pace_advice"):
        pairs.append(("to go faster", clean(step["pace_advice"])))
    for key, title, word in (("energy_kwh", "energy", kwh_text), ("co2_kg", "CO₂", kg_text)):
        if option.get(key):
            pairs.append((title, figure_text(option[key], word)))
    if option.get("grid"):
        grid = option["grid"]
        grams = figure_text(grid["grams_co2e_per_kwh"], lambda grams: f"{grams:.0f} g")
        year = grid["year"] or UNKNOWN
        pairs.append(("grid", clean(f"{grams} CO₂e/kWh, {grid['place']}, {year}")))
    if option.get("codecarbon"):
        other = option["codecarbon"]
        pairs.append(
            (
                "codecarbon would say",
                clean(
                    f"{figure_text(other['kwh'], kwh_text)}, "
                    f"{figure_text(other['co2_kg'], kg_text)} CO₂: {other['method']}"
                ),
            )
        )
    return pairs


def every_figure(option: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All of the option's document, a line a leaf."""
    return list(flat(option))


def sources(answer: Mapping[str, Any]) -> Table:
    rows = tuple(
        (clean(s["what"]), clean(s["source"]), clean(s.get("date") or UNKNOWN))
        for s in answer["sources"]
    )
    return Table(("What", "Source", "Date"), rows)
