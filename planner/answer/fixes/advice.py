"""When it does not fit: what would make it fit, least disruptive first, each change with the figure
it would bring.

Which changes are tried follows from the question alone, never from a clock or from what was
recorded before: those whose state alone is too large are left out by arithmetic, and ``ENOUGH``
that fit end the search.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from planner import tables
from planner.answer.fixes.leaner_software import loss_in_chunks, updates_in_backward
from planner.errors import FieldName, PlannerError
from planner.figures import Estimate
from planner.parallel.plan import ParallelPlan
from planner.plan.inputs.defaults import quantised
from planner.plan.inputs.hardware import Hardware, rentable
from planner.plan.inputs.problem import Problem
from planner.plan.inputs.rows import default
from planner.plan.inputs.written import preparation
from planner.plan.objectives.asked import objective_asked, rollout
from planner.plan.options import Option
from planner.plan.survey.survey import Survey, survey
from planner.question.adapters import title_of

#: Changes that fit: with so many the search ends.
ENOUGH = 2
#: Strategies whose optimizer holds a state of most parameters.
_TRAINS_MUCH = ("fine_tune", "scratch", "partial_fine_tune", "distillation")
#: Strategies that adapters can stand in for.
_ADAPTABLE = ("fine_tune", "partial_fine_tune")


@dataclass(frozen=True)
class Fix:
    change: str
    used: Estimate
    fits: bool
    gpu: str


@dataclass(frozen=True)
class _Change:
    """``update`` of the question; ``state_bytes``: what the weights and their state take at the
    least then."""

    text: str
    update: dict[str, Any]
    state_bytes: float
    strategy: str = field(default="")


class Advice:
    """``fixes`` of one problem's options, each worked out once: trying changes takes as long as
    the answer itself."""

    def __init__(self, problem: Problem, *, searched: bool = False) -> None:
        self._problem, self._searched = problem, searched
        self._made: dict[Any, list[Fix]] = {}

    def of(self, option: Option) -> list[Fix]:
        """By the option's placement, which they follow from."""
        key = option.placement.key
        if key not in self._made:
            self._made[key] = fixes(self._problem, option, searched=self._searched)
        return list(self._made[key])


def fixes(problem: Problem, option: Option, *, searched: bool = False) -> list[Fix]:
    """Changes in the order of how little they disturb, those that fit first; empty for an option
    that fits. ``searched``: every device was looked at, so that no larger one is left."""
    if option.fits:
        return []
    found: list[Fix] = []
    room = option.setting.proven_memory.device_total_bytes
    for change in _changes(problem, option):
        if sum(fix.fits for fix in found) >= ENOUGH:
            break
        fix = _tried(problem, option, change) if change.state_bytes <= room else None
        found += [fix] if fix else []
    found += [] if searched else _larger(problem, option)
    return sorted(found, key=lambda fix: not fix.fits)


def _changes(problem: Problem, option: Option) -> Iterator[_Change]:
    checkpoint = {"gradient_checkpointing": "full"}
    small = {"micro_batch": 1, "global_batch": _least_batch(problem, option)}
    state, memory = _state_bytes(option), option.setting.proven_memory
    fewer = _fewer_evaluated(option)
    if memory.trains:
        # only its evaluations do not fit: smaller steps would change nothing
        yield from [] if fewer is None else [_Change(*fewer, state)]
        yield from _unprepared(problem, option)
        yield from _lighter_optimizer(option, checkpoint | small)
        yield from _adapters(problem, option, checkpoint | small)
        return
    leaner = (
        _smaller_batches(problem, option, checkpoint, state)
        if _updates_once(option)
        else _leaner_steps(problem, option, checkpoint, small, state)
    )
    adapters = _adapters(problem, option, checkpoint | small)
    for change in (*leaner, *_unprepared(problem, option), *adapters):
        yield change if fewer is None else _both(change, *fewer)


