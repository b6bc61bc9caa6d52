"""What the host feeds one device: samples read, decoded, transformed, joined and copied, by
measurement where there is one.

A measured loader (``planner calibrate --data``) is a part of the device's profile; elsewhere stages
of ``profiles/stacks/pipelines.csv`` at the rates of ``profiles/priors/run.csv`` stand in. Without
workers the training process loads between two steps: its time adds. Workers load beside the steps,
as many as there are cores for a device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner import units
from planner.datasets.loader.rate import slowest_stage, worker_gain, worker_seconds
from planner.datasets.profile import DatasetProfile
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName
from planner.figures import Estimate
from planner.plan.phases.host import Host, host_of, link_seconds_a_byte
from planner.plan.phases.pipeline import Pipeline, pipeline_of
from planner.plan.phases.stages import WORDS, Sample, Work, sample_of, seconds_of
from planner.question import Question
from planner.question.stack import stack_of
from planner.training.recipe import Recipe
from planner.uncertainty.spread import overhead

#: What each stage of a loader does to a sample, and what spares it.
SPARED = {
    "read": "keep the data on a faster disk, or in fewer and larger files",
    "decode": "store smaller or decoded data",
    "transform": "transform once before training, or on the GPU",
    "resize": "store smaller or decoded data",
    "normalise": "transform once before training, or on the GPU",
    "resample": "resample once before training",
    "tokenize": "tokenize once before training",
    "read rows of features": "read them as arrays (with_format of datasets), not as lists",
    "read rows": "pack short texts",
}
UNIT_OF = {"image": "pixel", "audio": "audio_second", "text": "token"}
#: Stages that are left of a pipeline where samples are decoded and transformed already.
JOINING = ("collate", "collate_bytes")
#: Images that travel as bytes, on a stream of their own, while the device works: timm's prefetcher.
AHEAD = "collate_bytes"
#: Stages whose work a measured loader of the modality did.
MEASURED_STAGES = {
    "image": ("decode_image", "resize", "normalise", *JOINING),
    "audio": ("decode", "log_mel", "waveform", *JOINING),
    "text": ("encode", "encode_batched"),
}


@dataclass(frozen=True)
class Fed:
    """``seconds`` of steps with their samples' loading; of which ``stall`` waits for the loader and
    ``copy`` for the link (medians)."""

    seconds: Estimate
    stall: float
    copy: float


@dataclass(frozen=True)
class Feed:
    """``sample_seconds``: one sample, by all ``workers`` of one device together; ``workers`` 0: by
    the process that trains. ``one_worker``: by one alone. ``copy_seconds``: a sample's way to the
    device. ``adds``: nothing overlaps. ``basis`` for notes: prior, or measured and when.
    ``slowest``: (stage, its share of a worker's time). ``most_workers``: cores for each device;
    None where unknown."""

    sample_seconds: Estimate
    workers: float
    verb: str
    basis: str
    slowest: tuple[str, float] | None = None
    most_workers: int | None = None
    one_worker: Estimate | None = None
    copy_seconds: Estimate = Estimate.exact(0.0)
    adds: bool = False

    @property
    def by(self) -> str:
        if not self.workers:
            return "the training process"
        return f"{self.workers:g} loader worker{'s' if self.workers > 1 else ''} a GPU"

    @property
    def note(self) -> str:
        verb = self.verb if self.workers else f"{self.verb}s"
        return f"{self.by} {verb} {1 / self.sample_seconds.p50:,.0f} samples/s ({self.basis})"

    def fed(self, work: Estimate, samples: float) -> Fed:
        """``work`` on so many samples, with their loading: beside it where there are workers."""
        copy = self.copy_seconds.scale(samples)
        paced = beside(work, self.sample_seconds.scale(samples), adds=self.adds)
        return Fed(paced + copy, paced.p50 - work.p50, copy.p50)

    def first_batch(self, samples: float) -> Estimate:
        """Of an epoch, for which workers begin anew: nothing overlaps it."""
        if self.adds or self.one_worker is None:
            return Estimate.exact(0.0)
        return self.one_worker.scale(samples)

    def said(self, samples: float, step: Estimate, share: float) -> str:
        """How much of the training waits for the loader, and what changes it."""
        enough = self.enough(samples, step.p50)
        return (
            f"{share:.0%} of the training waits for data: {self.note}; "
            f"{FieldName('loader_workers')} {enough:,} would keep up{self._over(enough)}"
        )

    def enough(self, samples: float, step: float) -> int:
        """Workers that keep up with a step."""
        one = (self.one_worker or self.sample_seconds.scale(max(1.0, self.workers))).p50
        return max(1, math.ceil(one * samples / step))

    def too_slow(self, samples: float, step: Estimate, device: str = "GPU") -> str:
        """The warning that loading, not the device, sets the pace, and what would help."""
        loading, enough = self.sample_seconds.scale(samples), self.enough(samples, step.p50)
        note = (
            f"the data loader sets the pace, not the {device}: "
            f"{units.format_seconds(loading.p50)} to load what takes "
            f"{units.format_seconds(step.p50)} to train on, {self.basis} rate of {self.by}"
        )
        keep = f"about {enough:,} workers a GPU would keep up{self._over(enough)}"
        keep += f" ({FieldName('loader_workers')})" if not self.workers else ""
        if self.basis == "prior":
            keep += ", or decoded data; planner calibrate --data measures it"
        if self.slowest is None:
            return f"{note}; {keep}"
        name, share = self.slowest
        spared = f"; {SPARED[name]}" if name in SPARED else ""
        return f"{note}; the slowest stage is to {name} ({share:.0%} of it); {keep}{spared}"

    def _over(self, enough: int) -> str:
        if not self.most_workers or enough <= self.most_workers:
            return ""
        return f", more than the {self.most_workers} cores there are"


def beside(work: Estimate, loading: Estimate, *, adds: bool) -> Estimate:
    """Work and loading at once, whichever is longer; one after the other where that ``adds``."""
    if adds:
        return work + loading
    return Estimate(
        max(work.p10, loading.p10), max(work.p50, loading.p50), max(work.p90, loading.p90)
    )


def feed_of(
    question: Question, recipe: Recipe, work: Work, data: DatasetProfile, spec: DeviceSpec
) -> Feed | None:
    """What loads the samples of a question's run; None where nothing is loaded, as with cached
    features."""
    if recipe.variant == "cached":
        return None
    stack = stack_of(question.stack)
    return feed(
        data,
        spec,
        pipeline_of(work, data, stack),
        sample_of(question, work, data),
        host_of(question, spec),
        asked_workers=question.loader_workers,
        is_prepared=question.prepared,
        is_awaited=bool(stack.number("reads_loss")),
    )


def feed(
    data: DatasetProfile,
    spec: DeviceSpec,
    pipeline: Pipeline,
    sample: Sample,
    machine: Host,
    *,
    asked_workers: int | None = None,
    is_prepared: bool = False,
    is_awaited: bool = True,
) -> Feed | None:
    """A measured loader of the device's profile, else priors; None where a pipeline loads nothing.

    ``sample``: what a training sample holds. ``is_prepared``: decoded and transformed already.
    ``is_awaited``: the training process waits for the device in every step; one that does not loads
    the next samples while the device works.
    """
    stages = pipeline.loaded
    if is_prepared:
        stages = tuple(stage for stage in stages if stage in (*JOINING, "token_row"))
    if not stages:
        return None
    wanted = pipeline.loader_workers if asked_workers is None else asked_workers
    entry = None if is_prepared else measured_entry(data, spec)
    copy = sample.device_bytes * link_seconds_a_byte(spec)
    copy = Estimate.exact(0.0) if AHEAD in stages else copy
    adds = spec.one_clock or (is_awaited and not wanted)
    done = MEASURED_STAGES.get(kind_of(data), ())
    if entry is not None and set(stages) & set(done) - set(JOINING):
        return _measured(data, entry, wanted, copy, adds=adds)
    seconds = {stage: seconds_of(stage, sample) for stage in stages}
    one = sum(seconds.values(), Estimate.exact(0.0))
    workers = min(wanted, machine.cores)
    slowest = max(seconds, key=lambda stage: seconds[stage].p50)
    return Feed(
        sample_seconds=one.scale(1 / max(1, workers)),
        workers=workers,
        verb="load",
        basis="prior",
        slowest=(WORDS[slowest], seconds[slowest].p50 / one.p50) if one.p50 else None,
        most_workers=machine.cores,
        one_worker=one,
        copy_seconds=copy,
        adds=adds,
    )


def kind_of(data: DatasetProfile) -> str:
    """Of a measured loader."""
    return "image" if data.modality == "image_text" else data.modality


def measured_entry(data: DatasetProfile, spec: DeviceSpec) -> Mapping[str, Any] | None:
    """The profile's loader of this kind of data; of text only one that tokenized, for data that is
    not tokenized yet."""
    if spec.calibration is None:
        return None
    modality = kind_of(data)
    entry = spec.calibration.loader.get(modality)
    if not isinstance(entry, Mapping) or entry.get("unit") != UNIT_OF[modality]:
        return None
    return None if modality == "text" and not data.tokenizer else entry


def _measured(
    data: DatasetProfile, entry: Mapping[str, Any], wanted: int, copy: Estimate, *, adds: bool
) -> Feed:
    """One core for each device is left to the process that trains."""
    devices = max(1, entry["devices"])
    cores = max(1, entry["cores"] // devices)
    workers = min(wanted, max(1, cores - 1))
    one = measured_seconds(data, entry)
    gain = worker_gain(entry, workers * devices) / devices if workers else 1.0
    return Feed(
        sample_seconds=one.scale(1 / gain),
        workers=workers,
        verb="load",
        basis=f"measured {entry['date']}",
        slowest=slowest_stage(entry),
        most_workers=cores,
        one_worker=one,
        copy_seconds=copy,
        adds=adds,
    )


def measured_seconds(data: DatasetProfile, entry: Mapping[str, Any]) -> Estimate:
    """Of one worker for a record of this data: as measured, less sure for other sizes."""
    amount = _units(data)
    middle = worker_seconds(entry, amount) + _from_disk(data, entry)
    away = (
        0.0
        if amount is None or not entry["mean_units"]
        else min(1.0, abs(math.log(max(amount, 1e-9) / entry["mean_units"])))
    )
    sigma = math.hypot(entry.get("scatter_log") or 0.0, entry["sigma_log"] * away)
    return Estimate.with_spread(middle, sigma) * overhead("loader_seconds_ratio")


def _units(data: DatasetProfile) -> float | None:
    """Mean pixels, seconds of sound or tokens of a sample; None where the data does not tell."""
    if data.modality in ("image", "image_text"):
        return (
            None if data.image_sizes is None else float(data.image_sizes[0] * data.image_sizes[1])
        )
    if data.modality == "audio":
        return None if data.audio_seconds is None else float(data.audio_seconds.mean())
    sides = [side.mean() for side in data.record_lengths]
    return float(sum(sides)) if sides else None


def _from_disk(data: DatasetProfile, entry: Mapping[str, Any]) -> float:
    """Extra seconds a sample for data that the page cache cannot hold: every epoch reads it from
    disk."""
    dropped, memory = entry.get("dropped_read_seconds"), entry.get("memory_bytes")
    warm, size = entry["stages"].get("read"), data.bytes_on_disk
    if dropped is None or memory is None or warm is None or size is None:
        return 0.0
    if size <= memory or not entry.get("mean_bytes"):
        return 0.0
    return max(0.0, dropped - warm["seconds"]) * size / max(1, data.samples) / entry["mean_bytes"]
