"""What is done to the data once, before the first step, while the devices are paid and idle:
tokenizing, features, packing, and fetching it to a rented machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner import units
from planner.datasets.profile import DatasetProfile
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName
from planner.figures import Estimate
from planner.plan.phases.course import Course, Phase
from planner.plan.phases.host import host_of
from planner.plan.phases.loading import (
    MEASURED_STAGES,
    kind_of,
    measured_entry,
    measured_seconds,
)
from planner.plan.phases.pipeline import pipeline_of
from planner.plan.phases.stages import WORDS, Sample, Work, record_of, seconds_of
from planner.question import Question
from planner.question.stack import stack_of
from planner.training.recipe import Recipe
from planner.uncertainty.spread import overhead

BITS = 8
#: A part of the phase is named where it takes more of it.
WORTH = 0.05
DOWNLOAD = "download the data"
#: Done by threads on every core where one process does it.
THREADED = "encode_batched"
#: Stages that make ids of texts: nothing where the data is ids.
TOKENIZING = ("render", "encode", "encode_batched", "map_tokens")


def preparation(course: Course) -> Phase:
    recipe, batches = course.setting.recipe, course.setting.batches
    facts, strategy = course.setting.source.facts, course.choices.strategy
    work = Work(facts, strategy, recipe.task, batches)
    devices = course.setting.step.parallel.devices
    preparing = preparing_of(course.question, recipe, work, course.data, course.spec, devices)
    if preparing is None:
        return Phase(Estimate.exact(0.0))
    seconds = preparing.seconds()
    total = sum(seconds.values(), Estimate.exact(0.0))
    each = {name: value.p50 / units.SECONDS_PER_HOUR for name, value in seconds.items()}
    hours = total.scale(1 / units.SECONDS_PER_HOUR)
    said = _said(seconds, preparing.workers, preparing.cores)
    return Phase(hours, of_which=each, said=said)


def preparation_hours_at_least(
    question: Question,
    recipe: Recipe,
    work: Work,
    data: DatasetProfile,
    spec: DeviceSpec,
    devices: int,
) -> float:
    """The phase's median, which needs no setting."""
    preparing = preparing_of(question, recipe, work, data, spec, devices)
    seconds = {} if preparing is None else preparing.seconds()
    return sum(value.p50 for value in seconds.values()) / units.SECONDS_PER_HOUR


def preparing_of(
    question: Question,
    recipe: Recipe,
    work: Work,
    data: DatasetProfile,
    spec: DeviceSpec,
    devices: int,
) -> Preparing | None:
    """None where the question says that the data is prepared, and for a head on features that a
    stage before made."""
    if question.prepared or recipe.variant == "cached":
        return None
    pipeline = pipeline_of(work, data, stack_of(question.stack))
    machine = host_of(question, spec)
    cores = max(1, machine.cores * devices)
    wanted = question.preparation_workers or pipeline.map_workers
    return Preparing(
        data=data,
        record=record_of(question, work, data),
        stages=tuple(
            stage for stage in pipeline.before if data.tokenizer or stage not in TOKENIZING
        ),
        measured=measured_entry(data, spec),
        workers=max(1, min(wanted, cores)),
        cores=cores,
        is_fetched=machine.is_rented,
    )


@dataclass(frozen=True)
class Preparing:
    """What is done to each record of the data, by so many processes on the cores of all devices;
    ``measured``: a calibrated loader of such data."""

    data: DatasetProfile
    record: Sample
    stages: tuple[str, ...]
    measured: Mapping[str, Any] | None
    workers: int
    cores: int
    is_fetched: bool

    def seconds(self) -> dict[str, Estimate]:
        """Of each thing that is done, by all processes together."""
        found = self._measured()
        for stage in self.stages:
            if stage in self._measured_stages:
                continue
            seconds = seconds_of(stage, self.record).scale(self.records / self._gain(stage))
            if seconds.p50:
                found[WORDS[stage]] = found.get(WORDS[stage], Estimate.exact(0.0)) + seconds
        if self.is_fetched:
            found[DOWNLOAD] = self.data_bytes * _seconds_a_byte("download_bytes_per_second")
        return found

    @property
    def records(self) -> int:
        """A prompt is prepared once, however often it is written to."""
        return self.data.samples if self.data.prompts is None else self.data.prompts

    @property
    def data_bytes(self) -> Estimate:
        """As they lie on disk where that is known, else by what a record holds."""
        if self.data.bytes_on_disk is not None:
            return Estimate.exact(float(self.data.bytes_on_disk))
        text = self.record.tokens * overhead("token_bytes")
        sound = self.record.seconds * overhead("sound_bytes_per_second")
        image = self.record.pixels * overhead("photo_bits_per_pixel").scale(1 / BITS)
        return (text + sound + image).scale(self.records)

    @property
    def _measured_stages(self) -> set[str]:
        if self.measured is None:
            return set()
        return set(MEASURED_STAGES.get(kind_of(self.data), ())) & set(self.stages)

    def _measured(self) -> dict[str, Estimate]:
        """By a calibrated loader, which went through several stages at once."""
        stages = self._measured_stages
        if self.measured is None or not stages:
            return {}
        name = "tokenize" if kind_of(self.data) == "text" else "decode and make features"
        gain = max(self._gain(stage) for stage in stages)
        whole = measured_seconds(self.data, self.measured).scale(self.records)
        return {name: whole.scale(1 / gain)}

    def _gain(self, stage: str) -> int:
        """Cores that a stage is spread over."""
        return self.cores if stage == THREADED and self.workers == 1 else self.workers


def _seconds_a_byte(key: str) -> Estimate:
    rate = overhead(key)
    return Estimate(*(1 / value for value in (rate.p90, rate.p50, rate.p10)))


def _said(seconds: Mapping[str, Estimate], workers: int, cores: int) -> str:
    """The parts that matter, by how many processes, and what changes them."""
    least = WORTH * sum(value.p50 for value in seconds.values())
    parts = {name: value.p50 for name, value in seconds.items() if value.p50 > least}
    if not parts:
        return ""
    done = ", ".join(f"{units.format_seconds(value)} to {name}" for name, value in parts.items())
    by = f"{workers} process{'es' if workers > 1 else ''} on {cores} cores"
    changed = f"{by}; {FieldName('preparation_workers')} changes them; "
    changed = "" if set(parts) == {DOWNLOAD} else changed
    return (
        f"before the first step: {done} ({changed}{FieldName('prepared')} says that nothing is "
        "left to do)"
    )
