"""Steps become hours: training, evaluation, saving, starting; the data loader where it sets the
pace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from planner import units
from planner.datasets.profile import DatasetProfile
from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.parallel.plan import ParallelPlan
from planner.plan.inputs.defaults import TrainingChoices
from planner.plan.inputs.practice import held_out_samples
from planner.plan.placement.input_pipeline import Feed, feed
from planner.plan.placement.setting import Setting
from planner.question import Question
from planner.uncertainty.spread import overhead


@dataclass(frozen=True)
class Run:
    """A whole run on all its devices. ``parts_hours`` are wall-clock medians that sum to
    ``wall_hours.p50``."""

    steps: int
    epochs: float
    wall_hours: Estimate
    gpu_hours: Estimate
    parts_hours: dict[str, float]
    evaluations: float = 0.0
    evaluated_samples: int = 0  # of one evaluation
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def whole_run(
    question: Question,
    choices: TrainingChoices,
    setting: Setting,
    data: DatasetProfile,
    spec: DeviceSpec,
    *,
    weights_bytes: float,
    checkpoint_bytes: float,
) -> Run:
    """Hours of the run that the question asks for, with the errors of the step, of the data's size
    and of the overheads."""
    parallel = setting.step.parallel
    epoch_steps = steps_of_an_epoch(setting)
    # as trainers do: a number of steps wins over epochs, and goes through the data again and again
    steps = choices.steps or max(1, math.ceil(epoch_steps * choices.epochs))
    epochs = steps / epoch_steps
    evaluations = choices.evaluations(steps, epochs)
    is_whole = choices.steps is not None and choices.steps == choices.practice.steps
    if is_whole and 0 < evaluations < 1:
        evaluations = 1.0  # a run that ends within its first epoch is evaluated at its end
    host = _feed(setting, data, spec)
    seconds, notes, warnings = _step_seconds(setting, host, spec)
    data_error = Estimate.with_spread(
        1.0, math.hypot(data.length_relative_error, data.samples_relative_error)
    )
    parts = {
        "training": (seconds * data_error).scale(steps / units.SECONDS_PER_HOUR),
        "evaluation": _evaluation(question, setting, data, evaluations, host, spec),
        "saving": _saving(question, checkpoint_bytes, epochs),
        "start_up": _start_up(weights_bytes),
    }
    wall = sum(list(parts.values())[1:], parts["training"])
    return Run(
        steps=steps,
        epochs=epochs,
        wall_hours=wall,
        gpu_hours=wall.scale(parallel.devices),
        parts_hours={name: part.p50 for name, part in parts.items()},
        evaluations=evaluations,
        evaluated_samples=held_out_samples(question, data.samples, setting.recipe.task),
        notes=notes,
        warnings=warnings,
    )


def steps_of_an_epoch(setting: Setting) -> int:
    """Optimizer steps of one pass over the data; the last may be smaller than the others."""
    return max(1, math.ceil(setting.batches.samples_per_epoch / setting.step.samples))


def joined(runs: Sequence[Run], parallel: ParallelPlan) -> Run:
    """Runs one after another: one start-up, hours and steps added."""
    first = runs[0]
    if len(runs) == 1:
        return first
    start = first.parts_hours["start_up"]
    parts = {name: sum(run.parts_hours[name] for run in runs) for name in first.parts_hours}
    spare = parts["start_up"] - start
    parts["start_up"] = start
    wall = sum((run.wall_hours for run in runs[1:]), first.wall_hours)
    wall = Estimate(max(0.0, wall.p10 - spare), wall.p50 - spare, wall.p90 - spare)
    return Run(
        steps=sum(run.steps for run in runs),
        epochs=sum(run.epochs for run in runs),
        wall_hours=wall,
        gpu_hours=wall.scale(parallel.devices),
        parts_hours=parts,
        evaluations=sum(run.evaluations for run in runs),
        evaluated_samples=first.evaluated_samples,
        notes=tuple(dict.fromkeys(note for run in runs for note in run.notes)),
        warnings=tuple(dict.fromkeys(warning for run in runs for warning in run.warnings)),
    )


def fixed_hours_at_least(question: Question, epochs: float, checkpoint_bytes: float) -> float:
    """Hours of a run that no device shortens: starting and saving, at their medians; reading the
    weights is left out."""
    return (
        _saving(question, checkpoint_bytes, epochs).p50
        + overhead("start_up_seconds").p50 / units.SECONDS_PER_HOUR
    )


def _feed(setting: Setting, data: DatasetProfile, spec: DeviceSpec) -> Feed | None:
    """What loads the samples; None where nothing has to be decoded, as with cached features."""
    return (
        None
        if setting.recipe.variant == "cached"
        else feed(data, spec, setting.batches.samples_per_epoch)
    )


def _step_seconds(
    setting: Setting, host: Feed | None, spec: DeviceSpec
) -> tuple[Estimate, tuple[str, ...], tuple[str, ...]]:
    """The step, or the time in which the host loads its samples, whichever is longer; their sum on
    a processor, which does both."""
    step, samples = setting.step.seconds, setting.micro_batch * setting.accumulation
    if host is None:
        return step, (), ()
    loading = host.sample_seconds.scale(samples)
    return (
        _paced(step, loading, spec),
        (host.note,),
        ()
        if loading.p50 <= step.p50
        else (host.too_slow(samples, step, "training" if spec.one_clock else "GPU"),),
    )


def _paced(work: Estimate, loading: Estimate, spec: DeviceSpec) -> Estimate:
    if spec.one_clock:
        return work + loading
    return Estimate(
        max(work.p10, loading.p10), max(work.p50, loading.p50), max(work.p90, loading.p90)
    )


def _evaluation(
    question: Question,
    setting: Setting,
    data: DatasetProfile,
    evaluations: float,
    host: Feed | None,
    spec: DeviceSpec,
) -> Estimate:
    samples = held_out_samples(question, data.samples, setting.recipe.task)
    # records that are packed to be trained are packed to be evaluated
    sequences = samples * setting.batches.samples_per_epoch / max(1, data.samples)
    batch = setting.step.forward_seconds
    if host is not None:
        batch = _paced(batch, host.sample_seconds.scale(setting.micro_batch), spec)
    # a batch that is not full takes the host as long as a full one
    batches = math.ceil(sequences / (setting.micro_batch * setting.step.parallel.data_parallel))
    return batch.scale(evaluations * batches / units.SECONDS_PER_HOUR)


def _saving(question: Question, checkpoint_bytes: float, epochs: float) -> Estimate:
    saves = max(1.0, question.saves_per_epoch * epochs) if question.saves_per_epoch else 0.0
    speed = overhead("write_bytes_per_second")
    return Estimate(
        *(
            saves * checkpoint_bytes / rate / units.SECONDS_PER_HOUR
            for rate in (speed.p90, speed.p50, speed.p10)
        )
    )


def _start_up(weights_bytes: float) -> Estimate:
    speed = overhead("read_bytes_per_second")
    reading = Estimate(*(weights_bytes / rate for rate in (speed.p90, speed.p50, speed.p10)))
    return (overhead("start_up_seconds") + reading).scale(1 / units.SECONDS_PER_HOUR)
