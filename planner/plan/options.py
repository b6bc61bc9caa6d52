"""One strategy on one device, priced: memory, step, run, bill, energy. Variants of a strategy are
options of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from planner.cost.bill import Bill
from planner.cost.energy import Energy, energy
from planner.errors import ModelError, PlannerError
from planner.figures import Estimate
from planner.models.facts import ModelFacts
from planner.plan.billing import project_bill, runs_in_all, with_interruptions
from planner.plan.defaults import Choices, choose
from planner.plan.enough_data import EnoughData, enough_data
from planner.plan.hardware import Rented
from planner.plan.problem import Asked
from planner.plan.run import Run, fixed_hours_at_least, whole_run
from planner.plan.search import Setting, device_seconds_at_least, find_setting, lengths_of
from planner.question import Question
from planner.step_time.power import mean_watts
from planner.trace.table import CATEGORIES
from planner.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from planner.cost.token_bills import CostCurve
    from planner.plan.serving import Serving


@dataclass
class Option:
    """A priced way to do it. ``stages``: what runs one after another (one for most strategies);
    figures are of all of them."""

    strategy: str
    variant: str | None
    rented: Rented
    choices: Choices
    setting: Setting  # of the stage that needs most memory
    run: Run
    bill: Bill | None
    energy: Energy
    facts: ModelFacts
    teacher: ModelFacts | None = None
    enough: EnoughData | None = None
    disk_bytes: int | None = None
    serving: Serving | None = None
    undisturbed: Run | None = None  # the run before interruptions
    assumptions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        return self.setting.memory.fits

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


def with_serving(asked: Asked, option: Option) -> None:
    """Add what serving the tuned model costs where requests are asked for; why not, where it cannot
    be said."""
    rented, setting = option.rented, option.setting
    if asked.question.requests_per_month is None or not option.fits:
        return
    # and the prices of APIs: only where requests are asked for
    from planner.plan.serving import serve

    try:
        whole = replace(setting.recipe, variant=None)  # cached features need their backbone again
        source = setting.source if whole == setting.recipe else asked.source(whole, option.facts)
        option.serving = serve(
            asked.question,
            source,
            rented.spec,
            rented.offer,
            rented.prices,
            asked.data.mean_length,
            setting.micro_batch,
        )
        option.assumptions += option.serving.assumptions
        if asked.question.gpu is None:
            option.assumptions.append(
                "served on the device that trains it: another may serve for less, --gpu names it"
            )
    except PlannerError as error:
        option.warnings.append(f"serving it is left out: {error}")


def options_for(asked: Asked, strategy: str, rented: Rented) -> list[Option]:
    """Every variant of a strategy on one device. Raises the errors of choosing and tracing."""
    question = asked.question
    if strategy == "feature_extraction":
        wanted = question.cached_features
        found = [] if wanted is True else [_single(asked, strategy, rented, label="every epoch")]
        return found + ([] if wanted is False else _cached(asked, rented, must=wanted is True))
    if strategy == "partial_fine_tune" and question.unfreezing == "gradual":
        return [_gradual(asked, rented)]
    return [_single(asked, strategy, rented)]


def training_usd_at_least(asked: Asked, strategy: str, rented: Rented) -> float:
    """What the first variant of a strategy costs on a device at the least, without a replay: its
    steps, start and checkpoints. 0 where no bound can be given."""
    question = asked.question
    if (
        question.max_steps
        or rented.offer is None
        or (strategy == "feature_extraction" and question.cached_features is True)
        or (strategy == "partial_fine_tune" and question.unfreezing == "gradual")
    ):
        return 0.0
    facts, teacher = models_of(asked, strategy)
    choices = choose(question, facts, asked.data, strategy, rented.spec)
    seconds = device_seconds_at_least(
        choices,
        rented.spec,
        asked.data,
        rented.gpus,
        question.micro_batch,
        lambda recipe: asked.source(recipe, facts, teacher),
    )
    if not seconds:
        return 0.0
    longest = lengths_of(
        asked.data.batches(1, padding=choices.padding, max_length=choices.max_length)
    )[0]
    meta = (
        asked.source(choices.with_checkpointing(choices.checkpointing[0]), facts, teacher)
        .at(B=question.micro_batch or min(2, choices.global_batch), **longest)
        .meta
    )
    hours = seconds / rented.gpus / SECONDS_PER_HOUR + fixed_hours_at_least(
        question, choices, meta["checkpoint_bytes"]
    )
    return hours * rented.offer.usd_per_hour_for(rented.gpus)


def models_of(asked: Asked, strategy: str) -> tuple[ModelFacts, ModelFacts | None]:
    """(what trains, its teacher): with --teacher the model is the student, else the teacher of a
    smaller student."""
    if strategy != "distillation":
        return asked.facts, None
    if asked.question.teacher:
        from planner.models.resolve import resolve

        return asked.facts, resolve(
            asked.question.teacher,
            task=asked.facts.task,
            trust_remote_code=asked.question.trust_remote_code,
            offline=asked.question.offline,
        )
    from planner.models.students import default_student

    return default_student(asked.facts), asked.facts


def _setting(
    asked: Asked, choices: Choices, rented: Rented, facts: ModelFacts, teacher: ModelFacts | None
) -> Setting:
    return find_setting(
        choices,
        rented.spec,
        asked.data,
        rented.gpus,
        asked.question.micro_batch,
        lambda recipe: asked.source(recipe, facts, teacher),
    )


def _single(asked: Asked, strategy: str, rented: Rented, label: str | None = None) -> Option:
    facts, teacher = models_of(asked, strategy)
    choices = choose(asked.question, facts, asked.data, strategy, rented.spec)
    setting = _setting(asked, choices, rented, facts, teacher)
    run = _run(asked, choices, setting, rented)
    option = _priced(asked, strategy, label, rented, choices, setting, run, facts, teacher)
    if teacher is not None:
        option.assumptions += [
            f"teacher {teacher.name}, student {facts.name}",
            *(a for a in facts.assumptions if a not in asked.assumptions),
        ]
    if strategy == "scratch":
        _say_what_is_enough(asked, option)
    return option


def _run(
    asked: Asked,
    choices: Choices,
    setting: Setting,
    rented: Rented,
    question: Question | None = None,
) -> Run:
    meta = setting.source.at(B=setting.micro_batch, **lengths_of(setting.batches)[0]).meta
    return whole_run(
        question or asked.question,
        choices,
        setting,
        asked.data,
        rented.gpus,
        rented.spec,
        weights_bytes=_weights(setting),
        checkpoint_bytes=meta["checkpoint_bytes"],
    )


def _weights(setting: Setting) -> float:
    return setting.memory.peak.breakdown["weights"]


def _priced(
    asked: Asked,
    strategy,
    variant,
    rented,
    choices,
    setting,
    run,
    facts,
    teacher=None,
    *,
    saved: Setting | None = None,
    disk_bytes: int | None = None,
) -> Option:
    """``saved``: the stage whose checkpoint is kept, where it is not the heaviest."""
    question, offer, kept = asked.question, rented.offer, saved or setting
    checkpoint = kept.source.at(B=kept.micro_batch, **lengths_of(kept.batches)[0]).meta[
        "checkpoint_bytes"
    ]
    calm, run = run, with_interruptions(question, run, offer, rented.gpus, checkpoint)
    priced = (
        None
        if offer is None
        else project_bill(
            question,
            run,
            offer,
            rented.gpus,
            rented.prices,
            data=asked.data,
            checkpoint_bytes=checkpoint,
            disk_bytes=disk_bytes or 0,
        )
    )
    used = energy(
        rented.spec,
        run.gpu_hours * runs_in_all(question),
        provider=offer.provider if offer else None,
        region=question.region or (offer.region if offer else None),
        watts=mean_watts(rented.spec, setting.step.time),
    )
    option = Option(
        strategy,
        variant,
        rented,
        choices,
        setting,
        run,
        priced,
        used,
        facts,
        teacher,
        disk_bytes=disk_bytes,
        undisturbed=calm,
    )
    option.assumptions += getattr(rented.spec.timer, "notes", [])
    option.warnings += getattr(rented.spec.timer, "warnings", [])
    if rented.spec.pricing != "datasheet" and rented.spec.calibration is not None:
        option.warnings += [
            f"the calibration of {rented.spec.name} is doubtful: {what}"
            for what, _ in rented.spec.calibration.doubts
        ]
    return option


def _say_what_is_enough(asked: Asked, option: Option) -> None:
    step, meta = (
        option.setting.step,
        option.setting.source.at(
            B=option.setting.micro_batch, **lengths_of(option.setting.batches)[0]
        ).meta,
    )
    samples = step.micro_batch * step.accumulation * step.gpus
    rate = Estimate(
        samples / step.seconds.p90, samples / step.seconds.p50, samples / step.seconds.p10
    )
    option.enough = enough_data(
        option.facts,
        asked.data,
        meta["total_params"],
        samples_per_second=rate,
        mean_length=option.setting.batches.mean_padded_length,
        gpus=option.rented.gpus,
        usd_per_gpu_hour=option.bill.usd_per_gpu_hour if option.bill else None,
    )
    if option.enough is not None and option.enough.warning:
        option.warnings.append(option.enough.warning)


# ---------------------------------------------------------------- variants that run in stages


def _cached(asked: Asked, rented: Rented, *, must: bool) -> list[Option]:
    """Features computed once and kept on disk: a forward pass over the data, then epochs of the
    head alone."""
    data = asked.data
    try:
        making = choose(
            asked.question, asked.facts, data, "feature_extraction", rented.spec, variant="features"
        )
        head = choose(
            asked.question, asked.facts, data, "feature_extraction", rented.spec, variant="cached"
        )
        first = _setting(asked, making, rented, asked.facts, None)
        second = _setting(asked, head, rented, asked.facts, None)
    except ModelError as error:  # a head that is no module of its own cannot be trained apart
        if must:
            raise
        asked.warnings.append(f"feature_extraction with cached features: {error}")
        return []
    once = asked.question.model_copy(
        update={"evaluations_per_epoch": 0.0, "saves_per_epoch": 0.0, "max_steps": None}
    )
    made = _run(asked, replace(making, epochs=1.0), first, rented, once)
    trained = _run(asked, head, second, rented)
    option = _priced(
        asked,
        "feature_extraction",
        "cached features",
        rented,
        head,
        first if _heavier(first, second) else second,
        joined([made, trained]),
        asked.facts,
        saved=second,
        disk_bytes=feature_bytes(second, data.samples),
    )
    option.setting = replace(
        option.setting,
        step=second.step,
        micro_batch=second.micro_batch,
        accumulation=second.accumulation,
        source=second.source,
        batches=second.batches,
    )
    option.assumptions.append(
        "features are computed once without augmentation and read back from disk as fast as "
        "the device takes them"
    )
    return [option]


def feature_bytes(setting: Setting, samples: int) -> int:
    """The cache's size on disk: what enters the head, in the precision it has there, for every
    sample."""
    point = {"B": max(2, setting.micro_batch), **lengths_of(setting.batches)[1]}
    trace = setting.source.at(**point)
    inputs = np.flatnonzero((trace.birth < 0) & (trace.category == CATEGORIES.index("activations")))
    sizes = trace.storage_bytes(trace.dims(**point))[trace.size[inputs]]
    return int(math.ceil(float(sizes.max()) / point["B"] * samples))


def _gradual(asked: Asked, rented: Rented) -> Option:
    """Gradual unfreezing (Howard and Ruder 2018, arXiv 1801.06146): the head first, then one more
    block each stage."""
    top = choose(asked.question, asked.facts, asked.data, "partial_fine_tune", rented.spec)
    stages, runs = top.recipe.unfrozen_blocks + 1, []
    heaviest = None
    for blocks in range(stages):
        choices = replace(
            top, recipe=replace(top.recipe, unfrozen_blocks=blocks), epochs=top.epochs / stages
        )
        setting = _setting(asked, choices, rented, asked.facts, None)
        runs.append(_run(asked, choices, setting, rented))
        heaviest = setting if heaviest is None or _heavier(setting, heaviest) else heaviest
    option = _priced(
        asked,
        "partial_fine_tune",
        "gradual unfreezing",
        rented,
        top,
        heaviest,
        joined(runs),
        asked.facts,
    )
    option.assumptions.append(
        f"{stages} stages of equal length, from the head alone to {stages - 1} blocks"
    )
    return option


def _heavier(one: Setting, other: Setting) -> bool:
    return one.memory.device_used_bytes.p50 > other.memory.device_used_bytes.p50


def joined(runs: list[Run]) -> Run:
    """Runs one after another: one start-up, hours and steps added."""
    start = runs[0].parts_hours["start_up"]
    parts = {name: sum(run.parts_hours[name] for run in runs) for name in runs[0].parts_hours}
    spare = parts["start_up"] - start
    parts["start_up"] = start
    wall = sum((run.wall_hours for run in runs[1:]), runs[0].wall_hours)
    wall = Estimate(max(0.0, wall.p10 - spare), wall.p50 - spare, wall.p90 - spare)
    gpus = runs[0].gpu_hours.p50 / runs[0].wall_hours.p50
    return Run(
        sum(run.steps for run in runs),
        sum(run.epochs for run in runs),
        wall,
        wall.scale(gpus),
        parts,
        tuple(dict.fromkeys(note for run in runs for note in run.notes)),
        tuple(dict.fromkeys(w for run in runs for w in run.warnings)),
    )
