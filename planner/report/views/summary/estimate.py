"""The first screen of ``planner estimate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.answer.limits import broken_limits, recommended_option
from planner.choose.decisive import on_topic
from planner.choose.runner_up import runner_up
from planner.errors import FieldName
from planner.report.views import answer as answer_view
from planner.report.views.option import device, fits, name, short_device, speed, trainable
from planner.report.views.summary.asked import asked, run_of
from planner.report.views.summary.columns import (
    Column,
    Columns,
    dollars,
    gib,
    hours,
    names,
    numbers,
)
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
from planner.report.views.table import DASH
from planner.report.words import bytes_text, clean, figure_text, hours_text, usd_text

Json = Mapping[str, Any]
MORE = "each option's choices, prices and memory"
#: Stretches of load, each with the way that is cheapest there, that a first screen names.
STRETCHES = 2


def screen(answer: Json, *, brief: bool = False) -> Screen:
    """``brief``: without the project, what would make the rest fit, and what was assumed."""
    option = recommended_option(answer)
    shown = option or next((x for x in answer["options"] if x.get("run")), None)
    parts: list[Part] = [Paragraph(asked(answer, run_of(shown))), *of_file(answer)]
    parts += [Paragraph(text, keep=0) for text in _where(answer)]
    if answer["options"]:
        parts.append(Grid(table(answer, option)))
    parts += [*_advised(answer, option), *_budget(answer, brief)]
    decisive, hidden = decisive_parts(answer, option)
    if brief:
        parts += [part for part in decisive if not part.keep]
        return Screen(parts, lambda _: "")
    parts += [*_fixes(answer["options"]), *decisive]
    assumed = len(answer_view.lines(answer, "assumptions"))
    return Screen(parts, rest_words(hidden, assumed, MORE))


def table(answer: Json, chosen: Json | None) -> Columns:
    """A row an option. What all options share stands above it and has no column."""
    options = answer["options"]
    figures = [(option.get("memory") or {}) for option in options]
    runs = [option.get("run") for option in options]
    columns = [
        names("Strategy", [name(option) for option in options]),
        *_places(answer),
        *_fits(options),
        gib("Memory", [x.get("device_used_bytes", {}).get("p50") for x in figures], drop=30),
    ]
    if len({x.get("device_total_bytes") for x in figures}) > 1:
        columns.append(gib("of", [x.get("device_total_bytes") for x in figures], drop=80))
    columns += hours("Time", [run and run["wall_hours"] for run in runs], drop_range=40)
    columns += _money(answer)
    epochs = [None if run is None else f"{run['epochs']:.3g}" for run in runs]
    if len(set(epochs)) > 1:
        columns.append(numbers("Epochs", epochs, drop=50))
    batches = [(option.get("training") or {}).get("global_batch_size") for option in options]
    if len({batch for batch in batches if batch is not None}) > 1:
        shown = [None if batch is None else f"{batch:,}" for batch in batches]
        columns.append(numbers("Batch", shown, drop=55))
    columns += [
        names("Speed", [speed(option).replace("\n", " ") for option in options], drop=85),
        names("Trains", [trainable(option) for option in options], drop=90),
    ]
    faint = frozenset(n for n, option in enumerate(options) if option.get("fits") is False)
    marked = next((n for n, option in enumerate(options) if option is chosen), None)
    return Columns(tuple(columns), marked, faint)


def _places(answer: Json) -> list[Column]:
    options, found = answer["options"], []
    if answer_view.only_device(answer) is None and any(option.get("gpu") for option in options):
        cells = [short_device(option) if option.get("gpu") else DASH for option in options]
        found.append(names("GPU", cells))
    if len({option.get("provider") for option in options if option.get("gpu")}) > 1:
        cells = [clean(option.get("provider") or DASH) for option in options]
        found.append(names("Provider", cells, drop=60))
    return found


def _fits(options: Sequence[Json]) -> list[Column]:
    """Only where not all fit surely."""
    cells = []
    for option in options:
        tight = option.get("fits") and (option.get("memory") or {}).get("verdict") == "tight"
        cells.append("tight" if tight else fits(option).split("\n")[0])
    return [names("Fits", cells)] if set(cells) - {"yes", DASH} else []


def _money(answer: Json) -> list[Column]:
    costs = [option.get("cost") or {} for option in answer["options"]]
    if not any(cost.get("project_usd") for cost in costs):
        return dollars("Cost", [cost.get("usd") for cost in costs], drop_range=35)
    start = [
        _exact(cost["up_front_usd"])
        if cost.get("up_front_usd") is not None and not option.get("run")
        else cost.get("usd")
        for option, cost in zip(answer["options"], costs)
    ]
    months = f"Over {answer['question']['horizon_months']:g} months"
    whole = dollars(months, [cost.get("project_usd") for cost in costs], drop_range=35)
    return [*dollars("To start", start, drop_range=38), *whole]


def _exact(usd: float) -> dict[str, float]:
    return {"p10": usd, "p50": usd, "p90": usd}


def _where(answer: Json) -> list[str]:
    """The device and the price where all options share them, else how old prices are."""
    only = answer_view.only_device(answer)
    costs = [option["cost"] for option in answer["options"] if option.get("cost")]
    dates = sorted({clean(cost["price_date"]) for cost in costs if cost.get("price_date")})
    dated = f"prices of {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}" if dates else ""
    if only is None:
        given = answer["question"].get("gpu") is not None
        each = "" if given else "Each on the cheapest GPU that fits"
        return [f"{_sentence(', '.join(filter(None, [each, dated])))}."] if each or dated else []
    totals = {(x.get("memory") or {}).get("device_total_bytes") for x in answer["options"]}
    size = f" ({bytes_text(max(filter(None, totals)))})" if any(totals) else ""
    providers = {x.get("provider") for x in answer["options"] if x.get("gpu")} - {None}
    at = f" at {clean(*providers)}" if len(providers) == 1 else ""
    rates = {cost.get("usd_per_gpu_hour") for cost in costs} - {None}
    rate = f"{usd_text(*rates)} a GPU-hour{_terms(costs)}" if len(rates) == 1 else ""
    return [", ".join(filter(None, [f"On {only}{size}{at}", rate, dated])) + "."]


def _terms(costs: Sequence[Json]) -> str:
    """What the price is of where it is not of the GPU alone: spot, a whole host."""
    offers = [cost.get("offer") or {} for cost in costs]
    spot = " on spot" if any(offer.get("spot") for offer in offers) else ""
    unused = {offer.get("unused_gpus") or 0 for offer in offers}
    idle = f", {max(unused)} more GPUs of the host paid and not used" if max(unused) else ""
    return spot + idle


def _advised(answer: Json, option: Json | None) -> list[Part]:
    title, why = answer_view.recommendation(answer)
    why = clean((answer.get("recommended") or {}).get("reason") or why).rstrip(".")
    figures = f"{_at(option)}: {figures_of(option)}" if option else ""
    parts: list[Part] = [
        Paragraph(f"{title}{figures}. {why}.", "Recommended:", "good", space_before=True)
    ]
    second = runner_up(answer)
    if second is not None:
        other = answer["options"][second.option]
        same = option and (device(other), _at(other)) == (device(option), _at(option))
        where = "" if same or not other.get("gpu") else f" on {device(other)}{_at(other)}"
        text = f"{name(other)}{where}: {figures_of(other)}. {_sentence(second.reason)}."
        parts.append(Paragraph(clean(text), "Runner-up:", keep=HELPS - 1))
    return parts


def _at(option: Json) -> str:
    return f" at {clean(option['provider'])}" if option.get("provider") else ""


def figures_of(option: Json) -> str:
    """Dollars with their range, and hours."""
    cost, run = option.get("cost"), option.get("run")
    usd = (cost.get("project_usd") or cost["usd"]) if cost else None
    pieces = [figure_text(usd, usd_text)] if usd else ["no price is known"]
    return ", ".join(pieces + ([hours_text(run["wall_hours"]["p50"])] if run else []))


def _budget(answer: Json, brief: bool) -> list[Part]:
    told = on_topic(answer, "limit")
    broken = [clean(line) for line in broken_limits(answer)]
    parts: list[Part] = [
        Paragraph(clean(text), "Budget:", "bad" if broken else "") for text, _ in told
    ]
    if not told:
        parts += [Paragraph(line, "Limit:", "bad") for line in broken]
    if not parts and not brief:
        parts.append(no_limit())
    if not brief:
        project = on_topic(answer, "cost")
        parts += [Paragraph(clean(text), "Project:", keep=HELPS - 2) for text, _ in project]
        cheapest = answer_view.break_even(answer)[:STRETCHES]
        parts += [Paragraph("; ".join(cheapest), "Break-even:", keep=HELPS - 2)] if cheapest else []
    return parts


def no_limit() -> Paragraph:
    named = FieldName("max_usd", "max_hours", "deadline")
    return Paragraph(f"no limit is set: {named}", "Budget:", keep=2 * HELPS)


def _fixes(options: Sequence[Json]) -> list[Part]:
    """One line a change that makes something fit, with what it makes fit; one for those that no
    change was found for."""
    changes: dict[str, list[str]] = {}
    lost: list[str] = []
    for option in options:
        if option.get("fits") is not False:
            continue
        fix = next((fix for fix in option.get("fixes") or () if fix["fits"]), None)
        if fix is None:
            lost.append(name(option))
            continue
        used = fix["device_used_bytes"]
        size = bytes_text(used["p50"] if isinstance(used, Mapping) else used)
        changes.setdefault(clean(fix["change"]), []).append(f"{name(option)} ({size})")
    parts: list[Part] = [
        Paragraph(f"{', '.join(whom)} with {change}", "Would fit:", keep=HELPS + 5, counts=1)
        for change, whom in changes.items()
    ]
    if lost:
        text = f"{', '.join(lost)}: no change was found that makes them fit"
        parts.append(Paragraph(text, "Does not fit:", keep=HELPS + 6, counts=1))
    return parts


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
