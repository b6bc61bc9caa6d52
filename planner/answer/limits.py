"""Whether an answer keeps the limits that the user set: ``max_usd``, ``max_hours`` and
``deadline``."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from planner.plan.limits import hours_left, licence_problem
from planner.units import SECONDS_PER_HOUR, format_seconds, format_usd


def recommended_option(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The option that ``recommended`` names (with its variant, where it gives one), or None."""
    chosen = document.get("recommended")
    if not chosen:
        return None
    keys = [key for key in ("strategy", "gpu", "gpus", "variant", "provider") if key in chosen]
    matches = [
        option
        for option in document["options"]
        if all(option.get(key) == chosen[key] for key in keys)
    ]
    return next(iter(sorted(matches, key=lambda option: option.get("fits") is False)), None)


def broken_limits(
    document: Mapping[str, Any], *, now: datetime.datetime | None = None
) -> list[str]:
    """One sentence for each limit of the question that the answer breaks; empty when all are kept.

    The recommended option is judged, by its medians. Where nothing is recommended every option that
    may run is judged, and the limits are broken when none of them keeps all. No option at all with
    a limit set counts as broken.
    """
    question = document["question"]
    licence = licence_problem(
        question.get("licences"), (document.get("model") or {}).get("license")
    )
    if licence is not None:
        return [licence]
    if not any(question.get(key) is not None for key in ("max_usd", "max_hours", "deadline")):
        return []
    chosen = recommended_option(document)
    candidates = (
        [chosen]
        if chosen
        else [option for option in document["options"] if option.get("fits") is not False]
    )
    if not candidates:
        return ["no option fits, so no limit can be kept"]
    broken = [_broken_by(option, question, now) for option in candidates]
    return min(broken, key=len)


def _broken_by(
    option: Mapping[str, Any], question: Mapping[str, Any], now: datetime.datetime | None
) -> list[str]:
    name = " on ".join(filter(None, [option["strategy"], option.get("gpu")]))
    usd = _project(option)
    hours = _median(option, "run", "wall_hours")
    found = []
    limit = question.get("max_usd")
    if limit is not None and usd is None:
        found.append(f"max_usd {format_usd(limit)}: no price is known for {name}")
    elif limit is not None and usd is not None and usd > limit:
        found.append(f"max_usd {format_usd(limit)} is broken: {name} costs {format_usd(usd)}")
    limit = question.get("max_hours")
    if limit is not None and hours is not None and hours > limit:
        found.append(
            f"max_hours {limit:g} h is broken: {name} takes "
            f"{format_seconds(hours * SECONDS_PER_HOUR)}"
        )
    if question.get("deadline") is not None and hours is not None:
        found += _missed(question["deadline"], hours, name, now)
    return found


def _missed(
    deadline: str | datetime.datetime, hours: float, name: str, now: datetime.datetime | None
) -> list[str]:
    moment = datetime.datetime.fromisoformat(deadline) if isinstance(deadline, str) else deadline
    if hours <= hours_left(moment, now):
        return []
    return [
        f"deadline {moment.isoformat()} is broken: {name} takes "
        f"{format_seconds(hours * SECONDS_PER_HOUR)}"
    ]


def _project(option: Mapping[str, Any]) -> float | None:
    """The whole project where requests are asked for, else the training."""
    cost = option.get("cost")
    return None if not cost else (cost.get("project_usd") or cost["usd"])["p50"]


def _median(option: Mapping[str, Any], part: str, figure: str) -> float | None:
    return option[part][figure]["p50"] if option.get(part) else None
