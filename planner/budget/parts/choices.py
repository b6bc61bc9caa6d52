"""What is advised and what comes next: the recommended option, and the runner-up of
``planner/choose/runner_up.py``, as in the terminal."""

from __future__ import annotations

from planner.budget.parts.subject import Json, Subject
from planner.choose.runner_up import runner_up as next_strategy
from planner.plan.limits import licence_problem
from planner.units import format_bytes


def recommended(subject: Subject) -> Json | None:
    index = subject.index
    if index is None:
        return None
    return {
        "option": index,
        "why": subject.document["recommended"]["why"],
        "usd_more": 0.0 if subject.usd is not None else None,
        "hours_more": 0.0 if subject.options[index]["run"] else None,
    }


def runner_up(subject: Subject) -> Json | None:
    """Another strategy, else another variant or provider of the same; at its cheapest. None where
    nothing else fits and keeps the limits, or the licence bars it."""
    chosen = subject.index
    found = None if chosen is None else _next(subject, chosen)
    if chosen is None or found is None:
        return None
    place, reason = found
    own, other = subject.options[chosen], subject.options[place]
    return {
        "option": place,
        "why": ". ".join([reason, *_buys(own, other)]),
        "usd_more": _difference(_usd(own), _usd(other)),
        "hours_more": _difference(_hours(own), _hours(other)),
    }


def _next(subject: Subject, chosen: int) -> tuple[int, str] | None:
    second = next_strategy(subject.document)
    if second is not None and not _is_barred(subject, second.option):
        source = f" ({second.source})" if second.source else ""
        return second.option, f"{second.reason[:1].upper()}{second.reason[1:]}{source}"
    strategy = subject.options[chosen]["strategy"]
    able = [
        place
        for place, one in enumerate(subject.options)
        if place != chosen and one["strategy"] == strategy and _is_able(one)
    ]
    if not able or _is_barred(subject, chosen):
        return None
    least = min(able, key=lambda place: (_usd(subject.options[place]) or 0.0, place))
    return least, "Another way to carry out the same strategy, the cheapest of them"


def _is_able(option: Json) -> bool:
    """One that is paid by the token counts where all of it has a price."""
    whole = option["fits"] or (option["cost"] or {}).get("project_usd") is not None
    return whole and all(limit["kept"] for limit in option["limits"])


def _is_barred(subject: Subject, place: int) -> bool:
    """The licence is that of the weights, which training from scratch does not use."""
    licence = (subject.document["model"] or {}).get("license")
    barred = licence_problem(subject.question.get("licences"), licence) is not None
    return barred and subject.options[place]["strategy"] != "scratch"


def _usd(option: Json) -> float | None:
    return option["cost"]["usd"]["p50"] if option["cost"] else None


def _hours(option: Json) -> float | None:
    return option["run"]["wall_hours"]["p50"] if option["run"] else None


def _difference(own: float | None, other: float | None) -> float | None:
    return None if own is None or other is None else other - own


def _buys(own: Json, other: Json) -> list[str]:
    """What it changes beside dollars and hours: the peak, and how much is trained."""
    if not (own["memory"] and other["memory"]):
        return []
    before, after = (one["memory"]["device_used_bytes"]["p50"] for one in (own, other))
    shares = [one["model"]["trainable_share"] for one in (own, other)]
    text = f"It takes {format_bytes(after)} of memory instead of {format_bytes(before)}"
    if shares[0] != shares[1]:
        text += f" and trains {shares[1]:.2%} of the parameters instead of {shares[0]:.2%}"
    return [text]
