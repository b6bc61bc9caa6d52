"""When it does not fit: what would make it fit, least disruptive first, each change with the figure
it would bring."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from planner.errors import PlannerError
from planner.figures import Estimate
from planner.plan.inputs.hardware import RentedDevice, rentable
from planner.plan.inputs.problem import Problem
from planner.plan.options import Option, options_for
from planner.plan.placement.point import Memory
from planner.question import Question

#: Changes whose steps have to be recorded first are tried for so long.
PATIENCE_SECONDS = 8.0


@dataclass(frozen=True)
class Fix:
    change: str
    used: Estimate
    fits: bool
    gpu: str


def fixes(problem: Problem, option: Option) -> list[Fix]:
    """Changes in the order of how little they disturb, those that fit first; empty for an option
    that fits."""
    if option.fits:
        return []
    found, started = [], time.monotonic()
    for change, update in _changes(problem.question, option):
        if time.monotonic() - started > PATIENCE_SECONDS:
            problem.warnings.append(
                f"{option.strategy}: not every change that might make it fit was tried, "
                "recording its steps takes long"
            )
            break
        fix = _tried(problem, option, change, update)
        found += [fix] if fix else []
    found += _larger(problem, option)
    return sorted(found, key=lambda fix: not fix.fits)


def _changes(question: Question, option: Option) -> list[tuple[str, dict[str, Any]]]:
    setting, recipe = option.setting, option.setting.recipe
    changes: list[tuple[str, dict[str, Any]]] = []
    checkpoint = {"gradient_checkpointing": "full"}
    small = {"micro_batch": 1, "global_batch": option.choices.global_batch}
    # Where the state alone is too large, smaller activations do not help.
    memory = setting.proven_memory
    parts = memory.breakdown
    hopeless = (
        parts["weights"] + parts["gradients"] + parts["optimizer"] > memory.device_total_bytes
    )
    if setting.micro_batch > 1 and not hopeless:
        changes.append(
            (f"micro-batch 1 with {option.choices.global_batch} accumulation steps", small)
        )
    if recipe.gradient_checkpointing == "none" and not hopeless:
        changes.append(("gradient checkpointing", checkpoint))
        if setting.micro_batch > 1:
            changes.append(("gradient checkpointing and micro-batch 1", checkpoint | small))
    if (
        recipe.optimizer.startswith("adam")
        and "8bit" not in recipe.optimizer
        and option.strategy in ("fine_tune", "scratch", "partial_fine_tune", "distillation")
    ):
        changes.append(
            (
                "8-bit AdamW states, gradient checkpointing, micro-batch 1",
                {"optimizer": "adamw_8bit"} | checkpoint | small,
            )
        )
    if option.strategy in ("fine_tune", "partial_fine_tune"):
        changes.append(("LoRA instead", {"strategy": ["lora"]} | checkpoint | small))
    if option.strategy in ("fine_tune", "partial_fine_tune", "lora"):
        changes.append(("QLoRA instead", {"strategy": ["qlora"]} | checkpoint | small))
    return changes


def _tried(problem: Problem, option: Option, change: str, update: dict[str, Any]) -> Fix | None:
    memory = _memory(problem, update, option, lambda: option.rented)
    return (
        None
        if memory is None
        else Fix(change, memory.device_used_bytes, memory.fits, option.rented.spec.key)
    )


def _memory(
    problem: Problem, update: dict[str, Any], option: Option, rented: Callable[[], RentedDevice]
) -> Memory | None:
    """The peak under a changed question; None where the change is not possible for this model."""
    question = problem.question.model_copy(update=update)
    changed = problem.changed(question)
    strategy = update.get("strategy", [option.strategy])[0]
    try:
        return options_for(changed, strategy, rented())[0].setting.memory
    except PlannerError:
        return None


def _larger(problem: Problem, option: Option) -> list[Fix]:
    """The cheapest rentable device that holds this very option."""
    try:
        offered = rentable(problem.question.model_copy(update={"price": None, "gpu": None}))
    except PlannerError:
        return []
    enough = [
        r
        for r in offered
        if r.spec.total_memory_bytes >= option.setting.proven_memory.device_used_bytes.p90
        and r.spec.supports(option.setting.recipe.precision)
    ]
    cheapest = sorted(enough, key=lambda r: r.known_offer.usd_per_hour_for(r.parallel.devices))
    for larger in cheapest[:2]:
        memory = _memory(problem, {}, option, lambda larger=larger: larger)
        if memory is not None and memory.fits:
            return [
                Fix(
                    change=f"a larger GPU: {larger.spec.name} at {larger.known_offer.provider}",
                    used=memory.device_used_bytes,
                    fits=True,
                    gpu=larger.spec.key,
                )
            ]
    return []
