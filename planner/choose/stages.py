"""The rules that surround a price: in which order to go, what the data at hand supports, when
transfer is the wrong way.

Every rule is a row of ``profiles/rules/`` with its source; nothing here promises an accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner import tables
from planner.models.facts import ModelFacts
from planner.plan.enough_data import amount_of
from planner.plan.inputs.problem import Problem
from planner.plan.inputs.rows import default

#: Tasks whose models write text; for all others a frozen model with a new head is the baseline.
GENERATING = ("causal_lm", "seq2seq_lm")
#: Strategy → the one that it stands in for where that one does not fit.
STANDS_IN_FOR = {"qlora": "lora"}


def staged_plan(problem: Problem, costs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The stages of this task in order, each with what it costs and what was spent when one stops
    there.

    ``costs``: strategy → ``usd`` (None: unknown), ``usd_per_request``, ``hours``, ``where``, and
    ``why_not`` where it has no price. What a stage costs that is unknown is not in the sum, and
    ``sum_lacks`` names it. A stage that stands in for another (adapters on 4-bit weights) is not
    added where that one can be done.
    """
    kind = "generate" if _task(problem) in GENERATING else "classify"
    spent, lacking, found = 0.0, [], []
    for row in tables.rows("rules", "stages.csv"):
        if row["kind"] != kind:
            continue
        cost = dict(costs.get(row["strategy"]) or {"usd": None, "why_not": "not asked for"})
        replaced = STANDS_IN_FOR.get(row["strategy"], "")
        instead = (costs.get(replaced) or {}).get("usd") is not None
        if cost.get("usd") is None:
            lacking.append(row["strategy"])
        elif not instead:
            spent += cost["usd"]
        found.append(
            {
                "stage": row["stage"],
                "strategy": row["strategy"],
                "learning_rate": row["learning_rate"] or None,
                "do": row["do"],
                "go_on_while": row["go_on_while"],
                "stop_when": row["stop_when"],
                "reason": row["reason"],
                "source": row["source"],
                "date": row["date"],
                "usd": cost.get("usd"),
                "usd_per_request": cost.get("usd_per_request"),
                "hours": cost.get("hours"),
                "where": cost.get("where"),
                "why_not": cost.get("why_not"),
                "instead": instead,
                "spent_usd": spent,
                "sum_lacks": list(lacking),
            }
        )
    return found


def data_support(problem: Problem) -> list[dict[str, Any]]:
    """For each asked strategy and each row of published guidance: what was needed, what is there,
    ``verdict`` (enough | fewer | more | unknown) and the source. A strategy without a row says that
    no guidance is held."""
    found, task = [], _task(problem)
    for strategy in problem.strategies:
        rows = [
            row
            for row in tables.rows("rules", "samples.csv")
            if row["strategy"] == strategy and row["task"] in ("", task)
        ]
        found += [_supported(problem, row) for row in rows]
        if not rows and strategy == "scratch":
            found.append(_scratch(problem))
        elif not rows:
            found.append(
                {
                    "strategy": strategy,
                    "per": None,
                    "min_samples": None,
                    "max_samples": None,
                    "have": None,
                    "verdict": "unknown",
                    "reason": "no published guidance is held for this strategy and task",
                    "source": None,
                    "date": None,
                }
            )
    return found


def _supported(problem: Problem, row: Mapping[str, str]) -> dict[str, Any]:
    classes = problem.question.classes or problem.data.classes
    have = (
        problem.data.samples
        if row["per"] == "total"
        else problem.data.samples / classes
        if classes
        else None
    )
    low, high = tables.number(row["min_samples"]), tables.number(row["max_samples"])
    verdict = (
        "unknown"
        if have is None
        else "fewer"
        if low is not None and have < low
        else "more"
        if high is not None and have > high
        else "enough"
    )
    return {
        "strategy": row["strategy"],
        "per": row["per"],
        "min_samples": low,
        "max_samples": high,
        "have": have,
        "verdict": verdict,
        "reason": row["reason"],
        "source": row["source"],
        "date": row["date"],
    }


def _scratch(problem: Problem) -> dict[str, Any]:
    """Training from scratch, by tokens a parameter where the model writes text, else by the
    family's published recipe."""
    wanted, have, unit, source = _wanted_from_scratch(problem.facts, problem)
    verdict = (
        "unknown" if wanted is None or have is None else "enough" if have >= wanted else "fewer"
    )
    return {
        "strategy": "scratch",
        "per": unit,
        "min_samples": wanted,
        "max_samples": None,
        "have": have,
        "verdict": verdict,
        "reason": "what training this model from scratch wants"
        if wanted
        else "no published recipe is held",
        "source": source,
        "date": None,
    }


def _wanted_from_scratch(
    facts: ModelFacts, problem: Problem
) -> tuple[float | None, float | None, str | None, str | None]:
    tokens = amount_of(problem.data, "tokens")
    if _task(problem) in GENERATING and facts.parameters and tokens:
        ratio, source = default("tokens_per_parameter")
        return (
            ratio * facts.parameters,
            tokens,
            "tokens",
            source,
        )
    if facts.pretraining_amount and facts.pretraining_unit == "samples":
        return (
            facts.pretraining_amount,
            float(problem.data.samples),
            "samples",
            facts.pretraining_source,
        )
    if facts.pretraining_amount and facts.pretraining_unit == "tokens" and tokens:
        return (
            facts.pretraining_amount,
            tokens,
            "tokens",
            facts.pretraining_source,
        )
    return None, None, None, None


def cautions(problem: Problem) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(what speaks against transfer learning here, what the reader has to answer): rows of
    ``not_transfer.csv``."""
    holds, questions = [], []
    for row in tables.rows("rules", "not_transfer.csv"):
        if row["modality"] not in ("", problem.facts.modality):
            continue
        rule = {"reason": row["reason"], "source": row["source"], "date": row["date"]}
        if row["when"] == "ask":
            questions.append({"question": row["question"], **rule})
        elif (
            row["when"] == "samples"
            and problem.data.samples >= float(row["min_samples"])
            or row["when"] == "enough_for_scratch"
            and _enough(problem)
        ):
            holds.append(rule)
    return holds, questions


def _enough(problem: Problem) -> bool:
    wanted, have, *_ = _wanted_from_scratch(problem.facts, problem)
    return wanted is not None and have is not None and have >= wanted


def _task(problem: Problem) -> str:
    return problem.question.task or problem.facts.task
