"""Asks the planner for a case, and sets its answer beside the measurement.

``planner.plan.placement.point.evaluate`` prices one step without the run, the money and the report
around it.
Everything is imported inside the functions: the tables and the statistics need neither torch nor
the planner's rooms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import PlannerError
from planner.validate.architectures import resolvable
from planner.validate.cases import Case, Refused
from planner.validate.summaries import Comparison, Verdict

if TYPE_CHECKING:
    from planner.training.recipe import Recipe


@dataclass(frozen=True)
class Outcome:
    """What one case gave: comparisons and a verdict, or the reason why it could not be asked."""

    comparisons: tuple[Comparison, ...] = ()
    verdict: Verdict | None = None
    refused: Refused | None = None


def outcome(case: Case, folder: Path, evaluate=None, sharded_as_ddp: bool = False) -> Outcome:
    """Put one case to the planner. A question that the planner refuses is an Outcome with its
    reason; a crash too, named as one."""
    if case.parallel not in (None, "ddp") and not (sharded_as_ddp and case.parallel == "fsdp"):
        return Outcome(
            refused=Refused(case.id, case.table, f"parallel {case.parallel}: not modelled")
        )
    try:
        result = (evaluate or ask)(case, folder)
    except PlannerError as error:
        return Outcome(
            refused=Refused(case.id, case.table, f"{type(error).__name__}: {error}"[:160])
        )
    # a defect of the planner: counted under its own name, so that one does not hide the other cases
    except Exception as error:
        return Outcome(
            refused=Refused(case.id, case.table, f"DEFECT {type(error).__name__}: {error}"[:200])
        )
    return compare(case, result)


def compare(case: Case, result) -> Outcome:
    """Every figure that was both measured and predicted, and whether the verdict was right. Sharded
    runs: time only."""
    shared = dict(
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
    if case.parallel != "fsdp":
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
    judged = case.oom or (case.step_seconds or case.peaks) and case.parallel != "fsdp"
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


def why(quantity: str, case: Case, result) -> str:
    """What the figure rests on most, and what of it is not sure: where to look when it is wrong."""
    said = []
    step, memory = getattr(result, "step", None), getattr(result, "memory", None)
    time = getattr(step, "time", None)
    if quantity in ("time", "forward") and getattr(time, "by_kind", None):
        kind, seconds = max(time.by_kind.items(), key=lambda item: float(item[1]))
        busy = float(time.device_busy_seconds)
        said = [f"{100 * float(seconds) / busy:.0f} % {kind}"] if busy > 0 else []
        said += ["the host sets the pace"] if time.host_bound else []
        said += (
            [f"{100 * float(time.unmodelled_share):.0f} % without a formula"]
            if float(time.unmodelled_share) > 0.005
            else []
        )
    elif memory is not None and quantity in ("allocated", "reserved", "device"):
        part, size = max(memory.breakdown.items(), key=lambda item: item[1])
        said = [f"{100 * size / memory.device_used_bytes.p50:.0f} % {part}"]
    elif quantity == "context":
        said = ["what the driver and the libraries hold; other processes on the device count too"]
    if case.compile:
        said.append("compiled, which the planner treats roughly")
    return "; ".join(said)


def timed(case: Case, result):
    """The predicted time of the part that the source timed: the step, without the optimizer's share
    where that was not timed."""
    if case.measures != "forward_backward":
        return result.step_seconds
    parts = result.step.time
    return result.step_seconds.scale(1 - float(parts.optimizer_seconds) / float(parts.seconds))


def ask(case: Case, folder: Path, spec=None):
    """The planner's PointResult for a case, on ``spec`` or on its device's datasheet. Raises
    PlannerError where the planner refuses."""
    from planner.devices.lookup import find_device
    from planner.parallel.plan import ParallelPlan
    from planner.plan.placement.point import evaluate

    facts = _facts(resolvable(case.model, case.architecture, folder), case.task or None)
    case = case if case.task else replace(case, task=facts.task)
    audio = case.task == "audio_classification"
    return evaluate(
        facts,
        recipe_of_case(case, facts.image_size),
        spec or find_device(case.gpu),
        micro_batch=case.micro_batch,
        sequence_length=None if audio else case.sequence_length,
        target_length=case.target_length,
        accumulation=case.accumulation,
        parallel=ParallelPlan(dp_replicate=case.gpus),
    )


@lru_cache(maxsize=64)
def _facts(name: str, task: str | None):
    from planner.models.resolve import resolve

    return resolve(name, task=task, offline=True)


def recipe_of_case(case: Case, own_image_size: int | None = None) -> Recipe:
    """The recipe of a case. A waveform's length is its sequence length, and where only the forward
    pass was timed that pass is traced."""
    from planner.training.recipe import recipe_of

    settled = replace(
        case,
        audio_samples=case.sequence_length,
        variant="features" if case.measures == "forward" else None,
    )
    return recipe_of(settled, own_image_size)
