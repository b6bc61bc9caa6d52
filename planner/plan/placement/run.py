"""Steps become hours: a run is its phases, one after another (``plan/phases``, a file each)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from planner.datasets.profile import DatasetProfile
from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.parallel.plan import ParallelPlan
from planner.plan.inputs.defaults import TrainingChoices
from planner.plan.inputs.practice import held_out_samples
from planner.plan.phases.course import Course, Phase
from planner.plan.phases.evaluation import evaluation
from planner.plan.phases.loading import Feed, feed
from planner.plan.phases.preparation import preparation
from planner.plan.phases.saving import saving, saving_hours
from planner.plan.phases.start_up import start_up, start_up_hours_at_least
from planner.plan.phases.training import training
from planner.plan.steps.setting import Setting
from planner.question import Question
from planner.question.stack import stack_of

#: In the order in which they begin.
PHASES: Mapping[str, Callable[[Course], Phase]] = {
    "preparation": preparation,
    "start_up": start_up,
    "training": training,
    "evaluation": evaluation,
    "saving": saving,
}
#: Phases that runs one after another in one process have once.
ONCE = ("start_up", "preparation")


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
    epoch_steps = steps_of_an_epoch(setting)
    # as trainers do: a number of steps wins over epochs, and goes through the data again and again
    steps = choices.steps or max(1, math.ceil(epoch_steps * choices.epochs))
    epochs = steps / epoch_steps
    course = Course(
        question=question,
        choices=choices,
        setting=setting,
        data=data,
        spec=spec,
        stack=stack_of(question.stack),
        host=_feed(setting, data, spec),
        steps=steps,
        epochs=epochs,
        evaluations=_evaluations(choices, steps, epochs),
        weights_bytes=weights_bytes,
        checkpoint_bytes=checkpoint_bytes,
    )
    phases = {name: hours(course) for name, hours in PHASES.items()}
    wall = sum((phase.hours for phase in phases.values()), Estimate.exact(0.0))
    return Run(
        steps=steps,
        epochs=epochs,
        wall_hours=wall,
        gpu_hours=wall.scale(setting.step.parallel.devices),
        parts_hours={name: phase.hours.p50 for name, phase in phases.items()},
        evaluations=course.evaluations,
        evaluated_samples=held_out_samples(question, data.samples, setting.recipe.task),
        notes=tuple(note for phase in phases.values() for note in phase.notes),
        warnings=tuple(warning for phase in phases.values() for warning in phase.warnings),
    )


def _evaluations(choices: TrainingChoices, steps: int, epochs: float) -> float:
    evaluations = choices.evaluations(steps, epochs)
    is_whole = choices.steps is not None and choices.steps == choices.practice.steps
    # a run that ends within its first epoch is evaluated at its end
    return 1.0 if is_whole and 0 < evaluations < 1 else evaluations


def steps_of_an_epoch(setting: Setting) -> int:
    """Optimizer steps of one pass over the data; the last may be smaller than the others."""
    return max(1, math.ceil(setting.batches.samples_per_epoch / setting.step.samples))


def joined(runs: Sequence[Run], parallel: ParallelPlan) -> Run:
    """Runs one after another: one start-up, hours and steps added."""
    first = runs[0]
    if len(runs) == 1:
        return first
    parts = {name: sum(run.parts_hours[name] for run in runs) for name in first.parts_hours}
    once = {name: first.parts_hours[name] for name in ONCE}
    spare = sum(parts[name] - hours for name, hours in once.items())
    parts |= once
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
    return saving_hours(question, checkpoint_bytes, epochs).p50 + start_up_hours_at_least()


def _feed(setting: Setting, data: DatasetProfile, spec: DeviceSpec) -> Feed | None:
    """What loads the samples; None where nothing has to be decoded, as with cached features."""
    return (
        None
        if setting.recipe.variant == "cached"
        else feed(data, spec, setting.batches.samples_per_epoch)
    )