def _fewer_evaluated(option: Option) -> tuple[str, dict[str, Any]] | None:
    """(a smaller batch of evaluations in words, as an update); None where the asked one fits, or
    none would."""
    made = option.run.evaluated
    if made is None or made.fitting is None:
        return None
    return f"{FieldName('evaluation_batch')} {made.fitting}", {"evaluation_batch": made.fitting}


def _both(change: _Change, text: str, update: dict[str, Any]) -> _Change:
    return replace(change, text=f"{change.text} and {text}", update=change.update | update)


def _state_bytes(option: Option) -> float:
    parts = option.setting.proven_memory.breakdown
    return parts["weights"] + parts["gradients"] + parts["optimizer"]


def _updates_once(option: Option) -> bool:
    """Whether every micro-batch is a step; devices that share state add gradients up."""
    return option.setting.recipe.updates_once and not option.rented.parallel.sharding


def _least_batch(problem: Problem, option: Option) -> int:
    """Samples of a step of micro-batches of one: all of them, one after the other, where gradients
    add up; where each weight is updated at once, one a device, or a group of completions."""
    if not _updates_once(option):
        return option.choices.global_batch
    objective = objective_asked(problem.question)
    grouped = objective is not None and objective.grouped
    each = rollout(problem.question, objective).each if grouped and objective else 1
    return math.lcm(option.rented.parallel.data_parallel, each)


def _smaller_batches(
    problem: Problem, option: Option, checkpoint: dict[str, Any], state: float
) -> Iterator[_Change]:
    """Of updates inside the backward pass, which gradients of several micro-batches cannot wait
    for: the largest halved batch that fits, without and with checkpointing."""
    least, most = _least_batch(problem, option), option.choices.global_batch
    sizes = [least * 2**n for n in range(math.ceil(math.log2(max(1, most / least))))]
    within = option.setting.recipe.optimizer_in_backward
    field = FieldName("optimizer_in_backward" if within else "offload")
    why = f"as {field}{'' if within else ' gradients'} goes without accumulation"
    ways = [("", {})]
    if option.setting.recipe.gradient_checkpointing == "none":
        ways.append(("gradient checkpointing and ", checkpoint))
    for words, update in ways:
        changes = [
            _Change(
                f"{words}{FieldName('global_batch')} {size:,}, {why}",
                {"micro_batch": None, "global_batch": size} | update,
                state,
            )
            for size in reversed(sizes)
        ]
        tried = ((change, _tried(problem, option, change)) for change in changes)
        fitting = (change for change, fix in tried if fix is not None and fix.fits)
        yield from islice(fitting, 1)


def _leaner_steps(
    problem: Problem,
    option: Option,
    checkpoint: dict[str, Any],
    small: dict[str, Any],
    state: float,
) -> Iterator[_Change]:
    setting = option.setting
    if setting.micro_batch > 1:
        accumulated = f"micro-batch 1 with {option.choices.global_batch} accumulation steps"
        yield _Change(accumulated, small, state)
    if setting.recipe.gradient_checkpointing == "none":
        yield _Change("gradient checkpointing", checkpoint, state)
        if setting.micro_batch > 1:
            text = "gradient checkpointing and micro-batch 1"
            yield _Change(text, checkpoint | small, state)
    yield from _in_chunks(problem, option, checkpoint | small, state)
    yield from _lighter_optimizer(option, checkpoint | small)
    yield from _in_backward(problem, option)


def _in_chunks(
    problem: Problem, option: Option, smallest: dict[str, Any], state: float
) -> Iterator[_Change]:
    """Beside the smallest step, where that alone does not do."""
    tried = _tried(problem, option, _Change("", smallest, state))
    if tried is None or tried.fits:
        return
    room = option.setting.proven_memory.device_total_bytes
    text, update = loss_in_chunks(problem, option, tried.used.p90 - room)
    if update:
        text += ", gradient checkpointing, micro-batch 1"
        yield _Change(text, smallest | update, state)


