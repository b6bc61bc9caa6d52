"""What many devices and many days add to a run: failures, and waiting for the slowest.

How often devices fail is counted on clusters whose operators published it
(``profiles/priors/failures.csv``); what a failure costs is played event by event
(``cost/reliability``). Runs in which hardly a failure is expected are left as they are.
"""

from __future__ import annotations

from dataclasses import replace

from planner import units
from planner.cost.reliability.failures import failures_per_device_hour, systems
from planner.cost.reliability.simulation import Goodput, Machines, Work, simulated
from planner.cost.spot import SHORTEST_HOURS, daly_interval
from planner.errors import FieldName
from planner.figures import Estimate
from planner.plan.placement.run import OF_STEPS, Run
from planner.question import Question
from planner.uncertainty.spread import overhead

INTERRUPTIONS, STRAGGLERS, SAVING = "interruptions", "stragglers", "saving"
#: How a batch is made where every row is full.
FULL_ROWS = ("max", "packed")


def with_failures(
    question: Question, run: Run, devices: int, checkpoint_bytes: float, writers: int = 1
) -> Run:
    """The run with what its devices' failures and stragglers take of it. ``checkpoint_bytes`` are
    written by ``writers`` machines at once. Raises QuestionError where it would not end."""
    run = _with_stragglers(run, devices, overhead(_stragglers_of(question)))
    rate, source = _rate(question, devices)
    hours = sum(run.parts_hours.get(name, 0.0) for name in (*OF_STEPS, STRAGGLERS))
    expected = rate.p50 * devices * hours
    asked = question.interruptions_per_day is not None
    if not expected or (expected < overhead("failures_worth_counting").p50 and not asked):
        return run
    save = checkpoint_bytes / writers / overhead("write_bytes_per_second").p50
    save /= units.SECONDS_PER_HOUR
    run = _saved_once(question, run, save)
    interval = _interval_hours(question, hours, save, 1 / (rate.p50 * devices))
    found = simulated(
        Work(hours, interval, save, run.parts_hours["start_up"]), _machines(devices, rate)
    )
    return _longer(run, devices, found, _words(question, rate, source, interval, found))


def _saved_once(question: Question, run: Run, save: float) -> Run:
    """Checkpoints against failures stand in place of those of a recipe or a trainer's default, but
    for the last one: no run writes both. An asked cadence stays."""
    spare = run.parts_hours.get(SAVING, 0.0) - save
    if question.saves_per_epoch is not None or spare <= 0:
        return run
    wall = Estimate(*(max(0.0, one - spare) for one in _sides(run.wall_hours)))
    parts = run.parts_hours | {SAVING: run.parts_hours[SAVING] - spare}
    devices = run.gpu_hours.p50 / run.wall_hours.p50
    return replace(run, wall_hours=wall, gpu_hours=wall.scale(devices), parts_hours=parts)


def _sides(figure: Estimate) -> tuple[float, float, float]:
    return figure.p10, figure.p50, figure.p90


def _stragglers_of(question: Question) -> str:
    """The row of what the slowest take: less where each device has as many tokens, as rows of full
    length have, which training from scratch packs by itself."""
    full = question.padding in FULL_ROWS
    packs = question.padding is None and question.strategy == ["scratch"]
    return "straggler_share" if full or packs else "uneven_straggler_share"


def _with_stragglers(run: Run, devices: int, share: Estimate) -> Run:
    """Large jobs wait for their slowest workers at every step."""
    if devices < overhead("straggler_devices").p50:
        return run
    hours = sum(run.parts_hours.get(name, 0.0) for name in OF_STEPS)
    extra = Estimate(*(hours * one / (1 - one) for one in _sides(share)))
    wall = run.wall_hours + extra
    words = (
        f"waiting for the slowest of {devices:,} devices is taken as {share.p50:.0%} of the "
        f"device-hours ({share.p10:.0%} to {share.p90:.0%}, after a study of large jobs)"
    )
    return replace(
        run,
        wall_hours=wall,
        gpu_hours=wall.scale(devices),
        parts_hours=run.parts_hours | {STRAGGLERS: extra.p50},
        said=(*run.said, (extra.p50, words)),
    )


def _rate(question: Question, devices: int) -> tuple[Estimate, str]:
    """(failures of a device in an hour, whose figure that is)."""
    given = question.interruptions_per_day
    if given is not None:
        return Estimate.exact(given / units.HOURS_PER_DAY / devices), "given"
    names = ", ".join(one.name for one in systems())
    return failures_per_device_hour(), f"as counted on {names}"


def _machines(devices: int, rate: Estimate) -> Machines:
    """Each device alone: a provider's pool stands behind them, so that machines matter to nothing
    but the rate."""
    return Machines(
        count=devices,
        failures_per_machine_hour=rate,
        detect_hours=overhead("detect_failure_seconds").scale(1 / units.SECONDS_PER_HOUR),
        replace_hours=overhead("replace_machine_seconds").scale(1 / units.SECONDS_PER_HOUR),
        hardware_share=overhead("failures_of_hardware_share").p50,
    )


def _interval_hours(question: Question, hours: float, save: float, between: float) -> float:
    if question.checkpoint_minutes:
        return min(hours, question.checkpoint_minutes / 60)
    return min(hours, max(daly_interval(save, between), SHORTEST_HOURS))


def _longer(run: Run, devices: int, found: Goodput, words: tuple[str, str]) -> Run:
    wall = run.wall_hours + found.extra_hours
    note, said = words
    return replace(
        run,
        wall_hours=wall,
        gpu_hours=wall.scale(devices),
        parts_hours=run.parts_hours | {INTERRUPTIONS: found.extra_hours.p50},
        of_which_hours={**run.of_which_hours, INTERRUPTIONS: dict(found.parts_hours)},
        notes=(*run.notes, note),
        said=(*run.said, (found.extra_hours.p50, said)),
    )


def _words(
    question: Question, rate: Estimate, source: str, interval: float, found: Goodput
) -> tuple[str, str]:
    """(the note, what stands in the first lines)."""
    every = units.format_seconds(interval * units.SECONDS_PER_HOUR)
    best = "" if question.checkpoint_minutes else ", the best by Young and Daly"
    largest = max(found.parts_hours, key=lambda name: found.parts_hours[name])
    seconds = found.parts_hours[largest] * units.SECONDS_PER_HOUR
    note = (
        f"failures: {rate.p50:.2g} an hour of each device ({source}); checkpoints every {every}"
        f"{best}; {found.share:.1%} of the time between start and end is undisturbed work, "
        f"most is lost to {largest.replace('_', ' ')}, {units.format_seconds(seconds)}"
    )
    said = (
        f"{found.failures:,.3g} failures of devices are expected and lengthen the run "
        f"({source}); {FieldName('interruptions_per_day')} and "
        f"{FieldName('checkpoint_minutes')} say other rates"
    )
    return note, said
