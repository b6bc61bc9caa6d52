"""One stage of a strategy on one device at every micro-batch that may fit: priced once for all
counts of devices, proven by a replay only where somebody asks. It settles on what
``planner.plan.search.find_setting`` would, without planning each point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from planner.datasets.batching import BatchPlan
from planner.devices.specification import DeviceSpec
from planner.memory.peak import peak_allocated
from planner.models.facts import ModelFacts
from planner.parallel.data_parallel import exposed_seconds
from planner.plan.defaults import Choices
from planner.plan.point import Memory, StepResult, memory_at
from planner.plan.problem import Asked
from planner.plan.search import (
    ENOUGH,
    LARGEST,
    TRIES,
    Promise,
    Setting,
    candidates,
    in_order,
    lengths_of,
    room_bytes,
)
from planner.question import Question
from planner.step_time.clock import StepClock, StepTime
from planner.trace.source import TraceSource
from planner.trace.table import CATEGORIES, StepTrace
from planner.uncertainty.spread import spread


@dataclass(frozen=True)
class Stage:
    """What runs with one recipe: a strategy has one stage or several. ``question`` says how it is
    run."""

    question: Question
    choices: Choices
    facts: ModelFacts
    teacher: ModelFacts | None = None


class SourceGrid:
    """A trace at all micro-batches that any count of devices may ask for: what no device changes.
    Kept with the source."""

    def __init__(self, source: TraceSource, asked: Asked, stage: Stage, counts: Sequence[int]):
        self.source, self.choices, self.data = source, stage.choices, asked.data
        self.sizes = {
            gpus: candidates(stage.choices.global_batch, gpus, stage.question.micro_batch)
            for gpus in counts
        }
        every = sorted(set().union(*self.sizes.values()))
        self.large = np.array([size for size in every if size > 1] or every)
        self.plans = {size: self._plan(size) for size in every}
        self.longest = lengths_of(self.plans[every[-1]])[0]
        self.trace: StepTrace = source.at(B=int(self.large[-1]), **self.longest)
        self.peaks = np.asarray(
            peak_allocated(self.trace, self.trace.dims(B=self.large, **self.longest))
        )

    def _plan(self, size: int) -> BatchPlan:
        return self.data.batches(
            size, padding=self.choices.padding, max_length=self.choices.max_length
        )

    @property
    def least_bytes(self) -> float:
        """A bound on the peak of a batch of one: the peak is convex in the batch."""
        if len(self.large) < 2:
            return 0.0
        (one, two), (low, high) = self.large[:2], self.peaks[:2]
        return float(low - (high - low) / (two - one) * (one - 1))

    @cached_property
    def weights_bytes(self) -> float:
        there = (self.trace.birth < 0) & (self.trace.category == CATEGORIES.index("weights"))
        sizes = self.trace.storage_bytes(self.trace.dims(B=int(self.large[-1]), **self.longest))
        return float(sizes[self.trace.size[there]].sum())


@dataclass
class DeviceGrid:
    """A source's grid on one device. Times are of one micro-batch step on one device, at the mean
    padded lengths."""

    shared: SourceGrid
    spec: DeviceSpec

    @cached_property
    def fitting(self) -> list[int]:
        room = room_bytes(self.spec, self.shared.source.facts.modality)
        return [
            int(size) for size, peak in zip(self.shared.large, self.shared.peaks) if peak <= room
        ]

    @cached_property
    def times(self) -> dict[int, StepTime]:
        """Of every micro-batch that some count of devices looks at."""
        wanted = sorted(
            {
                size
                for sizes in self.shared.sizes.values()
                for size in [s for s in sizes if s in self.fitting][-LARGEST:]
            }
        )
        return self._priced(wanted) if wanted else {}

    def time(self, size: int) -> StepTime:
        if size not in self.times:
            self.times.update(self._priced([size]))
        return self.times[size]

    def _priced(self, sizes: list[int]) -> dict[int, StepTime]:
        shared, recipe = self.shared, self.shared.source.recipe
        means = [lengths_of(shared.plans[size])[1] for size in sizes]
        point = {"B": np.array(sizes)} | {
            name: np.array([m[name] for m in means])
            for name in ("S", "T")
            if means[0][name] is not None
        }
        trace = shared.source.at(**{name: int(values[-1]) for name, values in point.items()})
        time = StepClock(self.spec).price(
            trace, trace.dims(**point), precision=recipe.precision, compiled=recipe.compile
        )
        return {size: _column(time, i) for i, size in enumerate(sizes)}

    def promises(self, gpus: int) -> list[Promise]:
        """As ``find_setting`` sees them, the best first."""
        sizes = self.shared.sizes[gpus]
        if len(sizes) == 1:
            return [Promise(sizes[0], 0.0)] if sizes[0] in self.fitting or sizes[0] == 1 else []
        fitting = [size for size in sizes if size in self.fitting][-LARGEST:]
        if not fitting:
            return (
                [Promise(1, 0.0)]
                if sizes[0] == 1
                and self.shared.least_bytes
                <= room_bytes(self.spec, self.shared.source.facts.modality)
                else []
            )
        return in_order([Promise(size, self._seconds_per_sample(size)) for size in fitting])

    def _seconds_per_sample(self, size: int) -> float:
        time, accumulation = (
            self.time(size),
            max(1, math.ceil(self.shared.choices.global_batch / size)),
        )
        return (
            time.seconds - time.optimizer_seconds + time.optimizer_seconds / accumulation
        ) / size

    def memory(self, size: int, gpus: int) -> Memory:
        """By a replay."""
        longest = lengths_of(self.shared.plans[size])[0]
        return memory_at(
            self.shared.source,
            self.spec,
            {"B": size, **longest},
            accumulation=self.accumulation(size, gpus),
            gpus=gpus,
        )

    def accumulation(self, size: int, gpus: int) -> int:
        return max(1, math.ceil(self.shared.choices.global_batch / (size * gpus)))

    def setting(self, size: int, gpus: int, memory: Memory | None) -> Setting:
        """Raises QuestionError where no source gives the link between devices."""
        time, accumulation, source = (
            self.time(size),
            self.accumulation(size, gpus),
            self.shared.source,
        )
        total = accumulation * (time.seconds - time.optimizer_seconds) + time.optimizer_seconds
        if gpus > 1:
            total += exposed_seconds(
                float(self.shared.trace.meta.get("gradient_bytes", 0)),
                gpus,
                self.spec,
                time.backward_seconds,
            )
        sure = spread("time", self.spec.pricing, source.facts.modality, self.spec.key).at_least(
            time.sigma_log
        )
        step = StepResult(
            sure.around(total), sure.around(time.forward_seconds), time, size, accumulation, gpus
        )
        plan = self.shared.plans[size]
        return Setting(source, size, accumulation, plan, memory, step)


def settle(
    grids: Sequence[DeviceGrid], gpus: int, *, prove: bool
) -> tuple[DeviceGrid, Setting] | None:
    """The fastest setting by the grid over the policies of checkpointing, or (``prove``) the
    fastest that a replay passes; None where none fits. Raises QuestionError as
    ``DeviceGrid.setting``."""
    tried: list[tuple[DeviceGrid, Setting]] = []
    for grid in grids:
        sizes = grid.shared.sizes[gpus]
        for promise in grid.promises(gpus)[:TRIES]:
            memory = grid.memory(promise.size, gpus) if prove else None
            if memory is None or memory.fits:
                tried.append((grid, grid.setting(promise.size, gpus, memory)))
                break
        if any(setting.micro_batch >= min(ENOUGH, sizes[-1]) for _, setting in tried):
            break
    if not tried and prove and grid.promises(gpus):
        leanest = grid.memory(sizes[0], gpus)
        tried = [(grid, grid.setting(sizes[0], gpus, leanest))] if leanest.fits else []
    return min(
        tried,
        key=lambda t: t[1].step.seconds.p50 / (t[1].micro_batch * t[1].accumulation),
        default=None,
    )


class Grids:
    """Hands out grids: one a trace source, one a device on it."""

    def __init__(self, asked: Asked, counts: Sequence[int]):
        self.asked, self.counts = asked, tuple(counts)
        self._shared: dict[tuple, SourceGrid] = {}
        self._device: dict[tuple, DeviceGrid] = {}

    def of(self, stage: Stage, spec: DeviceSpec):
        """The grids of a stage on a device, one a policy of checkpointing, made when they are
        reached."""
        return _Lazy(
            [
                lambda policy=policy: self._one(stage, policy, spec)
                for policy in stage.choices.checkpointing
            ]
        )

    def _one(self, stage: Stage, policy: str, spec: DeviceSpec) -> DeviceGrid:
        source = self.asked.source(
            stage.choices.with_checkpointing(policy), stage.facts, stage.teacher
        )
        choices = replace(stage.choices, recipe=source.recipe, checkpointing=())
        key = (id(source), choices.global_batch, choices.max_length, choices.padding)
        if key not in self._shared:
            self._shared[key] = SourceGrid(source, self.asked, stage, self.counts)
        if (key, spec.key) not in self._device:
            self._device[key, spec.key] = DeviceGrid(self._shared[key], spec)
        return self._device[key, spec.key]


class _Lazy(Sequence):
    """A sequence whose items are made when they are first read: most devices never need the second
    policy's trace."""

    def __init__(self, makers):
        self._makers, self._made = makers, {}

    def __len__(self) -> int:
        return len(self._makers)

    def __getitem__(self, index: int):
        if index >= len(self._makers):
            raise IndexError(index)
        if index not in self._made:
            self._made[index] = self._makers[index]()
        return self._made[index]


def _column(time: StepTime, index: int) -> StepTime:
    """One point of a priced grid."""

    def at(value):
        return float(np.asarray(value)[index]) if np.ndim(value) else float(value)

    return replace(
        time,
        **{
            name: at(getattr(time, name))
            for name in (
                "seconds",
                "forward_seconds",
                "backward_seconds",
                "optimizer_seconds",
                "device_busy_seconds",
                "model_flops",
                "hardware_flops",
                "unmodelled_share",
                "sigma_log",
            )
        },
        by_kind={kind: at(seconds) for kind, seconds in time.by_kind.items()},
    )
