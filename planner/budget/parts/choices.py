"""What is advised and what comes next, by the rules of ``profiles/rules/recommendation.csv``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from planner.answer.recommend import next_best
from planner.budget.parts.headline import strategy_words
from planner.budget.parts.subject import Json, Subject
from planner.plan.limits import licence_problem
from planner.units import SECONDS_PER_HOUR, format_bytes, format_seconds, format_usd


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
    """The next that the rules advise and the limits allow, at its cheapest; else another variant or
    strategy that fits and keeps them, the cheapest. None where nothing else does."""
    chosen = subject.index
    if chosen is None:
        return None
    able = [place for place in _able(subject) if place != chosen]
    found = next(_advised(subject, able), None) or _cheapest(subject, able)
    if found is None:
        return None
    place, reason = found
    usd, hours = _more(subject, place, _usd), _more(subject, place, _hours)
    said = f"{_differences(subject, place, usd, hours)}. {reason}"
    return {"option": place, "why": said, "usd_more": usd, "hours_more": hours}


def _advised(subject: Subject, able: list[int]) -> Iterator[tuple[int, str]]:
    """(option, why) of the strategies that the rules advise after the recommended one."""
    own = subject.options[subject.index or 0]["strategy"]
    for strategy, reason in next_best(*_case(subject)):
        of_it = [place for place in able if subject.options[place]["strategy"] == strategy]
        if strategy != own and of_it:
            yield _least(subject, of_it), str(reason)


def _case(subject: Subject) -> tuple[str, int | None, int]:
    """(task, parameters, samples) that rules are matched with."""
    model, data = subject.document["model"] or {}, subject.document["dataset"] or {}
    counted = [one["model"]["total_params"] for one in subject.options if one["model"]]
    parameters = model.get("parameters") or max(counted, default=None)
    return str(subject.question.get("task")), parameters, data.get("samples") or 0


def _cheapest(subject: Subject, able: list[int]) -> tuple[int, str] | None:
    if not able:
        return None
    return _least(subject, able), "No rule names it next: the cheapest other way that can be done"


def _able(subject: Subject) -> list[int]:
    """Options that fit and keep every limit, and whose weights may be taken."""
    question, model = subject.question, subject.document["model"] or {}
    barred = licence_problem(question.get("licences"), model.get("license")) is not None
    return [
        place
        for place, one in enumerate(subject.options)
        if one["fits"] is not False
        and (one["fits"] or _is_whole(one))
        and all(limit["kept"] for limit in one["limits"])
        and not (barred and one["strategy"] != "scratch")
    ]


def _is_whole(paid: Json) -> bool:
    """Whether all that a way paid by the token takes has a price, for the requests asked."""
    return (paid["cost"] or {}).get("project_usd") is not None


def _least(subject: Subject, places: list[int]) -> int:
    def order(place: int) -> tuple[bool, float, float, int]:
        usd, hours = _usd(subject.options[place]), _hours(subject.options[place])
        return usd is None, usd or 0.0, hours or 0.0, place

    return min(places, key=order)


def _usd(option: Json) -> float | None:
    return option["cost"]["usd"]["p50"] if option["cost"] else None


def _hours(option: Json) -> float | None:
    return option["run"]["wall_hours"]["p50"] if option["run"] else None


def _more(subject: Subject, place: int, figure: Any) -> float | None:
    own, other = figure(subject.options[subject.index or 0]), figure(subject.options[place])
    return None if own is None or other is None else other - own


def _differences(subject: Subject, place: int, usd: float | None, hours: float | None) -> str:
    """``Full fine-tuning on NVIDIA L4 at runpod: $0.31 more, 12.0 min more, trains 1.24B of …``."""
    own, other = subject.options[subject.index or 0], subject.options[place]
    variant = f", {other['variant']}" if other["variant"] else ""
    gpu = f" on {other['gpu']}" if other["gpu"] else ""
    provider = f" at {other['provider']}" if other["provider"] else ""
    parts = [] if usd is None else [_signed(format_usd(abs(usd)), usd)]
    if hours is not None:
        parts.append(_signed(format_seconds(abs(hours) * SECONDS_PER_HOUR), hours))
    parts += _memory(own, other)
    name = f"{strategy_words(other['strategy'])}{variant}{gpu}{provider}"
    return f"{name}: {', '.join(parts)}" if parts else name


def _signed(amount: str, value: float) -> str:
    return f"{amount} {'more' if value > 0 else 'less'}" if value else f"{amount} apart"


def _memory(own: Json, other: Json) -> list[str]:
    """The change of the peak, and what is trained."""
    if not (own["memory"] and other["memory"]):
        return []
    peaks = [one["memory"]["device_used_bytes"]["p50"] for one in (own, other)]
    trained = [one["model"]["trainable_share"] for one in (own, other)]
    return [
        f"{format_bytes(peaks[1])} of memory instead of {format_bytes(peaks[0])}",
        f"{trained[1]:.2%} of the parameters trained instead of {trained[0]:.2%}",
    ]
