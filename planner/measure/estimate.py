"""The estimate of exactly what was run: the same recipe at the same point, broken down as the
measurement is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from planner.measure.explain import within
from planner.plan.steps.point import PointResult, evaluate
from planner.step_time.power import mean_watts

if TYPE_CHECKING:
    from planner.measure.work import Work
    from planner.plan.inputs.hardware import RentedDevice
    from planner.plan.inputs.problem import Problem
    from planner.plan.options import Option


def estimate_of(
    problem: Problem, option: Option, work: Work, rented: RentedDevice
) -> dict[str, Any]:
    """By the names of a record's ``estimate``; seconds, bytes and watts. ``wall_hours`` and ``usd``
    are those of the whole run that the question plans."""
    # what was run has images of the usual size, not the largest of a data set
    source = replace(problem.source(work.recipe, work.facts, work.teacher), peak=None)
    result = evaluate(
        work.facts,
        work.recipe,
        rented.spec,
        micro_batch=work.micro_batch,
        sequence_length=work.lengths["S"],
        target_length=work.lengths["T"],
        accumulation=work.accumulation,
        teacher=work.teacher,
        source=source,
    )
    watts = mean_watts(rented.spec, result.step.time)
    figures = dict(
        step_seconds=result.step_seconds,
        forward_seconds=result.forward_seconds,
        allocated_bytes=result.allocated_bytes,
        reserved_bytes=result.reserved_bytes,
        device_used_bytes=result.device_used_bytes,
        wall_hours=option.run.wall_hours,
        usd=option.bill.usd if option.bill else None,
        mean_watts=watts,
    )
    return {
        "basis": result.basis,
        "fits": result.fits,
        "verdict": result.memory.verdict,
        "chance_out_of_memory": result.memory.chance_out_of_memory,
        "device_total_bytes": result.device_total_bytes,
        "category_bytes": dict(result.memory.breakdown),
        **parts_of_time(result, work.accumulation),
        **{name: figure.as_dict() for name, figure in figures.items() if figure is not None},
    }


def parts_of_time(result: PointResult, accumulation: int) -> dict[str, dict[str, float]]:
    """``phase_seconds`` of a step, ``kind_seconds`` of one micro-batch with its update. Both sum to
    the median of what they are parts of: what a correction moves, it moves in all of them alike."""
    time = result.step.time
    forward, backward, optimizer = (
        float(value)
        for value in (time.forward_seconds, time.backward_seconds, time.optimizer_seconds)
    )
    total = accumulation * (forward + backward) + optimizer
    correction = result.step_seconds.p50 / total if total > 0 else 1.0
    phases = {
        "forward": accumulation * forward * correction,
        "backward": accumulation * backward * correction,
        "optimizer": optimizer * correction,
    }
    kinds = {
        kind: float(seconds) * correction
        for kind, seconds in time.by_kind.items()
        if float(seconds) > 0
    }
    return {
        "phase_seconds": phases,
        "kind_seconds": within(kinds, float(time.seconds) * correction),
    }
