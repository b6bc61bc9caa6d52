"""Every recipe whose trace ships, at a few points: what the invariants run over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from planner.devices.lookup import find_device
from planner.errors import ModelError, PlannerError
from planner.memory.live_bytes import peak_allocated
from planner.models.resolve import resolve
from planner.plan.inputs.problem import Problem, understand
from planner.plan.placement.variants import Stage, variants
from planner.question import TRAINING_STRATEGIES, Question
from planner.trace.source import TraceSource, shipped_models
from planner.trace.table import CATEGORIES, PHASES, StepTrace

LENGTHS, BATCHES, TARGET = (64, 512, 2048), (1, 2, 4, 8, 32), 64
DEVICE = "h100-sxm"
PHASE = {name: number for number, name in enumerate(PHASES)}


class Shipped(TraceSource):
    """Never records."""

    def _record(self, regime, length):
        raise ModelError("not shipped")


@dataclass(frozen=True, eq=False)
class Step:
    """A strategy's step of one model under one policy of checkpointing, by regime."""

    model: str
    strategy: str
    variant: str | None
    policy: str
    source: TraceSource

    @property
    def parameters(self) -> int:
        """Of what trains and what is frozen, without a teacher."""
        return self.source.facts.parameters or 0

    def trace(self, batch: int, length: int) -> StepTrace | None:
        """None where it does not ship, or the model is not as long."""
        limit = self.source.facts.max_length
        if limit is not None and length > limit:
            return None
        try:
            found = self.source.at(B=batch, S=length, T=TARGET)
        except PlannerError:
            return None
        return found if found.covers(B=batch, S=length, T=TARGET) else None

    @cache  # noqa: B019 (steps live as long as the tests)
    def live_bytes(self, batch: int, length: int) -> float | None:
        trace = self.trace(batch, length)
        if trace is None:
            return None
        return float(peak_allocated(trace, trace.dims(B=batch, S=length, T=TARGET)))

    def state_bytes(self, batch: int, length: int, *parts: str) -> float | None:
        """Of what is there before the step: weights, optimizer state."""
        trace = self.trace(batch, length)
        if trace is None:
            return None
        wanted = np.isin(trace.category, [CATEGORIES.index(part) for part in parts])
        sizes = trace.storage_bytes(trace.dims(B=batch, S=length, T=TARGET))
        return float(sizes[trace.size[(trace.birth < 0) & wanted]].sum())


def problem_of(model: str, length: int = 512, **fields) -> Problem:
    facts = resolve(model, offline=True)
    counts = {"tokens_per_sample": length} if facts.modality == "text" else {}
    if facts.task == "seq2seq_lm":
        counts["target_tokens_per_sample"] = TARGET
    return understand(Question(model=model, samples=5000, **counts, **fields))


@cache
def steps() -> tuple[Step, ...]:
    return tuple(step for model in sorted(shipped_models()) for step in _of(model))


def _of(model: str) -> Iterator[Step]:
    problem, spec = problem_of(model), find_device(DEVICE)
    for strategy in TRAINING_STRATEGIES:
        try:
            planned = list(variants(problem, strategy, spec))
        except PlannerError:
            continue
        for variant in planned[:1]:
            for policy in ("none", "full"):
                yield Step(
                    model, strategy, variant.name, policy, _source(variant.stages[0], policy)
                )


def _source(stage: Stage, policy: str) -> Shipped:
    recipe = stage.choices.with_checkpointing(policy)
    teacher = stage.teacher if recipe.strategy == "distillation" else None
    return Shipped(stage.facts, recipe, teacher)


def points(model: str) -> Iterator[tuple[int, int]]:
    """(batch, length)."""
    lengths = LENGTHS if resolve(model, offline=True).modality == "text" else LENGTHS[:1]
    for length in lengths:
        for batch in BATCHES:
            yield batch, length


def pairs(first: dict, second: dict) -> Iterator[tuple[Step, Step]]:
    """Steps of one model: one with the fields of ``first``, the other with those of ``second``."""
    for one in steps():
        for other in steps():
            if one.model == other.model and all(
                getattr(step, key) == value
                for step, fields in ((one, first), (other, second))
                for key, value in fields.items()
            ):
                yield one, other
