"""What this host can feed: reading, decoding and tokenizing a sample of the user's own data, by one
worker and by many.

``measure_loader(path) -> records`` for the journal of a calibration; ``loader_summary(records)``
for the device profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from planner.datasets.loader.opening import MOST_ITEMS, open_source
from planner.datasets.loader.pipelines import pipeline
from planner.datasets.loader.rate import loader_summary
from planner.datasets.loader.sources import Source, Texts, version
from planner.datasets.loader.stages import Pipeline
from planner.datasets.loader.timing import (
    Measured,
    collating,
    dropped,
    one_thread,
    parsing,
    time_stages,
)
from planner.datasets.loader.workers import (
    Prepared,
    measure_workers,
    usable_cores,
    usable_memory_bytes,
    worker_counts,
)
from planner.today import system_date

__all__ = ["loader_summary", "measure_loader"]

#: Shares of the time for the stages of one worker and for reading without the page cache; the rest
#: is for real loaders.
STAGES_SHARE, DROPPED_SHARE = 0.4, 0.1


def measure_loader(
    path: str | Path,
    *,
    seconds: float = 10.0,
    tokenizer_path: str | Path | None = None,
    task: str | None = None,
    image_size: int | None = None,
    text_columns: Sequence[str] | None = None,
    workers: Sequence[int] | None = None,
    most: int = MOST_ITEMS,
) -> Iterator[dict[str, Any]]:
    """Records ``loader`` of every stage, of the whole, of reading past the page cache and of real
    DataLoaders; ``trust`` where something could not be measured.

    One worker means one core: torch's threads are one while stages are timed, as inside of
    DataLoader's workers. ``workers``: the numbers of workers to try, by default 0, 1, 2, 4 … up to
    the cores. ``seconds`` bounds the measuring, not the imports. Raises DataError for a path
    without a readable sample, MissingExtraError for a library that nothing replaces.
    """
    source = open_source(path, task=task, text_columns=text_columns, most=most)
    pipe = pipeline(source, task=task, tokenizer_path=tokenizer_path, image_size=image_size)
    with one_thread():
        measured = time_stages(source, pipe, seconds * STAGES_SHARE)
        parsed = parsing(source, seconds * DROPPED_SHARE) if isinstance(source, Texts) else None
        joined = collating(measured.outputs)
        uncached = dropped(source, measured, seconds * DROPPED_SHARE)
    for doubt, mend in (*pipe.doubts, *_broken(source, measured)):
        yield {"record": "trust", "what": f"data loader: {doubt}", "mend": mend}
    records = _Records(source, pipe, measured)
    if isinstance(source, Texts) and parsed is not None:
        once = {"per": "sample", "once": True}
        yield records.stage("parse", once, parsed, library=source.parse.library)
    whole, stages = records.whole_and_stages(joined)
    yield from stages
    if uncached is not None:
        yield records.stage("read", {"per": "sample", "cache": "dropped"}, uncached)
    yield whole
    left = seconds * (1 - STAGES_SHARE - DROPPED_SHARE)
    yield from records.workers(float(np.mean(whole["samples"])), workers, left)


class _Records:
    """The records of one measurement: ``base`` and ``data`` are what all of them share."""

    def __init__(self, source: Source, pipe: Pipeline, measured: Measured) -> None:
        self.source, self.pipe, self.measured = source, pipe, measured
        self.data = _described(source, pipe, measured)
        self.base = {
            "record": "loader",
            "date": system_date().isoformat(),
            "modality": source.modality,
        }

    def stage(
        self,
        name: str,
        about: Mapping[str, Any],
        values: Sequence[float] | np.ndarray,
        means: Sequence[float] | np.ndarray | None = None,
        *,
        library: str | None = None,
    ) -> dict[str, Any]:
        """``about``: its unit and what else sets the record apart; ``library``: what did it, by
        default the source's."""
        return {
            **self.base,
            "stage": name,
            **about,
            **_figures(values, means),
            "library": library or self.source.library,
            "data": self.data,
        }

    def whole_and_stages(
        self, collating_seconds: list[float]
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """A sample's figure is the median of its passes: one that was disturbed does not count."""
        table = _SampleTable.of(self.measured)
        joining = float(np.median(collating_seconds))
        stages = [*self._timed_stages(table)]
        per_sample = {"per": "sample"}
        stages.append(
            self.stage(
                "collate", per_sample, collating_seconds, [joining], library=version("torch")
            )
        )
        total = table.by_sample.sum(axis=1) + joining
        whole = self.stage("whole", per_sample, total, library=version("torch"))
        whole |= {
            "unit": self.pipe.unit,
            "units": table.amount.tolist(),
            "rounds": table.rounds(),
            "host": {
                "cores": usable_cores(),
                "memory_bytes": usable_memory_bytes(),
                "devices": _devices(),
            },
        }
        return whole, stages

    def _timed_stages(self, table: _SampleTable) -> Iterator[dict[str, Any]]:
        timed = [
            ("read", "sample", self.source.library),
            *((stage.name, stage.per, stage.library) for stage in self.pipe.stages),
        ]
        usable = table.amount > 0
        for column, (name, per, library) in enumerate(timed):
            spent = table.by_sample[:, column]
            by_unit = per != "sample" and bool(usable.any())
            values = spent[usable] / table.amount[usable] if by_unit else spent
            cache = {"cache": "warm"} if name == "read" else {}
            yield self.stage(name, {"per": per, **cache}, values, spent, library=library)

    def workers(
        self, whole_seconds: float, workers: Sequence[int] | None, seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Of real loaders with several numbers of workers; a doubt where they cannot be
        started."""
        if self.pipe.unit == "byte":
            return  # nothing is prepared without a tokenizer
        indices = tuple(dict.fromkeys(self.measured.index))
        prepared = Prepared(self.source, self.pipe.stages, indices)
        counts = list(workers) if workers is not None else worker_counts(usable_cores())
        try:
            for found in measure_workers(prepared, whole_seconds, counts, seconds):
                yield {**self.base, "stage": "workers", **found, "library": version("torch")}
        except (RuntimeError, OSError) as error:
            yield {
                "record": "trust",
                "what": f"data loader: worker processes failed: {str(error).splitlines()[0]}",
                "mend": "Give the container more shared memory (docker run --shm-size 8g) and "
                "measure again",
            }


@dataclass(frozen=True)
class _SampleTable:
    """The timings that count. ``index`` and ``passes`` int64 [n_timings], ``seconds`` float64
    [n_timings, n_stages]; ``by_sample`` float64 [n_samples, n_stages] and ``amount`` float64
    [n_samples] of each sample once."""

    index: np.ndarray
    passes: np.ndarray
    seconds: np.ndarray
    by_sample: np.ndarray
    amount: np.ndarray

    @classmethod
    def of(cls, measured: Measured) -> _SampleTable:
        kept = measured.kept()
        index, passes = np.array(measured.index)[kept], np.array(measured.passes)[kept]
        seconds, units = np.array(measured.seconds)[kept], np.array(measured.units)[kept]
        each = np.unique(index)
        by_sample = np.array([np.median(seconds[index == i], axis=0) for i in each])
        amount = np.array([units[index == i][0] for i in each])
        return cls(index, passes, seconds, by_sample, amount)

    def rounds(self) -> list[float]:
        """Mean seconds of a sample in each pass that saw every sample."""
        each = set(self.index)
        return [
            float(self.seconds[self.passes == number].sum(axis=1).mean())
            for number in np.unique(self.passes)
            if set(self.index[self.passes == number]) == each
        ]


def _described(source: Source, pipe: Pipeline, measured: Measured) -> dict[str, Any]:
    """The data in figures: what a rate measured on it may be carried over to."""
    kept = measured.kept()
    return {
        "format": source.format,
        "samples": source.samples,
        "measured": len(set(measured.index)),
        "skipped": len(measured.broken),
        "mean_bytes": float(np.mean(np.array(measured.sizes)[kept])),
        f"mean_{pipe.unit}s": float(np.mean(np.array(measured.units)[kept])),
        "said": [*source.notes, *pipe.notes],
    }


def _broken(source: Source, measured: Measured) -> list[tuple[str, str]]:
    if not measured.broken:
        return []
    index, reason = next(iter(measured.broken.items()))
    return [
        (
            f"{len(measured.broken)} of {measured.seen} samples cannot be prepared and were "
            f"skipped, the first {source.name(index)}: {reason}",
            "Remove or replace the broken samples",
        )
    ]


def _figures(
    values: Sequence[float] | np.ndarray, means: Sequence[float] | np.ndarray | None
) -> dict[str, Any]:
    """``values`` in seconds a unit; ``means``: seconds a sample where the unit is another."""
    low, middle, high = np.percentile(values, (10, 50, 90))
    return {
        "seconds": float(middle),
        "low": float(low),
        "high": float(high),
        "mean_seconds": float(np.mean(values if means is None else means)),
        "samples": [float(v) for v in values],
    }


def _devices() -> int:
    """Accelerators that share this host's cores, at least 1."""
    import torch

    return max(1, torch.cuda.device_count())
