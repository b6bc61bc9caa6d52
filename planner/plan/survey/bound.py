"""What a variant takes on devices at the least, without pricing it: which devices are worth a
price."""

from __future__ import annotations

from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.parallel.plan import ParallelPlan
from planner.plan.phases.loading import feed_of
from planner.plan.phases.stages import Work
from planner.plan.placement.grid import DeviceGrid, Grids
from planner.plan.placement.run import fixed_hours_at_least
from planner.plan.placement.variants import Stage, Variant
from planner.question import Question
from planner.uncertainty.spread import spread
from planner.units import SECONDS_PER_HOUR


def start_hours_at_least(question: Question, spec: DeviceSpec) -> float:
    """Of any run on a device: starting alone."""
    return fixed_hours_at_least(question, spec, 0.0, 0.0)


def wall_hours_at_least(
    question: Question, grids: Grids, variant: Variant, spec: DeviceSpec, parallel: ParallelPlan
) -> float:
    """Starting, saving, and every step of all stages, by medians. Raises the errors of tracing."""
    firsts = [next(grids.of(stage, spec)) for stage in variant.stages]
    saved: float = firsts[-1].shared.trace.meta["checkpoint_bytes"]
    training = sum(
        _training_hours(stage, grid, parallel)
        for stage, grid in zip(variant.stages, firsts, strict=True)
    )
    last = variant.stages[-1]
    epochs = 0.0 if last.choices.steps else last.choices.epochs
    return training + fixed_hours_at_least(last.question, spec, epochs, saved)


def _training_hours(stage: Stage, grid: DeviceGrid, parallel: ParallelPlan) -> float:
    spec, choices = grid.spec, stage.choices
    epoch = min(plan.samples_per_epoch for plan in grid.shared.batches.values())
    samples = choices.steps * choices.global_batch if choices.steps else choices.epochs * epoch
    sure = spread("time", spec.pricing, grid.shared.source.facts.modality, spec.key)
    shared, devices = grid.shared, parallel.data_parallel
    each = sure.around(grid.least_seconds_per_sample(parallel)).p50
    recipe, plan = shared.source.recipe, next(iter(shared.batches.values()))
    work = Work(shared.source.facts, recipe.task, plan)
    host = feed_of(stage.question, recipe, work, shared.problem.data, spec)
    if host is not None:  # each device loads its own share
        each = host.fed(Estimate.exact(each * devices), 1.0).seconds.p50 / devices
    return samples * each / SECONDS_PER_HOUR
