"""The option to take where the recommended one disappoints: the next stage of the published order
(``profiles/rules/stages.csv``), else the next that the rules of recommendation know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner import tables
from planner.answer.limits import recommended_option
from planner.choose.stages import GENERATING, STANDS_IN_FOR

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """``option``: index into an answer's ``options``; ``source``: who says the reason, None for
    our own rule."""

    option: int
    reason: str
    source: str | None


def runner_up(document: Json) -> RunnerUp | None:
    """The option beside the recommended one that fits and keeps the limits; None where there is
    none or nothing is recommended. Training from nothing is no second choice of who would tune."""
    chosen = recommended_option(document)
    able = [n for n, option in enumerate(document["options"]) if _able(option)]
    if chosen is None:
        return None
    stages = _stages(document["question"].get("task"))
    for strategy in _order(stages, chosen["strategy"]):
        found = [n for n in able if document["options"][n]["strategy"] == strategy]
        if found:
            best = min(found, key=lambda n: _usd(document["options"][n]))
            stage = stages.get(strategy)
            return RunnerUp(best, stage["do"], stage["source"]) if stage else _known(best)
    return None


def _able(option: Json) -> bool:
    kept = all(limit["kept"] for limit in option.get("limits", ()))
    return option["fits"] is not False and kept and not option.get("scratch")


def _stages(task: str | None) -> dict[str, Mapping[str, str]]:
    kind = "generate" if task in GENERATING else "classify"
    rows = tables.rows("rules", "stages.csv")
    return {row["strategy"]: row for row in rows if row["kind"] == kind}


def _order(stages: Mapping[str, Any], chosen: str) -> list[str]:
    """Strategies after the chosen one, then those before it, the nearest first; then those that
    are no stage. One that stands in for the chosen one is no other way."""
    names: Sequence[str] = list(stages)
    place = names.index(chosen) if chosen in names else len(names)
    nearest = [*names[place + 1 :], *reversed(names[:place])]
    known = [row["strategy"] for row in tables.rows("rules", "recommendation.csv")]
    order = dict.fromkeys([*nearest, *known])
    return [name for name in order if name != chosen and STANDS_IN_FOR.get(name) != chosen]


def _usd(option: Json) -> float:
    cost = option.get("cost")
    return cost["usd"]["p50"] if cost else float("inf")


def _known(option: int) -> RunnerUp:
    reason = "the next that the rules know of those that fit and keep the limits"
    return RunnerUp(option, reason, None)
