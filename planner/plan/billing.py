"""From a run's hours to what a project pays: interruptions, repeated runs, labels, storage, egress.
Facts come from ``planner.cost``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner import units
from planner.cost.bill import NO_PROVIDER, Bill, SideCosts, bill
from planner.cost.prices.offers import Offer
from planner.cost.quantities import Quantity
from planner.cost.repeats import Habits, extra_runs, habits
from planner.cost.spot import interrupted
from planner.cost.terms import (
    egress_rate,
    egress_usd,
    gib_months,
    interruptions_per_day,
    paid_gib,
    storage_rate,
    storage_usd,
)
from planner.cost.token_bills import serving_default
from planner.datasets.profile import DatasetProfile
from planner.errors import FieldName
from planner.figures import Estimate
from planner.plan.long_runs import with_failures
from planner.plan.objectives.asked import SERVER
from planner.plan.placement.run import OF_STEPS, Run
from planner.question import Question
from planner.question.training_setting import WRITING
from planner.uncertainty.spread import overhead

#: USD, what to say, sources, what is paid by.
_Paid = tuple[float, list[str], list[str], list[Quantity]]


def runs_in_all(question: Question) -> Estimate:
    """Whole runs that are paid: the one that is kept, the other trials, and what failed."""
    return Estimate.exact(1.0) + extra_runs(question.trials, question.failed_share)


@dataclass(frozen=True)
class Project:
    """The run's dollars, and those of the project as people run it: from few repeats to many."""

    run_usd: float
    low_usd: float
    high_usd: float
    words: str


def as_people_run(question: Question, bill: Bill, gpus: int) -> Project:
    """What a project pays around the run that a bill is of. Trials, the share that fails and labels
    that the question gives win over our rows."""
    few, many = habits_of(question)
    parts = bill.breakdown
    run = parts["compute"] + parts["lost_work"]
    fixed = sum(parts[name] for name in ("data", "storage", "egress", "api"))
    low, high = (one.usd(run, bill.usd_per_gpu_hour * gpus, fixed) for one in (few, many))
    return Project(run, low, high, _project_words(question, run, low, high, few, many))


def habits_of(question: Question) -> tuple[Habits, Habits]:
    """(few repeats, many): what the question gives holds in both."""
    given = question.model_fields_set
    return habits(
        question.trials if "trials" in given else None,
        question.failed_share if "failed_share" in given else None,
    )


def _project_words(
    question: Question, run: float, low: float, high: float, few: Habits, many: Habits
) -> str:
    labels = "labels as given" if question.usd_per_label is not None else "labels not counted"
    # "this run" is what the question asks to pay: with trials or labels that is another sum
    alone = question.trials == 1 and not question.failed_share and question.usd_per_label is None
    which = "this run" if alone else "one run"
    debugging = _to(few.debug_hours, many.debug_hours, "g")
    return (
        f"{which} {units.format_usd(run)}; the project as people run it "
        f"{units.format_usd(low)} to {units.format_usd(high)}: "
        f"{_to(few.trials, many.trials, ',')} trials, "
        f"{_to(few.failed_share, many.failed_share, '.0%')} of runs failed, "
        f"{debugging} h of debugging, {_to(few.idle_share, many.idle_share, '.0%')} idle, "
        f"{labels}; "
        f"{FieldName('trials', 'failed_share', 'usd_per_label')} say it"
    )


def _to(low: float, high: float, form: str) -> str:
    return f"{low:{form}}" if low == high else f"{low:{form}} to {high:{form}}"


def project_bill(
    question: Question,
    run: Run,
    offer: Offer,
    gpus: int,
    prices: Estimate | None,
    *,
    data: DatasetProfile,
    checkpoint_bytes: float,
    disk_bytes: float = 0.0,
) -> Bill:
    """The bill of a run (its interruptions counted already) with everything that the question says
    belongs to it."""
    storage, egress = (
        _storage(
            question,
            run,
            offer,
            data,
            checkpoint_bytes=checkpoint_bytes,
            disk_bytes=disk_bytes,
        ),
        _egress(offer, checkpoint_bytes),
    )
    labels = question.labels if question.labels is not None else data.samples
    labelling = 0.0 if question.usd_per_label is None else question.usd_per_label * labels
    assumptions, sources = [*storage[1], *egress[1]], [*storage[2], *egress[2]]
    quantities = [*storage[3], *egress[3]]
    if question.usd_per_label is not None:
        assumptions.append(f"{labels:,} labels at {units.format_usd(question.usd_per_label)} each")
        quantities.insert(0, Quantity("Labels", labels, "labels", question.usd_per_label))
    extra = extra_runs(question.trials, question.failed_share)
    if extra.p50:
        assumptions.append(
            f"{question.trials} runs that succeed"
            + (
                f", {question.failed_share:.0%} of all fail and are lost at a random moment"
                if question.failed_share
                else ""
            )
            + "; hours are those of one run, cost and energy those of all"
        )
    lost = run.parts_hours.get("interruptions", 0.0) * gpus
    served = _server(question, run, offer, extra.p50)
    quantities += [served] if served is not None else []
    return bill(
        run.gpu_hours,
        offer,
        gpus=gpus,
        prices=prices,
        side_costs=SideCosts(
            lost_gpu_hours=lost,
            extra_runs=extra,
            labels_usd=labelling,
            storage_usd=storage[0],
            egress_usd=egress[0],
            api_usd=0.0 if served is None else served.usd,
            assumptions=tuple(assumptions),
            sources=tuple(sources),
            quantities=tuple(quantities),
        ),
    )


