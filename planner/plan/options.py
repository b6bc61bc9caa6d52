"""One strategy on one device, priced: memory, step, run, bill, energy. Variants of a strategy are
options of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from planner.cost.bill import Bill
from planner.cost.energy import Energy, energy
from planner.figures import Estimate
from planner.models.facts import ModelFacts
from planner.plan.around.offloaded import host_warnings
from planner.plan.before_corrections import Before, before_corrections, said_of
from planner.plan.billing import runs_in_all
from planner.plan.enough_data import EnoughData, enough_data
from planner.plan.inputs.defaults import TrainingChoices
from planner.plan.inputs.hardware import RentedDevice
from planner.plan.inputs.problem import Problem
from planner.plan.limits import Limit
from planner.plan.placement.place import Placement
from planner.plan.placement.run import Run
from planner.plan.placement.variants import CACHED, GRADUAL
from planner.plan.steps.setting import Setting
from planner.step_time.power import mean_watts

if TYPE_CHECKING:
    from planner.cost.token_bills import CostCurve
    from planner.plan.serving import Serving


@dataclass
class Option:
    """A priced way to do it; figures are of all its stages. ``before``: what it was before the
    user's own runs corrected it, None where they did not."""

    placement: Placement
    rented: RentedDevice
    run: Run
    bill: Bill | None
    energy: Energy
    enough: EnoughData | None = None
    serving: Serving | None = None
    served_on: RentedDevice | None = None
    before: Before | None = None
    limits: list[Limit] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def strategy(self) -> str:
        return self.placement.strategy

    @property
    def variant(self) -> str | None:
        return self.placement.variant.name

    @property
    def choices(self) -> TrainingChoices:
        return self.placement.variant.choices

    @property
    def facts(self) -> ModelFacts:
        return self.placement.variant.facts

    @property
    def teacher(self) -> ModelFacts | None:
        return self.placement.variant.teacher

    @property
    def disk_bytes(self) -> int | None:
        """Of the cached features; None where nothing is cached."""
        return self.placement.disk_bytes or None

    @property
    def setting(self) -> Setting:
        """What the answer shows of the placement."""
        return self.placement.shown

    @property
    def fits(self) -> bool:
        return self.placement.fits

    @property
    def line(self) -> CostCurve | None:
        """What training and then serving it costs at any load; None where nothing is served or no
        price is known."""
        if self.serving is None or self.serving.line is None or self.bill is None:
            return None
        return replace(self.serving.line, up_front_usd=self.bill.usd.p50)

    def project_usd(self, months: float) -> Estimate | None:
        """Training, and serving for so many months."""
        if self.bill is None or self.serving is None or self.serving.usd_always_on is None:
            return None
        return self.bill.usd + self.serving.usd_always_on.scale(months)


def priced(
    problem: Problem, placement: Placement, rented: RentedDevice, run: Run, bill: Bill | None
) -> Option:
    """A proven placement as ``billed``, with its energy and what is said of it."""
    question, offer = problem.question, rented.offer
    used = energy(
        rented.spec,
        run.gpu_hours * runs_in_all(question),
        provider=offer.provider if offer else None,
        region=question.region or (offer.region if offer else None),
        watts=mean_watts(rented.spec, placement.heaviest.step.time),
    )
    option = Option(placement, rented, run, bill, used)
    option.before = before_corrections(problem, placement, rented)
    option.assumptions += said_of(option.before, run)
    option.warnings += host_warnings(question, placement.shown, offer, placement.spec)
    _say_of_the_device(option)
    _say_of_the_variant(problem, option)
    return option


def _say_of_the_device(option: Option) -> None:
    spec = option.rented.spec
    option.assumptions += getattr(spec.timer, "notes", [])
    option.warnings += getattr(spec.timer, "warnings", [])
    if spec.pricing != "datasheet" and spec.calibration is not None:
        option.warnings += [
            f"the calibration of {spec.name} is doubtful: {doubt}"
            for doubt, _ in spec.calibration.doubts
        ]
    elif spec.calibration is not None and spec.calibration.load is not None:
        option.warnings += [
            f"the calibration of {spec.name} was made under load: times stand on the datasheet"
        ]


def _say_of_the_variant(problem: Problem, option: Option) -> None:
    note = _NOTES.get(option.variant or "")
    if note is not None:
        option.assumptions.append(note(option))
    if option.teacher is not None:
        option.assumptions.append(f"teacher {option.teacher.name}, student {option.facts.name}")
    # what trains may be another model than the asked one: a student, or one without its weights
    option.assumptions += [t for t in option.facts.assumptions if t not in problem.assumptions]
    if option.strategy == "scratch":
        _say_what_is_enough(problem, option)


def _cached_note(option: Option) -> str:
    return (
        "features are computed once without augmentation and read back from disk as fast as the "
        "device takes them"
    )


def _gradual_note(option: Option) -> str:
    stages = len(option.placement.settings)
    return f"{stages} stages of equal length, from the head alone to {stages - 1} blocks"


_NOTES: dict[str, Callable[[Option], str]] = {CACHED: _cached_note, GRADUAL: _gradual_note}


def _say_what_is_enough(problem: Problem, option: Option) -> None:
    step = option.setting.step
    seconds, samples = step.seconds, step.samples
    option.enough = enough_data(
        option.facts,
        problem.data,
        option.setting.longest_trace().meta["total_params"],
        samples_per_second=Estimate(
            samples / seconds.p90, samples / seconds.p50, samples / seconds.p10
        ),
        tokens_per_sample=option.setting.batches.real_tokens_per_sample,
        devices=option.rented.parallel.devices,
        usd_per_gpu_hour=option.bill.usd_per_gpu_hour if option.bill else None,
    )
    if option.enough is not None and option.enough.warning:
        option.warnings.append(option.enough.warning)
