"""What the host feeds one device: samples read, decoded, transformed and tokenized, by measurement
where there is one.

A measured loader (``planner calibrate --data``) is a part of the device's profile; elsewhere the
rows of ``profiles/priors/run.csv`` stand in. Text costs next to nothing and counts once it was
measured.
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
from planner.figures import Estimate
from planner.uncertainty.spread import overhead

#: What each stage of a loader does to a sample, and what spares it.
VERBS = {"text": "tokenize", "audio": "decode", "image": "decode", "image_text": "decode"}
SPARED = {
    "read": "keep the data on a faster disk, or in fewer and larger files",
    "decode": "store smaller or decoded data",
    "transform": "transform once before training, or on the GPU",
    "resample": "resample once before training",
    "tokenize": "tokenize once before training",
}
UNIT_OF = {"image": "pixel", "audio": "audio_second", "text": "token"}


@dataclass(frozen=True)
class Feed:
    """``sample_seconds``: one sample, by all ``workers`` of one device together. ``basis`` for
    notes: prior, or measured and when. ``slowest``: (stage, its share of a worker's time).
    ``most_workers``: cores for each device; None where unknown."""

    sample_seconds: Estimate
    workers: float
    verb: str
    basis: str
    slowest: tuple[str, float] | None = None
    most_workers: int | None = None

    @property
    def note(self) -> str:
        return (
            f"{self.workers:g} loader workers a GPU {self.verb} "
            f"{1 / self.sample_seconds.p50:,.0f} samples/s ({self.basis})"
        )

    def too_slow(self, samples: int, step: Estimate, device: str = "GPU") -> str:
        """The warning that loading, not the device, sets the pace, and what would help."""
        loading = self.sample_seconds.scale(samples)
        enough = math.ceil(self.workers * loading.p50 / step.p50)
        note = (
            f"the data loader sets the pace, not the {device}: "
            f"{units.format_seconds(loading.p50)} to load what takes "
            f"{units.format_seconds(step.p50)} to train on, {self.basis} rate of "
            f"{self.workers:g} worker{'s' if self.workers > 1 else ''}"
        )
        if self.slowest is None:
            return (
                f"{note}; about {enough:,} workers a GPU would keep up, or decoded data; "
                "planner calibrate --data measures it"
            )
        name, share = self.slowest
        over = (
            f", more than the {self.most_workers} cores there are"
            if self.most_workers and enough > self.most_workers
            else ""
        )
        return (
            f"{note}; the slowest stage is to {name} ({share:.0%} of it); about {enough:,} "
            f"workers a GPU would keep up{over}" + (f"; {SPARED[name]}" if name in SPARED else "")
        )


def feed(
    data: DatasetProfile, spec: DeviceSpec, samples_per_epoch: int | None = None
) -> Feed | None:
    """A measured loader of the device's profile, else a prior; None for counts, and for text that
    nobody measured.

    ``samples_per_epoch``: training samples where they are not the data's (records packed into
    sequences).
    """
    if data.source == "counts":
        return None
    entry = measured_entry(data, spec)
    if entry is not None:
        return _measured(data, entry, data.samples / (samples_per_epoch or data.samples))
    rate = host_rate(data)
    if rate is None:
        return None
    workers = overhead("workers").p50
    if spec.one_clock and spec.sm_count:
        workers = min(workers, spec.sm_count)
    seconds = Estimate(*(1 / (value * workers) for value in (rate.p90, rate.p50, rate.p10)))
    return Feed(seconds, workers, VERBS[data.modality], "prior")


def host_rate(data: DatasetProfile) -> Estimate | None:
    """Samples a second that one loader process prepares by our priors; None for text."""
    if data.modality in ("image", "image_text"):
        return overhead("images_per_second_per_worker")
    if data.modality == "audio" and data.audio_seconds is not None:
        return overhead("audio_seconds_per_second_per_worker").scale(
            1 / max(0.1, float(data.audio_seconds.mean()))
        )
    return None


def measured_entry(data: DatasetProfile, spec: DeviceSpec) -> Mapping[str, Any] | None:
    """The profile's loader of this kind of data; of text only one that tokenized, for data that is
    not tokenized yet."""
    if spec.calibration is None:
        return None
    modality = "image" if data.modality == "image_text" else data.modality
    entry = spec.calibration.loader.get(modality)
    if not isinstance(entry, Mapping) or entry.get("unit") != UNIT_OF[modality]:
        return None
    return None if modality == "text" and not data.tokenizer else entry


def _measured(data: DatasetProfile, entry: Mapping[str, Any], records: float) -> Feed:
    """``records`` of the data make a training sample. One core for each device is left to the
    process that trains."""
    amount, devices = _units(data), max(1, entry["devices"])
    seconds_on_one = (worker_seconds(entry, amount) + _from_disk(data, entry)) * records
    cores = max(1, entry["cores"] // devices)
    workers = max(1, cores - 1)
    middle = seconds_on_one / (worker_gain(entry, workers * devices) / devices)
    away = (
        0.0
        if amount is None or not entry["mean_units"]
        else min(1.0, abs(math.log(max(amount, 1e-9) / entry["mean_units"])))
    )
    sigma = math.hypot(entry.get("scatter_log") or 0.0, entry["sigma_log"] * away)
    ratio = overhead("loader_seconds_ratio")
    return Feed(
        sample_seconds=Estimate.with_spread(middle, sigma) * ratio,
        workers=workers,
        verb=VERBS[data.modality],
        basis=f"measured {entry['date']}",
        slowest=slowest_stage(entry),
        most_workers=cores,
    )


def _units(data: DatasetProfile) -> float | None:
    """Mean pixels, seconds of sound or tokens of a sample; None where the data does not tell."""
    if data.modality in ("image", "image_text"):
        return (
            None if data.image_sizes is None else float(data.image_sizes[0] * data.image_sizes[1])
        )
    if data.modality == "audio":
        return None if data.audio_seconds is None else float(data.audio_seconds.mean())
    sides = [side.mean() for side in (data.lengths, data.target_lengths) if side is not None]
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
