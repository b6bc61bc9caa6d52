"""What a variant takes on devices at the least, without pricing it: which devices are worth a
price."""

from __future__ import annotations

from planner.devices.specification import DeviceSpec
from planner.parallel.plan import ParallelPlan
from planner.plan.phases.loading import feed_of
from planner.plan.phases.preparation import preparation_hours_at_least
from planner.plan.phases.saving import saving_hours_at_least
from planner.plan.phases.stages import Work
from planner.plan.phases.start_up import start_up_hours_at_least
from planner.plan.placement.grid import DeviceGrid, Grids
from planner.plan.placement.variants import Stage, Variant
from planner.question import Question
from planner.uncertainty.runs import basis_of_runs, run_spread
from planner.uncertainty.spread import time_spread
from planner.units import SECONDS_PER_HOUR


def start_hours_at_least(question: Question, spec: DeviceSpec) -> float:
    """Of any run on a device: starting alone."""
    return start_up_hours_at_least(question, spec)


def wall_hours_at_least(
    question: Question,
    grids: Grids,
    variant: Variant,
    spec: DeviceSpec,
    parallel: ParallelPlan,
    *,
    shares: bool = False,
) -> float:
    """Preparing, starting, saving, and every step of all stages, by medians; ``shares``: also where
    as many devices share state instead. Raises the errors of tracing."""
    firsts = [next(grids.of(stage, spec, parallel)) for stage in variant.stages]
    training = sum(
        _training_hours(stage, grid, parallel, shares)
        for stage, grid in zip(variant.stages, firsts, strict=True)
    )
    last = variant.stages[-1]
    saved: float = firsts[-1].shared.trace.meta["checkpoint_bytes"]
    epochs = 0.0 if last.choices.steps else last.choices.epochs
    saving = saving_hours_at_least(last.question, spec, saved, epochs)
    return training + saving + _hours_before(variant.stages[0], firsts[0], parallel)


def _hours_before(stage: Stage, grid: DeviceGrid, parallel: ParallelPlan) -> float:
    """Of the first step of the first stage."""
    shared, question, spec = grid.shared, stage.question, grid.spec
    recipe, data = shared.source.recipe, shared.problem.data
    work = _work(stage, grid)
    prepared = preparation_hours_at_least(question, recipe, work, data, spec, parallel.devices)
    return prepared + start_up_hours_at_least(question, spec, work.facts, work.strategy)


def _work(stage: Stage, grid: DeviceGrid) -> Work:
    """With the batches of any micro-batch: what they hold of a sample is the same."""
    shared = grid.shared
    plan = next(iter(shared.batches.values()))
    strategy, task = stage.choices.strategy, shared.source.recipe.task
    return Work(shared.source.facts, strategy, task, plan)


def _training_hours(stage: Stage, grid: DeviceGrid, parallel: ParallelPlan, shares: bool) -> float:
    spec, choices, shared = grid.spec, stage.choices, grid.shared
    epoch = min(plan.samples_per_epoch for plan in shared.batches.values())
    samples = choices.steps * choices.global_batch if choices.steps else choices.epochs * epoch
    sure = time_spread(spec, shared.source.facts.modality)
    each, devices = grid.least_seconds_per_sample(parallel, shares=shares), parallel.data_parallel
    work = sure.around(each).scale(devices)
    recipe, data = shared.source.recipe, shared.problem.data
    host = feed_of(stage.question, recipe, _work(stage, grid), data, spec)
    if host is not None:  # each device loads its own share
        work = host.fed(work, 1.0).seconds
    longer = run_spread(basis_of_runs(spec.pricing, spec.key), {}).longer
    return samples * work.p50 / devices / SECONDS_PER_HOUR * longer
