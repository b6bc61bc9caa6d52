"""Steps become hours: a run is its phases, one after another (``plan/phases``, a file each)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from planner.datasets.profile import DatasetProfile
from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.models.facts import ModelFacts
from planner.parallel.plan import ParallelPlan
from planner.plan.inputs.defaults import TrainingChoices
from planner.plan.phases.course import Course, Phase
from planner.plan.phases.evaluation import Evaluated, evaluated, evaluation
from planner.plan.phases.host import host_of
from planner.plan.phases.loading import feed_of
from planner.plan.phases.preparation import preparation
from planner.plan.phases.rollouts import phases_of, rollout_memory
from planner.plan.phases.saving import saving
from planner.plan.phases.stages import Work
from planner.plan.phases.start_up import start_up
from planner.plan.phases.training import training
from planner.plan.steps.point import EvaluationMemory
from planner.plan.steps.setting import Setting
from planner.question import Question
from planner.question.stack import stack_of
from planner.uncertainty.runs import RunSpread, basis_of_runs, kinds, run_spread

#: In the order in which they begin.
PHASES: Mapping[str, Callable[[Course], Phase]] = {
    "preparation": preparation,
    "start_up": start_up,
    "training": training,
    "evaluation": evaluation,
    "saving": saving,
}
#: What a product of epochs and evaluations may be off by.
TINY = 1e-9
#: Phases that are made of steps.
OF_STEPS = ("training", "evaluation", "generation", "scoring", "reference")
#: Of a phase of steps: what a long run takes over its clean steps.
LONG_RUN = "beyond_clean_steps"
#: Phases that runs one after another in one process have once.
ONCE = ("start_up", "preparation")


@dataclass(frozen=True)
class Run:
    """A whole run on all its devices. ``parts_hours`` are wall-clock medians that sum to
    ``wall_hours.p50``; ``of_which_hours`` of a phase what is told apart of it. ``said``: (hours,
    what is assumed of them) of phases that assume something."""

    steps: int
    epochs: float
    wall_hours: Estimate
    gpu_hours: Estimate
    parts_hours: dict[str, float]
    of_which_hours: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict[str, Mapping[str, float]]
    )
    said: tuple[tuple[float, str], ...] = ()
    evaluations: float = 0.0
    evaluated: Evaluated | None = None  # one evaluation
    rollout: EvaluationMemory | None = None  # while completions are written
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
    optimizer_bytes: float = 0.0,
    teacher: ModelFacts | None = None,
) -> Run:
    """Hours of the run that the question asks for, with the errors of the step, of the data's size
    and of the overheads."""
    epoch_steps = steps_of_an_epoch(setting)
    # as trainers do: a number of steps wins over epochs, and goes through the data again and again
    steps = choices.steps or max(1, math.ceil(epoch_steps * choices.epochs))
    epochs = steps / epoch_steps
    facts, recipe = setting.source.facts, setting.recipe
    work = Work(facts, choices.strategy, recipe.task, setting.batches)
    course = Course(
        question=question,
        choices=choices,
        setting=setting,
        data=data,
        spec=spec,
        stack=stack_of(question.stack),
        host=feed_of(question, recipe, work, data, spec),
        machine=host_of(question, spec),
        steps=steps,
        epochs=epochs,
        evaluations=_evaluations(choices, steps, epochs),
        weights_bytes=weights_bytes,
        checkpoint_bytes=checkpoint_bytes,
        optimizer_bytes=optimizer_bytes,
        teacher=teacher,
    )
    made = {**PHASES, **phases_of(course)}
    spread = _spread_of(course)
    phases = {name: _in_a_long_run(name, hours(course), spread) for name, hours in made.items()}
    wall = _with_range(course, phases, spread)
    return Run(
        steps=steps,
        epochs=epochs,
        wall_hours=wall,
        gpu_hours=wall.scale(setting.step.parallel.devices),
        parts_hours={name: phase.hours.p50 for name, phase in phases.items()},
        of_which_hours={name: dict(phase.of_which) for name, phase in phases.items()},
        said=_said(phases.values()),
        evaluations=course.evaluations,
        evaluated=evaluated(course),
        rollout=rollout_memory(course),
        notes=(*(note for phase in phases.values() for note in phase.notes), *_told(spread)),
        warnings=tuple(warning for phase in phases.values() for warning in phase.warnings),
    )


def _said(phases: Iterable[Phase]) -> tuple[tuple[float, str], ...]:
    return tuple(
        (phase.hours.p50 if phase.said_hours is None else phase.said_hours, phase.said)
        for phase in phases
        if phase.said
    )


def _spread_of(course: Course) -> RunSpread:
    step, recipe, spec = course.setting.step, course.setting.recipe, course.spec
    own = kinds(recipe.task, recipe.strategy, course.stack.trainer, step.parallel.devices)
    return run_spread(basis_of_runs(spec.pricing, spec.key), own)


def _in_a_long_run(name: str, phase: Phase, spread: RunSpread) -> Phase:
    """A phase as a long run takes it: what is made of steps takes longer than clean steps do."""
    if name not in OF_STEPS or spread.longer == 1 or not phase.hours.p50:
        return phase
    hours = phase.hours.scale(spread.longer)
    beyond = hours.p50 - phase.hours.p50
    return replace(phase, hours=hours, of_which={**phase.of_which, LONG_RUN: beyond})


def _with_range(course: Course, phases: Mapping[str, Phase], spread: RunSpread) -> Estimate:
    """Wall hours: what is made of steps has the range of whole runs, every other phase its own."""
    wall = Estimate.exact(0.0)
    for name, phase in phases.items():
        timed = name in OF_STEPS
        wall += spread.around(phase.hours, course.setting.step.seconds) if timed else phase.hours
    return wall


def _told(spread: RunSpread) -> tuple[str, ...]:
    if not spread.runs:
        return ()
    return (spread.words, *((spread.middle_words,) if spread.middle else ()))


def _evaluations(choices: TrainingChoices, steps: int, epochs: float) -> float:
    """Whole ones: what is begun is evaluated at its end, as trainers do, and nothing between
    steps."""
    evaluations = choices.evaluations(steps, epochs)
    return float(min(math.ceil(evaluations - TINY), steps))


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
    made = [run.evaluated for run in runs if run.evaluated is not None]
    wall = Estimate(max(0.0, wall.p10 - spare), wall.p50 - spare, wall.p90 - spare)
    return Run(
        steps=sum(run.steps for run in runs),
        epochs=sum(run.epochs for run in runs),
        wall_hours=wall,
        gpu_hours=wall.scale(parallel.devices),
        parts_hours=parts,
        of_which_hours={name: _joined_parts(runs, name) for name in parts},
        said=tuple(dict.fromkeys(said for run in runs for said in run.said)),
        evaluations=sum(run.evaluations for run in runs),
        evaluated=next((one for one in made if not one.fits), first.evaluated),
        rollout=first.rollout,
        notes=tuple(dict.fromkeys(note for run in runs for note in run.notes)),
        warnings=tuple(dict.fromkeys(warning for run in runs for warning in run.warnings)),
    )


def _joined_parts(runs: Sequence[Run], phase: str) -> dict[str, float]:
    """What is told apart of a phase, over all runs; of the first where they have the phase once."""
    having = runs[:1] if phase in ONCE else runs
    names = dict.fromkeys(name for run in having for name in run.of_which_hours.get(phase, {}))
    return {
        name: sum(run.of_which_hours.get(phase, {}).get(name, 0.0) for run in having)
        for name in names
    }