def _server(question: Question, run: Run, offer: Offer, extra: float) -> Quantity | None:
    """The GPU of an engine that writes completions beside the training's own, while a run lasts and
    in every run; None where there is none."""
    if question.objective not in WRITING or question.generation_engine != SERVER:
        return None
    hours = run.wall_hours.p50 * (1 + extra)
    rate = offer.usd_per_hour_for(1)
    return Quantity("GPU of the vLLM server", hours, "GPU-hours", rate)


def with_interruptions(
    question: Question,
    run: Run,
    offer: Offer | None,
    gpus: int,
    checkpoint_bytes: float,
    writers: int = 1,
) -> Run:
    """The run on instances that are taken away, longer by checkpoints, lost work and restarts; on
    others longer by what many devices and days add (``long_runs``). As it was where nobody knows
    how often spot is taken away. ``writers``: machines that write a checkpoint at once. Raises
    QuestionError where it would not end."""
    if offer is None or not offer.spot:
        return with_failures(question, run, gpus, checkpoint_bytes, writers)
    known = _rate(question, offer)
    if known is None:
        warning = (
            f"how often {offer.provider} takes back this GPU is not known: lost work is "
            f"not in the cost; give {FieldName('interruptions_per_day')}"
        )
        return replace(run, warnings=(*run.warnings, warning))
    rate, source = known
    machines = offer.instances_for(gpus)
    work = sum(run.parts_hours.get(name, 0.0) for name in OF_STEPS)
    save = (
        checkpoint_bytes / writers / overhead("write_bytes_per_second").p50 / units.SECONDS_PER_HOUR
    )
    interval = question.checkpoint_minutes / 60 if question.checkpoint_minutes else None
    lost = interrupted(
        work,
        save_hours=save,
        restart_hours=run.parts_hours["start_up"],
        interruptions_per_day=rate.scale(machines),
        interval_hours=interval,
    )
    wall = run.wall_hours + lost.extra_hours
    note = (
        f"spot: {rate.p50:.3g} interruptions a day of each of {machines} instances ({source}); "
        f"checkpoints every {units.format_seconds(lost.interval_hours * 3600)}"
        f"{'' if interval else ', the best by Young and Daly'}; {lost.interruptions:.3g} "
        f"interruptions expected, {units.format_seconds(lost.extra_hours.p50 * 3600)} lost"
    )
    return replace(
        run,
        wall_hours=wall,
        gpu_hours=wall.scale(gpus),
        parts_hours=run.parts_hours | {"interruptions": lost.extra_hours.p50},
        notes=(*run.notes, note),
    )


def _rate(question: Question, offer: Offer) -> tuple[Estimate, str] | None:
    if question.interruptions_per_day is not None:
        return Estimate.exact(question.interruptions_per_day), "given"
    return interruptions_per_day(offer.provider, offer.gpu_key)


def _storage(
    question: Question,
    run: Run,
    offer: Offer,
    data: DatasetProfile,
    checkpoint_bytes: float,
    disk_bytes: float,
) -> _Paid:
    """Data, cached features and the last checkpoint, while the run lasts and as long as they are
    kept."""
    if offer.provider in NO_PROVIDER:
        return 0.0, ["storage and egress are not in a price of one's own"], [], []
    rate = storage_rate(offer.provider)
    if rate is None:
        return 0.0, [f"storage at {offer.provider} is not in the cost: no price is known"], [], []
    size = checkpoint_bytes + disk_bytes + (data.bytes_on_disk or 0)
    hours = run.wall_hours.p50 + question.keep_months * serving_default("hours_per_month")
    stored = "the data, " if data.bytes_on_disk else "without the data, whose size is not known, "
    return (
        storage_usd(size, hours, rate),
        [
            f"storage: {stored}{units.format_bytes(size)} with one checkpoint, for "
            f"{units.format_seconds(hours * 3600)} at "
            f"{units.format_usd(rate.usd_per_gib)} a GiB and month"
        ],
        [rate.source],
        [
            Quantity(
                "Storage of data and checkpoint",
                gib_months(size, hours),
                "GiB-months",
                rate.usd_per_gib,
                rate.source,
            )
        ],
    )


def _egress(offer: Offer, checkpoint_bytes: float) -> _Paid:
    """Of taking the trained weights out once."""
    if offer.provider in NO_PROVIDER:
        return 0.0, [], [], []
    rate = egress_rate(offer.provider)
    if rate is None:
        return 0.0, [f"egress at {offer.provider} is not in the cost: no price is known"], [], []
    return (
        egress_usd(checkpoint_bytes, rate),
        ["egress: the trained weights leave the provider once"] if rate.usd_per_gib else [],
        [rate.source],
        [
            Quantity(
                "Taking the trained weights out",
                paid_gib(checkpoint_bytes, rate),
                "GiB",
                rate.usd_per_gib,
                rate.source,
                note=f"{rate.free_gib:g} GiB a month are free" if rate.free_gib else None,
            )
        ],
    )
