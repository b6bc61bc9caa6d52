"""Which option of a document is recommended, how options are named to the person who pays, and how
the recommended run spends its time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from planner.answer.limits import recommended_option
from planner.report.views import option as option_view
from planner.report.views.budget.part import NONE
from planner.report.words import clean, label, percentiles, share_text, usd_text

Document = Mapping[str, Any]
#: Names of strategies as papers write them.
TITLES = {
    "feature_extraction": "Feature extraction",
    "partial_fine_tune": "Partial fine-tuning",
    "fine_tune": "Full fine-tuning",
    "lora": "LoRA",
    "qlora": "QLoRA",
    "distillation": "Distillation",
    "scratch": "From scratch",
    "prompting": "Prompting",
    "few_shot": "Few-shot prompting",
    "rag": "Retrieval (RAG)",
    "provider_fine_tune": "Provider's fine-tuning",
}


def chosen(document: Document) -> Mapping[str, Any] | None:
    """The recommended option: the budget's where there is one, else the answer's."""
    if budget := document.get("budget"):
        at = budget["headline"]["option"]
        return None if at is None else document["options"][at]
    return recommended_option(document)


def strategy(name: str | None) -> str:
    """A strategy's name for readers."""
    return NONE if name is None else TITLES.get(name, label(name))


def name(option: Mapping[str, Any]) -> str:
    """``Feature extraction, cached features``."""
    variant = option.get("variant")
    adapters = (option.get("training") or {}).get("lora") or {}
    method = f", {clean(adapters['method'])}" if adapters.get("method") else ""
    title = strategy(option["strategy"])
    return title + method + (f", {clean(variant)}" if variant else "")


def with_requests(document: Document) -> bool:
    """Does the answer price the requests that come after training, too?"""
    return any((option.get("cost") or {}).get("project_usd") for option in document["options"])


def two_lines(figure: Mapping[str, float], word: Callable[[float], str]) -> str:
    """A figure as a cell: its median, its range on a second line."""
    middle, interval = percentiles(figure, word)
    return middle if figure["p10"] == figure["p90"] else f"{middle}\n{interval}"


def state(document: Document, option: Mapping[str, Any]) -> str:
    """One of ``planner/report/charts/theme.py``'s states."""
    if option is chosen(document):
        return "recommended"
    return "ruled out" if option.get("fits") is False else "possible"


def title(document: Document, option: Mapping[str, Any]) -> str:
    """Its name; its GPU too where the options differ in it; what sets it apart in words, since
    colour alone tells nothing."""
    rented = [each for each in document["options"] if each.get("gpu")]
    devices = {(each["gpu"], each["gpus"]) for each in rented}
    where = f" · {option_view.short_device(option)}" if option.get("gpu") else ""
    sign = {"recommended": " ✓", "ruled out": " (does not fit)"}
    shown = name(option) + (where if len(devices) > 1 else "")
    return shown + sign.get(state(document, option), "")


def phases(document: Document) -> list[tuple[str, float, str | None]]:
    """(phase, hours, share in words or None) of the recommended run, phases that take any time."""
    if budget := document.get("budget"):
        whole = [part for part in budget["time"] if part["part"] is None]
        return [
            (clean(part["phase"]), part["hours"], share_text(part["share"]))
            for part in whole
            if part["hours"]
        ]
    run = (chosen(document) or {}).get("run") or {}
    spent = run.get("breakdown_hours") or {}
    return [(clean(phase), hours, None) for phase, hours in spent.items() if hours]


def limit(option: Mapping[str, Any] | None, key: str) -> Mapping[str, Any] | None:
    """What the option's document says of ``max_usd``, ``max_hours`` or ``deadline``; None where it
    was not asked."""
    limits = (option or {}).get("limits") or ()
    return next((each for each in limits if each["limit"] == key), None)


def nearest(document: Document) -> Mapping[str, Any] | None:
    """Of a budget that recommends nothing: which option comes nearest, and what it is over."""
    return (document.get("budget") or {}).get("nearest")


def paid_for(document: Document) -> str:
    """What ``cost.usd`` pays: one run, or all that the question asks to be paid."""
    question = document["question"]
    trials, failed = question.get("trials") or 1, question.get("failed_share") or 0
    if trials > 1:
        return f"All {trials:,} trials" + (", failed runs too" if failed else "")
    return "This run, failed ones too" if failed else "This run"


def one_run(option: Mapping[str, Any] | None, document: Document) -> str:
    """``one run $0.05``; nothing where the sum is of one run alone."""
    span = ((option or {}).get("cost") or {}).get("project_range_usd")
    several = paid_for(document) != "This run"
    return f"one run {usd_text(span['run'])}" if span and several else ""


def whole_host(option: Mapping[str, Any]) -> str:
    """``whole host, 7 more GPUs unused`` where the provider rents no fewer."""
    unused = ((option.get("cost") or {}).get("offer") or {}).get("unused_gpus")
    return f"whole host, {unused} more GPUs unused" if unused else ""


def is_spot(option: Mapping[str, Any]) -> bool:
    return bool(((option.get("cost") or {}).get("offer") or {}).get("spot"))
