"""The first page: the sum and what it is for, the recommendation, all strategies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.answer.limits import broken_limits
from planner.report.views import answer as answer_view
from planner.report.views import option as option_view
from planner.report.views.budget import options
from planner.report.views.budget.options import two_lines
from planner.report.views.budget.part import NONE, Fact, Grid, Line, Section, Tone
from planner.report.words import (
    UNKNOWN,
    bytes_text,
    chance_text,
    clean,
    count_text,
    hours_text,
    kg_text,
    kwh_text,
    percentiles,
    rate_text,
    share_text,
    usd_text,
)

Document = Mapping[str, Any]
AROUND = "with trials, failures and idle time"
RANGE = "8 of 10 runs: "


def title(document: Document) -> str:
    """Of the whole report."""
    if budget := document.get("budget"):
        return clean(budget["title"])
    chosen = options.chosen(document)
    model = (document.get("model") or {}).get("name")
    subject = clean(model) if model else "this training"
    return f"What {subject} costs with {options.name(chosen)}" if chosen else f"Budget: {subject}"


def summary(document: Document) -> Section:
    """The figures that decide, none of them worked out here."""
    budget = document.get("budget")
    facts = [
        *_run(document),
        *_machine(document),
        *_subject(document),
        *_limits(document),
        *_prices(document),
        *_energy(document),
        *_accuracy(document),
    ]
    asked = (clean(budget["question"]),) if budget else ()
    return Section(
        "summary", title(document), facts=tuple(facts), paragraphs=asked, first=True, folded=False
    )


def _run(document: Document) -> list[Fact]:
    """What it costs: the whole where requests are asked for, the training; its hours."""
    option = options.chosen(document)
    if option is None:
        return _nothing(document)
    return [*_sums(document, option), *_project(document), *_hours(document, option)]


def _nothing(document: Document) -> list[Fact]:
    """What comes nearest, what it is over, and what would do; else why there is nothing."""
    near = options.nearest(document)
    if near is None:
        cause = answer_view.cause(document)
        return [Fact("Recommended", "nothing", cause, "bad", lead=True)]
    option = document["options"][near["option"]]
    over = "; ".join(clean(each["words"]) for each in near["over"])
    facts = [
        Fact("Nearest", _titled(option), over or answer_view.cause(document), "bad", lead=True)
    ]
    if option.get("fits") is False:  # hours and dollars of what cannot run decide nothing
        return facts
    if cost := option.get("cost"):
        whole = cost.get("project_usd") or cost["usd"]
        facts.append(_figure("It would cost", whole, usd_text, options.one_run(option, document)))
    return [*facts, *_hours(document, option), *_would_do(document, near)]


def _would_do(document: Document, near: Mapping[str, Any]) -> list[Fact]:
    """The offer that keeps the limits which the nearest option is over."""
    if near["offer"] is None:
        return []
    offer = document["budget"]["offers"][near["offer"]]
    where = clean(f"{offer['gpus']} × {offer['gpu']} at {offer['provider']}")
    takes = f"{usd_text(offer['usd']['p50'])}, {hours_text(offer['wall_hours']['p50'])}"
    return [Fact("Would keep the limits", where, takes, "good")]


def _sums(document: Document, option: Mapping[str, Any]) -> list[Fact]:
    cost, months = option.get("cost"), document["question"].get("horizon_months")
    if not cost:
        return [Fact(options.paid_for(document), "no price is known", "", "warn", lead=True)]
    one = options.one_run(option, document)
    if not cost.get("project_usd"):
        return [_figure(options.paid_for(document), cost["usd"], usd_text, one, lead=True)]
    what = "Training and requests" if option.get("run") else "Paid by the token"
    whole = _figure(f"{what}, {months:g} months", cost["project_usd"], usd_text, lead=True)
    training = [_figure("Training alone", cost["usd"], usd_text, one)] if option.get("run") else []
    return [whole, *training]


def _hours(document: Document, option: Mapping[str, Any]) -> list[Fact]:
    """Of one run, whatever the sum pays for."""
    run = option.get("run")
    if not run:
        return []
    one = "of one run" if options.one_run(option, document) else ""
    if run["wall_hours"] == run["gpu_hours"]:
        return [_figure("Wall-clock and GPU time", run["wall_hours"], hours_text, one)]
    return [
        _figure("Wall-clock time", run["wall_hours"], hours_text, one),
        _figure("GPU time", run["gpu_hours"], hours_text, one),
    ]


def _figure(
    label: str, figure: Mapping[str, float], word: Any, more: str = "", lead: bool = False
) -> Fact:
    middle, interval = percentiles(figure, word)
    spread = "" if figure["p10"] == figure["p90"] else RANGE + interval
    return Fact(label, middle, "; ".join(filter(None, (more, spread))), lead=lead)


def _machine(document: Document) -> list[Fact]:
    option = options.chosen(document)
    if option is None:
        return []
    if not option.get("gpu"):
        return [Fact("GPU", "none", "paid by the token")]
    rate = (option.get("cost") or {}).get("usd_per_gpu_hour")
    where = [
        f"at {clean(option['provider'])}" if option.get("provider") else "",
        "spot" if options.is_spot(option) else "",
        f"{rate_text(rate)} a GPU-hour" if rate is not None else "",
        options.whole_host(option),
    ]
    device = option_view.short_device(option)
    shown = device if option["gpus"] > 1 else f"1 × {device}"
    return [Fact("GPU and provider", shown, ", ".join(filter(None, where)))]


def _subject(document: Document) -> list[Fact]:
    """The model and the data."""
    found, model, budget = [], document.get("model"), document.get("budget")
    if model:
        size = f"{count_text(model['parameters'])} parameters" if model["parameters"] else ""
        found.append(Fact("Model", clean(model["name"]), size))
    if budget:
        found.append(Fact("Data", *_parted(clean(budget["headline"]["data"]))))
    elif data := document.get("dataset"):
        found.append(Fact("Data", f"{count_text(data['samples'])} samples", clean(data["source"])))
    return found


def _parted(text: str) -> tuple[str, str]:
    """``300 chats, mean 213 tokens`` as a value and its detail."""
    value, _, detail = text.partition(", ")
    return value, detail


def _limits(document: Document) -> list[Fact]:
    """Budget and deadline: kept or not, or that none was set."""
    option = options.chosen(document)
    titles = (("max_usd", "Budget"), ("max_hours", "Time limit"), ("deadline", "Deadline"))
    question = document["question"]
    facts = [
        _limit(part, key, name, question.get("deadline"))
        for key, name in titles
        if (part := options.limit(option, key))
    ]
    if option is None:
        asked = [(key, name) for key, name in titles if question.get(key) is not None]
        return [_not_kept(document, key, name) for key, name in asked]
    if question.get("max_usd") is None:
        facts.insert(0, Fact("Budget", "none set"))
    if question.get("max_hours") is None and question.get("deadline") is None:
        facts.append(Fact("Deadline", "none set"))
    return facts


def _not_kept(document: Document, key: str, name: str) -> Fact:
    """Of what comes nearest; a limit that it keeps is not what rules it out."""
    near = options.nearest(document)
    option = document["options"][near["option"]] if near else None
    if part := options.limit(option, key):
        return _limit(part, key, name, document["question"].get("deadline"))
    return Fact(name, "not judged", "nothing is recommended", "warn")


def _limit(part: Mapping[str, Any], key: str, name: str, deadline: Any) -> Fact:
    word = usd_text if key == "max_usd" else hours_text
    chance = f"{chance_text(part['chance_kept'])} likely to be kept"
    allowed = f"{word(part['allowed'])} allowed"
    if key == "deadline":
        allowed = f"{clean(deadline)}, {hours_text(part['allowed'])} from now"
    detail = f"{allowed}, {chance}"
    return (
        Fact(name, "kept", detail, "good") if part["kept"] else Fact(name, "broken", detail, "bad")
    )


def _prices(document: Document) -> list[Fact]:
    budget, option = document.get("budget"), options.chosen(document)
    cost = (option or {}).get("cost")
    head = (budget or {}).get("headline") or {}
    offer = (cost or {}).get("offer") or {}
    date = head.get("price_date") or (cost or {}).get("price_date")
    age = head.get("price_age_days", offer.get("age_days"))
    if not cost:
        return []
    stale: Tone = "warn" if head.get("price_stale") else "plain"
    detail = "" if age is None else f"{age:,} days old" + (", stale" if stale == "warn" else "")
    return [Fact("Prices of", clean(date or UNKNOWN), detail, stale)]


def _project(document: Document) -> list[Fact]:
    """What people pay around the run."""
    budget = document.get("budget")
    if budget and budget["project"]:
        span = f"{usd_text(budget['project']['low_usd'])}–{usd_text(budget['project']['high_usd'])}"
        what = "Training" if options.with_requests(document) else "Project"
        return [Fact(f"{what} as people run it", span, AROUND, lead=True)]
    return []


def _energy(document: Document) -> list[Fact]:
    option = options.chosen(document) or {}
    if not option.get("energy_kwh"):
        return []
    carbon = f"{kg_text(option['co2_kg']['p50'])} CO₂e" if option.get("co2_kg") else ""
    return [Fact("Energy", kwh_text(option["energy_kwh"]["p50"]), carbon)]


def _accuracy(document: Document) -> list[Fact]:
    """How right the planner was on runs like this."""
    part = (document.get("budget") or {}).get("accuracy")
    if not part or part["median_error"] is None:
        return []
    error = f"{share_text(part['median_error'])} off"
    return [Fact("Such plans were", error, f"median of {part['runs']:,} runs like this")]


def recommendation(document: Document) -> Section:
    """What to do, why, what comes next, and the lines that may change the decision."""
    budget = document.get("budget")
    told, why = answer_view.recommendation(document)
    chosen = options.chosen(document)
    if budget and budget["recommended"]:
        why = clean(budget["recommended"]["why"])
    paragraphs = [f"{_titled(chosen) if chosen else told.capitalize()}.", _sentence(why)]
    if near := options.nearest(document):
        paragraphs.append(_nearest(document, near))
    if budget and budget["runner_up"]:
        paragraphs.append(_runner_up(document, budget["runner_up"]))
    return Section(
        "recommendation",
        "Recommendation",
        paragraphs=tuple(paragraphs),
        lines=tuple(_decisive(document)),
        first=True,
        folded=False,
    )


def _titled(option: Mapping[str, Any]) -> str:
    """``LoRA on NVIDIA H100 at lambda``."""
    device = f" on {option_view.device(option)}" if option.get("gpu") else ""
    return (
        options.name(option)
        + device
        + (f" at {clean(option['provider'])}" if option.get("provider") else "")
        + (", spot" if options.is_spot(option) else "")
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."


def _runner_up(document: Document, choice: Mapping[str, Any]) -> str:
    option = document["options"][choice["option"]]
    takes = [
        _more(choice["usd_more"], usd_text),
        _more(choice["hours_more"], hours_text),
    ]
    differs = ", ".join(text for text in takes if text)
    told, why = f"Runner-up: {_titled(option)}", clean(choice["why"])
    if why.startswith(_titled(option)):
        return f"Runner-up: {_sentence(why)}"
    return f"{told}{f' ({differs})' if differs else ''}: {_sentence(why)}"


def _nearest(document: Document, near: Mapping[str, Any]) -> str:
    option = document["options"][near["option"]]
    over = "; ".join(clean(each["words"]) for each in near["over"])
    said = f"Nearest: {_titled(option)}" + (f", {over}" if over else "")
    if option.get("fits") is False or not near["over"]:
        return f"{said}."
    would = "".join(
        f" {each.value} would keep it: {each.detail}." for each in _would_do(document, near)
    )
    return f"{said}.{would or ' No offer at any provider in this report keeps it.'}"


def _more(value: float | None, word: Any) -> str:
    """``$0.01 more``; nothing where it is not known."""
    if value is None:
        return ""
    return f"{word(abs(value))} {'less' if value < 0 else 'more'}" if value else ""


def _decisive(document: Document) -> list[Line]:
    budget = document.get("budget")
    broken = [Line(text, "bad") for text in map(clean, broken_limits(document))]
    if budget:
        told = [(clean(each["text"]), each["warning"]) for each in budget["decisive"]]
    else:
        told = answer_view.first_lines(document)
    said = "" if options.chosen(document) else answer_view.cause(document)
    lines = broken + [Line(text, "warn" if warns else "plain") for text, warns in told]
    return [line for line in lines if line.text != said]


def strategies(document: Document) -> Section:
    """A row an option, the recommended one marked."""
    rows = tuple(_row(document, option) for option in document["options"])
    marked = {
        at for at, option in enumerate(document["options"]) if option is options.chosen(document)
    }
    costs = (_months(document), "To start") if options.with_requests(document) else ("Cost",)
    headers = ("Strategy", "GPU", *costs, "Wall-clock", "Memory", "Fits")
    right = frozenset(range(2, len(headers) - 1))
    table = Grid(headers, rows, right=right, marked=frozenset(marked))
    return Section(
        "strategies",
        "All strategies",
        charts=("project_costs", "costs"),
        tables=(table,) if rows else (),
        notes=("Second lines: the range in which eight of ten such runs end (p10 to p90).",),
        first=True,
        folded=False,
    )


def _months(document: Document) -> str:
    return f"Over {document['question']['horizon_months']:g} months"


def _costs(document: Document, option: Mapping[str, Any]) -> list[str]:
    """The cells of an option's cost; with requests, the whole and what is paid before them."""
    if not options.with_requests(document):
        return [_lines(option_view.usd(option))]
    return [_lines(option_view.project(option)), _lines(option_view.to_start(option))]


def _lines(pair: tuple[str, str]) -> str:
    return "\n".join(filter(None, pair))


def _row(document: Document, option: Mapping[str, Any]) -> tuple[str, ...]:
    memory, run = option.get("memory"), option.get("run")
    where = option_view.short_device(option) if option.get("gpu") else "by the token"
    at = clean(option["provider"]) if option.get("provider") else ""
    sign = " ✓" if option is options.chosen(document) else ""
    held = (
        (
            f"{bytes_text(memory['device_used_bytes']['p50'])}\n"
            f"of {bytes_text(memory['device_total_bytes'])}"
        )
        if memory
        else NONE
    )
    spent = two_lines(run["wall_hours"], hours_text) if run else NONE
    return (
        options.name(option) + sign,
        "\n".join(filter(None, (where, at))),
        *_costs(document, option),
        spent,
        held,
        option_view.fits(option),
    )
