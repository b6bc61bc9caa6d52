"""Asks the planner for a case, and sets its answer beside the measurement.

``planner.plan.steps.point.evaluate`` prices one step without the run, the money and the report
around it.
Everything is imported inside the functions: the tables and the statistics need neither torch nor
the planner's rooms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import PlannerError
from planner.parallel.plan import SHARDINGS
from planner.validate.architectures import resolvable
from planner.validate.cases import Case, Refused
from planner.validate.summaries import Comparison, Verdict

if TYPE_CHECKING:
    from planner.devices.specification import DeviceSpec
    from planner.figures import Estimate
    from planner.models.facts import ModelFacts
    from planner.plan.steps.point import PointResult
    from planner.question import stack as stacks
    from planner.training.recipe import Recipe


@dataclass(frozen=True)
class Outcome:
    """What one case gave: comparisons and a verdict, or the reason why it could not be asked."""

    comparisons: tuple[Comparison, ...] = ()
    verdict: Verdict | None = None
    refused: Refused | None = None


def outcome(
    case: Case,
    folder: Path,
    evaluate: Callable[[Case, Path], Any] | None = None,
    sharded_as_ddp: bool = False,
) -> Outcome:
    """Put one case to the planner. A question that the planner refuses is an Outcome with its
    reason; a crash too, named as one."""
    if case.parallel not in (None, "ddp", *SHARDINGS):
        return Outcome(
            refused=Refused(case.id, case.table, f"parallel {case.parallel}: not modelled")
        )
    as_ddp = sharded_as_ddp and case.parallel in SHARDINGS
    try:
        asked = replace(case, parallel="ddp") if as_ddp else case
        result = (evaluate or ask)(asked, folder)
    except PlannerError as error:
        return Outcome(
            refused=Refused(case.id, case.table, f"{type(error).__name__}: {error}"[:160])
        )
    # a defect of the planner: counted under its own name, so that one does not hide the other cases
    except Exception as error:
        return Outcome(
            refused=Refused(case.id, case.table, f"DEFECT {type(error).__name__}: {error}"[:200])
        )
    return compare(case, result, of_time=as_ddp)


def compare(case: Case, result: Any, *, of_time: bool = False) -> Outcome:
    """Every figure that was both measured and predicted, and whether the verdict was right;
    ``of_time``: of the time only."""
    shared: dict[str, Any] = dict(
        case_id=case.id,
        table=case.table,
        basis=str(getattr(result, "basis", "unknown")),
        strategy=case.strategy,
        gpu=case.gpu,
        family=case.family,
        modality=case.modality,
        split=case.split,
        assumed=case.assumed,
        model=case.model,
    )
    pairs = [("time", case.step_seconds, timed(case, result))]
    if not of_time:
        pairs += [("forward", case.forward_seconds, getattr(result, "forward_seconds", None))]
        pairs += [
            (
                "context",
                _outside(case),
                getattr(getattr(result, "memory", None), "context_bytes", None),
            )
        ]
        pairs += [
            (
                name,
                peak,
                getattr(result, f"{name}_bytes" if name != "device" else "device_used_bytes", None),
            )
            for name, peak in case.peaks
        ]
    comparisons = tuple(
        Comparison(
            quantity=name,
            measured=float(measured),
            p10=figure.p10,
            p50=figure.p50,
            p90=figure.p90,
            why=why(name, case, result),
            **shared,
        )
        for name, measured, figure in pairs
        if measured and figure is not None
    )
    judged = case.oom or (case.step_seconds or case.peaks) and not of_time
    verdict = (
        Verdict(case.id, case.table, case.oom, getattr(result, "fits", None))
        if judged and case.measures != "forward"
        else None
    )
    return Outcome(comparisons, verdict)


def _outside(case: Case) -> int | None:
    """What the driver saw beyond torch's allocator, of runs with both: the context (and other
    processes, if there were any)."""
    peaks = dict(case.peaks)
    seen = peaks.get("device", 0) - peaks.get("reserved", 0)
    return seen if {"device", "reserved"} <= set(peaks) and seen > 0 and case.gpus == 1 else None


def why(quantity: str, case: Case, result: Any) -> str:
    """What the figure rests on most, and what of it is not sure: where to look when it is wrong."""
    reasons: list[str] = []
    step, memory = getattr(result, "step", None), getattr(result, "memory", None)
    time: Any = getattr(step, "time", None)
    if quantity in ("time", "forward") and getattr(time, "by_kind", None):
        reasons = _why_so_long(time)
    elif memory is not None and quantity in ("allocated", "reserved", "device"):
        part, size = max(memory.breakdown.items(), key=lambda item: item[1])
        reasons = [f"{100 * size / memory.device_used_bytes.p50:.0f} % {part}"]
    elif quantity == "context":
        reasons = [
            "what the driver and the libraries hold; other processes on the device count too"
        ]
    if case.compile:
        reasons.append("compiled, as the compiler of today does it")
    return "; ".join(reasons)


def _why_so_long(time: Any) -> list[str]:
    kind, seconds = max(time.by_kind.items(), key=lambda item: float(item[1]))
    busy, unmodelled = float(time.device_busy_seconds), float(time.unmodelled_share)
    reasons = [f"{100 * float(seconds) / busy:.0f} % {kind}"] if busy > 0 else []
    if time.host_bound:
        reasons.append("the host sets the pace")
    if unmodelled > 0.005:
        reasons.append(f"{100 * unmodelled:.0f} % without a formula")
    return reasons


def timed(case: Case, result: Any) -> Estimate:
    """The predicted time of the part that the source timed: the step, without the optimizer's share
    where that was not timed."""
    if case.measures != "forward_backward":
        return result.step_seconds
    parts = result.step.time
    return result.step_seconds.scale(1 - float(parts.optimizer_seconds) / float(parts.seconds))


def ask(
    case: Case, folder: Path, spec: DeviceSpec | None = None, stack: stacks.Stack | None = None
) -> PointResult:
    """The planner's PointResult for a case, on ``spec`` or on its device's datasheet, with what
    autograd of a stack's day kept. Raises PlannerError where the planner refuses."""
    from planner.devices.lookup import find_device
    from planner.models.images.layout import convolutional
    from planner.parallel.plan import plans_for
    from planner.parallel.source import recorded_as, shared_source
    from planner.plan.inputs.of_its_day import view_of
    from planner.plan.steps.point import evaluate
    from planner.question.stack import Stack
    from planner.trace.source import largest_of, trace_for

    facts = _facts(resolvable(case.model, case.architecture, folder), case.task or None)
    case = case if case.task else replace(case, task=facts.task)
    audio = case.task == "audio_classification"
    # no order of channels tells the kernels of others apart, and Inductor lays images channels-last
    if case.compile or not convolutional(facts):
        case = replace(case, memory_format=None)
    recipe = recipe_of_case(case, facts.image_size)
    view = None if stack is None else view_of(stack, facts, recipe)
    parallel = plans_for(case.gpus, case.parallel or "ddp")[0]
    recorded = recorded_as(recipe) if parallel.sharding else recipe
    source = trace_for(facts, recorded, view=view, peak=largest_of(facts, recorded))
    if parallel.sharding:
        reduced = (stack or Stack("any")).word("sharded_reduction")
        source = shared_source(source, recipe, parallel, reduced)
    return evaluate(
        facts,
        recipe,
        spec or find_device(case.gpu),
        micro_batch=case.micro_batch,
        sequence_length=None if audio else case.sequence_length,
        target_length=case.target_length,
        accumulation=case.accumulation,
        parallel=parallel,
        source=source,
    )


@lru_cache(maxsize=64)
def _facts(name: str, task: str | None) -> ModelFacts:
    from planner.models.resolve import resolve

    return resolve(name, task=task, offline=True)


def recipe_of_case(case: Case, own_image_size: int | None = None) -> Recipe:
    """The recipe of a case. A waveform's length is its sequence length, and where only the forward
    pass was timed that pass is traced."""
    from planner.training.recipe import recipe_of

    settled = replace(
        case,
        audio_samples=case.sequence_length,
        variant="features" if case.measures == "forward" else case.variant,
    )
    return recipe_of(settled, own_image_size)
