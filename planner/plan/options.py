"""One strategy on one device, priced: memory, step, run, bill, energy. Variants of a strategy are
options of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from planner.cost.bill import Bill
from planner.cost.energy import Energy, energy
from planner.errors import FieldName, PlannerError
from planner.figures import Estimate
from planner.models.facts import ModelFacts
from planner.plan.billing import project_bill, runs_in_all, with_interruptions
from planner.plan.enough_data import EnoughData, enough_data
from planner.plan.inputs.defaults import TrainingChoices
from planner.plan.inputs.hardware import RentedDevice
from planner.plan.inputs.problem import Problem
from planner.plan.placement.grid import Grids
from planner.plan.placement.place import Placement, proven
from planner.plan.placement.run import Run, fixed_hours_at_least
from planner.plan.placement.search import device_seconds_at_least
from planner.plan.placement.setting import Setting
from planner.plan.placement.variants import CACHED, GRADUAL, variants
from planner.step_time.power import mean_watts
from planner.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from planner.cost.token_bills import CostCurve
    from planner.plan.serving import Serving


@dataclass
class Option:
    """A priced way to do it; figures are of all its stages."""

    placement: Placement
    rented: RentedDevice
    run: Run
    bill: Bill | None
    energy: Energy
    undisturbed: Run  # the run before interruptions
    enough: EnoughData | None = None
    serving: Serving | None = None
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
        """What the answer shows: the stage that needs most memory, but of cached features the
        training of the head, with the memory of the heavier stage."""
        heaviest = self.placement.heaviest
        if self.variant != CACHED:
            return heaviest
        return replace(self.placement.setting, memory=heaviest.memory)

    @property
    def fits(self) -> bool:
        return self.setting.proven_memory.fits

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


def options_for(
    problem: Problem, strategy: str, rented: RentedDevice, grids: Grids | None = None
) -> list[Option]:
    """Every variant of a strategy on one device. ``grids`` of a search over devices are used again.
    Raises the errors of choosing and tracing."""
    grids = grids or Grids(problem, (rented.parallel,))
    found = variants(problem, strategy, rented.spec)
    return [
        priced(problem, proven(problem, grids, variant, rented.spec, rented.parallel), rented)
        for variant in found
    ]


def priced(problem: Problem, placement: Placement, rented: RentedDevice) -> Option:
    """A placement at an offer: its interruptions, bill and energy. Raises QuestionError for a spot
    run that would not end."""
    question, offer, devices = problem.question, rented.offer, rented.parallel.devices
    saved = placement.checkpoint_bytes
    run = with_interruptions(question, placement.run, offer, devices, saved)
    bill = None
    if offer is not None:
        bill = project_bill(
            question,
            run,
            offer,
            devices,
            prices=rented.prices,
            data=problem.data,
            checkpoint_bytes=saved,
            disk_bytes=placement.disk_bytes,
        )
    used = energy(
        rented.spec,
        run.gpu_hours * runs_in_all(question),
        provider=offer.provider if offer else None,
        region=question.region or (offer.region if offer else None),
        watts=mean_watts(rented.spec, placement.heaviest.step.time),
    )
    option = Option(placement, rented, run, bill, used, undisturbed=placement.run)
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


def _say_of_the_variant(problem: Problem, option: Option) -> None:
    note = _NOTES.get(option.variant or "")
    if note is not None:
        option.assumptions.append(note(option))
    if option.teacher is not None:
        option.assumptions += [
            f"teacher {option.teacher.name}, student {option.facts.name}",
            *(text for text in option.facts.assumptions if text not in problem.assumptions),
        ]
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
        mean_length=option.setting.batches.mean_padded_length,
        devices=option.rented.parallel.devices,
        usd_per_gpu_hour=option.bill.usd_per_gpu_hour if option.bill else None,
    )
    if option.enough is not None and option.enough.warning:
        option.warnings.append(option.enough.warning)


def training_usd_at_least(
    problem: Problem, strategy: str, rented: RentedDevice, grids: Grids
) -> float:
    """What the first variant of a strategy costs on a device at the least, without a replay: its
    steps, start and checkpoints. 0 where no bound can be given."""
    question, parallel, offer = problem.question, rented.parallel, rented.offer
    first = next(variants(problem, strategy, rented.spec))
    if offer is None or first.name in (CACHED, GRADUAL):
        return 0.0
    (stage,) = first.stages
    if stage.choices.steps is not None:
        return 0.0
    grid = next(grids.of(stage, rented.spec))
    epoch = device_seconds_at_least(grid, parallel, len(stage.choices.checkpointing))
    if not epoch:
        return 0.0
    hours = epoch * stage.choices.epochs / parallel.devices / SECONDS_PER_HOUR
    hours += fixed_hours_at_least(
        question, stage.choices, grid.shared.trace.meta["checkpoint_bytes"]
    )
    return hours * offer.usd_per_hour_for(parallel.devices)


def with_serving(problem: Problem, option: Option) -> None:
    """Add what serving the tuned model costs where requests are asked for; why not, where it cannot
    be said."""
    rented, setting = option.rented, option.setting
    if problem.question.requests_per_month is None or not option.fits:
        return
    # and the prices of APIs: only where requests are asked for
    from planner.plan.serving import serve

    try:
        option.serving = serve(
            problem.question,
            problem.whole_source(setting.source),
            rented.spec,
            offer=rented.offer,
            prices=rented.prices,
            mean_tokens=problem.data.mean_length,
            micro_batch=setting.micro_batch,
        )
        option.assumptions += option.serving.assumptions
        if problem.question.gpu is None:
            option.assumptions.append(
                "served on the device that trains it: another may serve for less, "
                f"{FieldName('gpu')} names it"
            )
    except PlannerError as error:
        option.warnings.append(f"serving it is left out: {error}")
