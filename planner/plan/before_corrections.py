"""What the planner says by itself of a placement that the user's own runs corrected: the same
batches on the same devices, without the corrections."""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.figures import Estimate
from planner.plan.billed import billed
from planner.plan.inputs.hardware import RentedDevice
from planner.plan.inputs.problem import Problem
from planner.plan.placement.place import Placement
from planner.plan.placement.run import Run, joined, whole_run
from planner.plan.placement.variants import Stage
from planner.plan.steps.restated import restated
from planner.plan.steps.setting import Setting
from planner.uncertainty import corrections
from planner.uncertainty.corrections import Correction
from planner.units import SECONDS_PER_HOUR, format_seconds


@dataclass(frozen=True)
class Before:
    """``corrections``: those that moved a figure. ``setting``: the shown stage without them;
    ``usd`` None where no price is known."""

    corrections: tuple[Correction, ...]
    setting: Setting
    run: Run
    usd: Estimate | None


def before_corrections(
    problem: Problem, placement: Placement, rented: RentedDevice
) -> Before | None:
    """None where no correction is in force for this work on this device. Raises as ``billed``."""
    spec, modality = placement.spec, placement.variant.facts.modality
    moved = corrections.in_force_on(spec.pricing, spec.key, modality)
    if not moved or not placement.proven:
        return None
    with corrections.without():
        plain = _restated(problem, placement)
        run, bill = billed(problem, plain, rented)
    return Before(moved, plain.shown, run, bill.usd if bill is not None else None)


def said_of(before: Before | None, run: Run) -> list[str]:
    """In a sentence; empty where nothing was corrected."""
    if before is None:
        return []
    now, then = (
        format_seconds(hours.p50 * SECONDS_PER_HOUR)
        for hours in (run.wall_hours, before.run.wall_hours)
    )
    names = ", ".join(dict.fromkeys(one.quantity for one in before.corrections))
    return [f"corrected by your measured runs ({names}): {now}, {then} before"]


def _restated(problem: Problem, placement: Placement) -> Placement:
    stages = zip(placement.variant.stages, placement.settings, strict=True)
    made = [(stage, restated(setting, placement.spec)) for stage, setting in stages]
    runs = [_run(problem, placement, stage, setting) for stage, setting in made]
    return replace(
        placement,
        settings=tuple(setting for _, setting in made),
        run=joined(runs, placement.parallel),
    )


def _run(problem: Problem, placement: Placement, stage: Stage, setting: Setting) -> Run:
    return whole_run(
        stage.question,
        stage.choices,
        setting,
        problem.data,
        placement.spec,
        weights_bytes=setting.weights_bytes,
        checkpoint_bytes=setting.checkpoint_bytes,
        optimizer_bytes=setting.optimizer_bytes,
        teacher=stage.teacher,
    )
