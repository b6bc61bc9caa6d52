"""A variant of a strategy on devices: its settings, one a stage, and its run. No price is in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from planner.devices.specification import DeviceSpec, Machine
from planner.parallel.plan import ParallelPlan
from planner.plan.inputs.problem import Problem
from planner.plan.phases.evaluation_memory import takes_more
from planner.plan.phases.start_up import stored_bytes
from planner.plan.placement.grid import Grids
from planner.plan.placement.run import Run, joined, whole_run
from planner.plan.placement.search import Settled, promise, prove
from planner.plan.placement.variants import CACHED, Stage, Variant
from planner.plan.steps.point import EvaluationMemory, Memory
from planner.plan.steps.setting import Setting
from planner.trace.table import CATEGORIES

Key = tuple[str, str | None, str, ParallelPlan, Machine | None]


@dataclass(frozen=True)
class Placement:
    """``settings``, ``evaluations``: of each stage. ``proven``: a replay has judged every stage's
    memory; until then every stage trains by the grid's word."""

    variant: Variant
    spec: DeviceSpec
    parallel: ParallelPlan
    settings: tuple[Setting, ...]
    evaluations: tuple[EvaluationMemory | None, ...]
    run: Run
    checkpoint_bytes: float
    disk_bytes: int
    proven: bool

    @property
    def key(self) -> Key:
        spec = self.spec
        return self.variant.strategy, self.variant.name, spec.key, self.parallel, spec.machine

    @property
    def strategy(self) -> str:
        return self.variant.strategy

    @property
    def setting(self) -> Setting:
        """Of the last stage, whose model is kept."""
        return self.settings[-1]

    @property
    def heaviest(self) -> Setting:
        """Of the stage that needs most memory, by the replays; the first of equally heavy ones.
        One that does not fit before any that does."""
        return max(self.settings, key=_heaviness)

    @property
    def shown(self) -> Setting:
        """What answers show: the stage that needs most memory, but of cached features the training
        of the head, with the memory of the heavier stage. Of a promised placement the last
        stage."""
        if not self.proven:
            return self.setting
        heaviest = self.heaviest
        if self.variant.name != CACHED:
            return heaviest
        own = self.setting.proven_memory.evaluation
        memory = heaviest.proven_memory
        return replace(self.setting, memory=replace(memory, evaluation=memory.evaluation or own))

    @property
    def fits(self) -> bool:
        """Whether every stage does, by its replay or the grid's word, and its evaluations."""
        trained = all(s.memory is None or s.memory.fits for s in self.settings)
        return trained and self.evaluation_over_bytes <= 0

    @property
    def evaluation_over_bytes(self) -> float:
        """By how much evaluations are over the device's memory; at most 0 where they fit."""
        return max((one.over_bytes for one in self.evaluations if one is not None), default=0.0)


def promised(
    problem: Problem, grids: Grids, variant: Variant, spec: DeviceSpec, parallel: ParallelPlan
) -> Placement | None:
    """By the grid's word; None where a stage cannot be trained. Raises the errors of tracing, and
    QuestionError where no source gives the link between devices."""
    settled = []
    for stage in variant.stages:
        found = promise(grids.of(stage, spec, parallel), parallel)
        if found is None:
            return None
        settled.append(found)
    return _placement(problem, variant, spec, parallel, settled, is_proven=False)


def proven(
    problem: Problem, grids: Grids, variant: Variant, spec: DeviceSpec, parallel: ParallelPlan
) -> Placement:
    """By replays of the allocator; where a stage does not fit, its leanest setting. Raises as
    ``promised``."""
    settled = [prove(grids.of(stage, spec, parallel), parallel) for stage in variant.stages]
    return _placement(problem, variant, spec, parallel, settled, is_proven=True)


def _placement(
    problem: Problem,
    variant: Variant,
    spec: DeviceSpec,
    parallel: ParallelPlan,
    settled: list[Settled],
    *,
    is_proven: bool,
) -> Placement:
    stages = zip(variant.stages, settled, strict=True)
    runs = [_run(problem, stage, found) for stage, found in stages]
    evaluations = tuple(_beside(run) for run in runs)
    last = settled[-1].setting
    cached = variant.name == CACHED
    return Placement(
        variant=variant,
        spec=spec,
        parallel=parallel,
        settings=tuple(
            _with_evaluation(found.setting, evaluation)
            for found, evaluation in zip(settled, evaluations, strict=True)
        ),
        evaluations=evaluations,
        run=joined(runs, parallel),
        checkpoint_bytes=last.checkpoint_bytes,
        disk_bytes=feature_bytes(last, problem.data.samples) if cached else 0,
        proven=is_proven,
    )


def _beside(run: Run) -> EvaluationMemory | None:
    """What an evaluation or the writing of completions takes of the device, whichever is more."""
    made = [run.evaluated.memory if run.evaluated is not None else None, run.rollout]
    known = [one for one in made if one is not None]
    return max(known, key=lambda one: one.used_bytes.p90, default=None)


def _with_evaluation(setting: Setting, evaluation: EvaluationMemory | None) -> Setting:
    """A setting whose memory knows what evaluations take; as it is before a replay."""
    if setting.memory is None:
        return setting
    return replace(setting, memory=replace(setting.memory, evaluation=evaluation))


def _heaviness(setting: Setting) -> tuple[int, float]:
    memory = setting.proven_memory
    return memory.short_by_bytes or 0, memory.device_used_bytes.p50


def _run(problem: Problem, stage: Stage, settled: Settled) -> Run:
    """The run that was promised where the proven one is the same but for its memory, of which a run
    says no more than that evaluations take more, or that the allocator asks for segments again."""
    step, facts = settled.setting.step, settled.setting.source.facts
    time = step.seconds, float(step.time.seconds), float(step.time.optimizer_seconds)
    read = stored_bytes(facts, stage.choices.strategy, settled.weights_bytes)
    key = id(stage), step.micro_batch, step.accumulation, step.parallel, *time, read
    _, run = settled.grid.memo.of(  # with its stage, whose identity stays its own
        "run", key, lambda: (stage, _whole(problem, stage, settled, memory=False))
    )
    memory = settled.setting.memory
    told = memory is not None and (memory.peak.regrown or _evaluates_on_more(run, memory))
    return _whole(problem, stage, settled, memory=True) if told else run


def _evaluates_on_more(run: Run, trained: Memory) -> bool:
    made = run.evaluated and run.evaluated.memory
    return made is not None and takes_more(made, trained)


def _whole(problem: Problem, stage: Stage, settled: Settled, *, memory: bool) -> Run:
    return whole_run(
        stage.question,
        stage.choices,
        settled.setting if memory else replace(settled.setting, memory=None),
        problem.data,
        settled.grid.spec,
        weights_bytes=settled.weights_bytes,
        checkpoint_bytes=settled.setting.checkpoint_bytes,
        optimizer_bytes=settled.setting.optimizer_bytes,
        teacher=stage.teacher,
    )


def feature_bytes(setting: Setting, samples: int) -> int:
    """The cache's size on disk: what enters the head, in the precision it has there, for every
    sample."""
    point = {"B": max(2, setting.micro_batch), **setting.mean}
    trace = setting.source.at(**point)
    inputs = np.flatnonzero((trace.birth < 0) & (trace.category == CATEGORIES.index("activations")))
    sizes = trace.storage_bytes(trace.dims(**point))[trace.size[inputs]]
    return int(math.ceil(float(sizes.max()) / point["B"] * samples))