def _in_backward(problem: Problem, option: Option) -> Iterator[_Change]:
    """Where gradients are what is too much beside weights and 8-bit states."""
    if option.strategy not in _TRAINS_MUCH or objective_asked(problem.question) is not None:
        return
    memory, states = option.setting.proven_memory, _states_8bit(option)
    parts = memory.breakdown
    if parts["weights"] + parts["gradients"] + states > memory.device_total_bytes:
        text, update = updates_in_backward(option.rented.parallel.data_parallel)
        yield _Change(text, update, parts["weights"] + states)


def _lighter_optimizer(option: Option, update: dict[str, Any]) -> Iterator[_Change]:
    optimizer, parts = option.setting.recipe.optimizer, option.setting.proven_memory.breakdown
    if not optimizer.startswith("adam") or "8bit" in optimizer:
        return
    if option.strategy in _TRAINS_MUCH:
        yield _Change(
            "8-bit AdamW states, gradient checkpointing, micro-batch 1",
            {"optimizer": "adamw_8bit"} | update,
            parts["weights"] + parts["gradients"] + _states_8bit(option),
        )


def _states_8bit(option: Option) -> float:
    """Bytes of the 8-bit optimizer's states, by its row."""
    row = next(r for r in tables.rows("optimizers.csv") if r["optimizer"] == "adamw_8bit")
    trained: int = option.setting.longest_trace().meta["trainable_params"]
    return float(row["bytes_per_param_bf16"]) * trained


def _unprepared(problem: Problem, option: Option) -> Iterator[_Change]:
    """What is not quantised left in 16 bits, which of a mixture may be most of it."""
    question = problem.question
    stored = quantised(question, problem.facts, option.strategy)
    if stored is None or not stored.upcast or preparation(question) != "peft":
        return
    total = option.setting.longest_trace().meta["total_params"]
    least = default("state_bytes_per_parameter_at_least", "qlora")[0] * total
    yield _Change(f"{FieldName('kbit_preparation')} none", {"kbit_preparation": "none"}, least)


def _adapters(problem: Problem, option: Option, update: dict[str, Any]) -> Iterator[_Change]:
    """Adapters over the weights as they are, then over 4-bit weights."""
    total = option.setting.longest_trace().meta["total_params"]
    instead = [] if option.strategy not in _ADAPTABLE else ["lora", "qlora"]
    if option.strategy == "lora":
        instead = ["qlora"]
    for strategy in instead:
        least = default("state_bytes_per_parameter_at_least", strategy)[0] * total
        name = title_of(strategy, problem.question.adapter)
        yield _Change(f"{name} instead", {"strategy": [strategy]} | update, least, strategy)


def _tried(problem: Problem, option: Option, change: _Change) -> Fix | None:
    """The option under a changed question, on its own devices; None where the change is not
    possible for this model."""
    changed = problem.changed(problem.question.model_copy(update=change.update))
    place = Hardware([option.rented.spec], searched=False)
    found = _surveyed(changed, place, option.rented.parallel)
    strategy = change.strategy or option.strategy
    try:
        one = found.nearest(strategy) or found.least_short(strategy)
    except PlannerError:
        return None
    if one is None:
        return None
    memory = one.placement.shown.proven_memory
    return Fix(change.text, memory.needed_bytes, one.placement.fits, option.rented.spec.key)


def _larger(problem: Problem, option: Option) -> list[Fix]:
    """The cheapest rentable device that does this strategy."""
    anywhere = problem.question.model_copy(update={"price": None, "owned_usd": None, "gpu": None})
    try:
        specs = rentable(anywhere)
        found = _surveyed(
            problem.changed(anywhere), Hardware(specs, searched=True), option.rented.parallel
        )
        one = found.nearest(option.strategy, variant=option.variant)
    except PlannerError:
        return []
    if one is None:
        return []
    return [
        Fix(
            change=f"a larger GPU: {one.rented.spec.name} at {one.offer.provider}",
            used=one.placement.shown.proven_memory.needed_bytes,
            fits=True,
            gpu=one.rented.spec.key,
        )
    ]


def _surveyed(problem: Problem, hardware: Hardware, parallel: ParallelPlan) -> Survey:
    return survey(problem, hardware, counts=(parallel.devices,))
