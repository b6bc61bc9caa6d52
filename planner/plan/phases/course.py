"""What every phase of a run is worked out from, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.datasets.profile import DatasetProfile
from planner.devices.specification import DeviceSpec
from planner.figures import Estimate
from planner.models.facts import ModelFacts
from planner.plan.inputs.defaults import TrainingChoices
from planner.plan.phases.host import Host
from planner.plan.phases.loading import Feed
from planner.plan.steps.setting import Setting
from planner.question import Question
from planner.question.stack import Stack
from planner.trace.memo import Memo


@dataclass(frozen=True)
class Course:
    """A run's course: so many steps and evaluations of one setting on one kind of device.
    ``host`` loads the samples; None where nothing has to be loaded. ``machine``: its cores.
    ``weights_bytes`` lie on the device before the first step, ``checkpoint_bytes`` are written at
    each save, ``optimizer_bytes`` beside them."""

    question: Question
    choices: TrainingChoices
    setting: Setting
    data: DatasetProfile
    spec: DeviceSpec
    stack: Stack
    host: Feed | None
    machine: Host
    steps: int
    epochs: float
    evaluations: float
    weights_bytes: float
    checkpoint_bytes: float
    optimizer_bytes: float = 0.0
    teacher: ModelFacts | None = None
    memo: Memo = field(default_factory=Memo, compare=False, repr=False)


@dataclass(frozen=True)
class Phase:
    """Wall-clock ``hours`` of a phase, with what has to be said of it. ``of_which``: hours of its
    parts, as far as they are told apart (medians; they need not sum to it). ``said``: what is
    assumed, for the first lines where the phase takes a worthwhile share of the run;
    ``said_hours``: how much of the phase that is about, all of it by default."""

    hours: Estimate
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    of_which: Mapping[str, float] = field(default_factory=dict[str, float])
    said: str = ""
    said_hours: float | None = None
