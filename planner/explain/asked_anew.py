"""The question asked anew with one change, everything else held as the option settled it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from planner.errors import PlannerError, QuestionError, flag
from planner.explain.changes import Try, tries
from planner.explain.subject import Subject
from planner.plan.inputs.hardware import Hardware, rentable
from planner.plan.limits import allowed
from planner.plan.survey.candidate import Candidate
from planner.plan.survey.survey import Survey, survey
from planner.plan.survey.ways import Ways
from planner.question import Question
from planner.trace.source import Progress

#: Of two ways, what is a difference and not the rounding of sums.
TINY = 1e-9


@dataclass
class Asked:
    """``held``: the option asked again by its own choices; the changes; what is left out and
    why."""

    held: dict[str, Any]
    changes: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)


def asked_anew(
    subject: Subject, progress: Progress | None = None, *, changes: bool = True
) -> Asked:
    """Every change that applies, the most valuable first; none without ``changes``."""
    held = held_question(subject)
    base = amounts(_way(subject, held, subject.option.strategy))
    asked = Asked(base)
    wanted = list(tries(subject)) if changes else []
    for number, one in enumerate(wanted):
        if progress is not None:
            progress("asking what each change would buy", number, len(wanted))
        try:
            if one.why_not:
                raise QuestionError(one.why_not)
            asked.changes.append(_change(subject, held, one, base))
        except PlannerError as error:
            why = str(error)
            asked.left_out.append({"key": one.key, "text": one.text, "why": why})
    if progress is not None and wanted:
        progress("asking what each change would buy", len(wanted), len(wanted))
    asked.changes.sort(key=_value)
    return asked


def held_question(subject: Subject) -> Question:
    """The question with what the option settled: the same option is found for it again."""
    question, option = subject.question, subject.option
    setting, choices = option.setting, option.choices
    given: dict[str, Any] = {
        "strategy": [option.strategy],
        "micro_batch": setting.micro_batch,
        "global_batch": choices.global_batch,
        "gradient_checkpointing": setting.recipe.gradient_checkpointing,
        "precision": setting.recipe.precision,
        "padding": choices.padding,
    }
    if question.group_by_length is None and choices.group_by_length:
        given["group_by_length"] = True
    if question.max_steps is None:
        given["epochs"] = choices.epochs
    if choices.steps is not None and question.epochs is None:
        given["max_steps"] = choices.steps
    if choices.max_length is not None and choices.target_max_length is None:
        given["max_length"] = choices.max_length
    # a recipe that evaluates by steps saves by them too, which no field of a question says
    by_steps = choices.practice.evaluation_steps
    if option.run.epochs and question.evaluations_per_epoch is None and not by_steps:
        given["evaluations_per_epoch"] = option.run.evaluations / option.run.epochs
    if choices.practice.generates is not None and question.evaluation_generates is None:
        given["evaluation_generates"] = choices.practice.generates
    return question.model_copy(update=given)


def _change(subject: Subject, held: Question, one: Try, base: dict[str, Any]) -> dict[str, Any]:
    strategy = one.update.get("strategy", [subject.option.strategy])[0]
    opened = {name: Question.model_fields[name].default for name in one.opens}
    question = held.model_copy(update=opened | one.update)
    after = amounts(_way(subject, question, strategy, one.elsewhere))
    if _same(after, base):
        raise QuestionError("it changes no figure")
    if after["usd"] is None and base["usd"] is not None:
        raise QuestionError(f"no price of {after['gpu']} is known under these terms")
    refitted = None
    if "micro_batch" not in (*one.update, *one.opens):
        refitted = _refitted(subject, question, strategy, one, after)
    shown = {name: value for name, value in one.update.items() if value is not None}
    if one.elsewhere:
        shown = {"gpu": after["gpu_key"]}
    return {
        "key": one.key,
        "text": f"{one.text}: {after['gpu']}" if one.elsewhere else one.text,
        "effect": one.effect,
        "fields": shown,
        "flags": flags(shown),
        "after": after,
        "saved": saved(base, after),
        "refitted": refitted,
        "refitted_saved": None if refitted is None else saved(base, refitted),
        "note": _note(question, refitted or after),
    }


def _note(question: Question, found: dict[str, Any]) -> str | None:
    """Where a limit of the question would not be kept."""
    usd = math.inf if found["usd"] is None else found["usd"]
    kept = allowed(question).keeps(usd, found["wall_hours"])
    return None if kept else "a limit of the question is broken"


def _refitted(
    subject: Subject, question: Question, strategy: str, one: Try, after: dict[str, Any]
) -> dict[str, Any] | None:
    """With the micro-batch chosen again; None where that is no other one, or not better."""
    free = question.model_copy(update={"micro_batch": None})
    try:
        found = amounts(_way(subject, free, strategy, one.elsewhere))
    except PlannerError:
        return None
    if found["micro_batch_size"] == after["micro_batch_size"]:
        return None
    better = found["fits"] and (not after["fits"] or _first(found) < _first(after))
    return found if better else None


def _first(found: dict[str, Any]) -> float:
    """What a way is chosen by: dollars where they are known, else hours."""
    return found["wall_hours"] if found["usd"] is None else found["usd"]


def _way(subject: Subject, question: Question, strategy: str, elsewhere: str = "") -> Candidate:
    """The way that the answer to this question shows for the strategy. Raises PlannerError."""
    problem, rented = subject.problem.changed(question), subject.option.rented
    if not elsewhere:
        found = survey(problem, Hardware([rented.spec], False), counts=(question.gpus,))
        ways = Ways(found)
        one = ways.shown(strategy, variant=_variant(subject, strategy))
    else:
        specs = [spec for spec in rentable(question) if spec.key != rented.spec.key]
        found = survey(problem, Hardware(specs, True), counts=(question.gpus,))
        one = _elsewhere(found, strategy, elsewhere, _variant(subject, strategy))
    if one is None:
        raise found.refusal(strategy)
    return one


def _elsewhere(found: Survey, strategy: str, which: str, variant: str | None) -> Candidate | None:
    if which == "fastest":
        return found.fastest(strategy, variant=variant)
    return found.cheapest(strategy, variant=variant)


def _variant(subject: Subject, strategy: str) -> str | None:
    return subject.option.variant if strategy == subject.option.strategy else None


def amounts(one: Candidate) -> dict[str, Any]:
    """Medians of a proven way."""
    setting, offer = one.placement.shown, one.rented.offer
    return {
        "device_used_bytes": setting.proven_memory.device_used_bytes.p50,
        "wall_hours": one.run.wall_hours.p50,
        "usd": None if one.bill is None else one.bill.usd.p50,
        "fits": one.placement.fits,
        "micro_batch_size": setting.micro_batch,
        "gpu": one.rented.spec.name,
        "gpu_key": one.rented.spec.key,
        "gpus": one.rented.parallel.devices,
        "provider": offer.provider if offer else None,
    }


def saved(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What is less; the dollars None where either price is not known."""
    one, two = before["usd"], after["usd"]
    return {
        "bytes": before["device_used_bytes"] - after["device_used_bytes"],
        "hours": before["wall_hours"] - after["wall_hours"],
        "usd": None if one is None or two is None else one - two,
    }


def _same(after: dict[str, Any], base: dict[str, Any]) -> bool:
    figures = ("device_used_bytes", "wall_hours", "usd")
    return all(
        after[name] == base[name]
        or (None not in (after[name], base[name]))
        and abs(after[name] - base[name]) <= TINY * abs(base[name])
        for name in figures
    )


def _value(change: dict[str, Any]) -> tuple[bool, float, float, float]:
    """What fits first, then by dollars, hours and bytes that are saved."""
    after, less = change["after"], change["saved"]
    best = change["refitted_saved"] or less
    fits = after["fits"] or change["refitted"] is not None
    return (
        not fits or change["note"] is not None,
        -(best["usd"] or 0.0),
        -best["hours"],
        -less["bytes"],
    )


def flags(fields: dict[str, Any]) -> str:
    """As they are typed: ``--optimizer adamw_8bit --compile``."""
    parts: list[str] = []
    for name, value in fields.items():
        if isinstance(value, bool):
            parts.append(flag(name, off=not value))
        elif isinstance(value, list):
            parts += [f"{flag(name)} {each}" for each in value]
        else:
            parts.append(f"{flag(name)} {value}")
    return " ".join(parts)
