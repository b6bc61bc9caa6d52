"""What every phase of a run is worked out from, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass

from planner.datasets.profile import DatasetProfile
from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.plan.inputs.defaults import TrainingChoices
from planner.plan.phases.loading import Feed
from planner.plan.steps.setting import Setting
from planner.question import Question
from planner.question.stack import Stack


@dataclass(frozen=True)
class Course:
    """A run's course: so many steps and evaluations of one setting on one kind of device.
    ``host`` loads the samples; None where nothing has to be loaded. ``weights_bytes`` are read
    before the first step, ``checkpoint_bytes`` written at each save."""

    question: Question
    choices: TrainingChoices
    setting: Setting
    data: DatasetProfile
    spec: DeviceSpec
    stack: Stack
    host: Feed | None
    steps: int
    epochs: float
    evaluations: float
    weights_bytes: float
    checkpoint_bytes: float


@dataclass(frozen=True)
class Phase:
    """Wall-clock ``hours`` of a phase, with what has to be said of it."""

    hours: Estimate
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
