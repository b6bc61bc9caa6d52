"""What this host can feed: reading, decoding and tokenizing a sample of the user's own data, by one
worker and by many.

``measure_loader(path) -> records`` for the journal of a calibration; ``loader_summary(records)``
for the device profile.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from planner.datasets.loader.rate import loader_summary
from planner.datasets.loader.sources import (
    MOST_ITEMS,
    Pieces,
    Rows,
    Texts,
    forget_pages,
    open_source,
    version,
)
from planner.datasets.loader.stages import Pipeline, collate, pipeline
from planner.datasets.loader.workers import (
    Prepared,
    measure_workers,
    usable_cores,
    usable_memory_bytes,
    worker_counts,
)
from planner.errors import DataError
from planner.today import system_date

__all__ = ["loader_summary", "measure_loader"]

#: Shares of the time for the stages of one worker and for reading without the page cache; the rest
#: is for real loaders.
STAGES_SHARE, DROPPED_SHARE = 0.4, 0.1
#: Calls before the first that counts: they import libraries and fill their tables.
WARM_UP = 2
#: Samples that are joined to a batch to time the joining, and how often.
COLLATED, COLLATIONS = 8, 5
#: Samples that are tried whatever the time.
LEAST_ITEMS = 8
#: Passes over the samples, however fast they are.
MOST_PASSES = 20
#: Later passes count alone once they hold so many samples: the first found the page cache as it
#: was.
ENOUGH_LATER = 20
SEED = 0
#: What Python prints of an object in memory: of no use in a message.
OBJECT = re.compile(r"\s*<[^<>]* at 0x[0-9a-f]+>")


@dataclass
class Measured:
    """Seconds of each stage of each sample that could be prepared, with the pass in which it was
    timed."""

    stages: tuple[str, ...]
    index: list[int] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    units: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    seconds: list[list[float]] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)
    outputs: list[Any] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """Samples that were tried, broken ones too."""
        return len(set(self.index)) + len(self.broken)

    def kept(self) -> np.ndarray:
        """Rows that count: those of later passes where there are enough."""
        passes = np.array(self.passes)
        later = np.flatnonzero(passes > 0)
        return (
            later
            if len(later) >= min(ENOUGH_LATER, len(set(self.index)))
            else np.arange(len(passes))
        )


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
    base = {"record": "loader", "date": system_date().isoformat(), "modality": source.modality}
    with _one_thread():
        measured = _time_stages(source, pipe, seconds * STAGES_SHARE)
        parsing = _parsing(source, seconds * DROPPED_SHARE) if isinstance(source, Texts) else None
        collating = _collating(measured.outputs)
        dropped = _dropped(source, measured, seconds * DROPPED_SHARE)
    about = _about(source, pipe, measured)
    for what, mend in (*pipe.doubts, *_broken(source, measured)):
        yield {"record": "trust", "what": f"data loader: {what}", "mend": mend}
    whole, stages = _stage_records(base, source, pipe, measured, collating, about)
    if parsing is not None:
        yield {
            **base,
            "stage": "parse",
            "per": "sample",
            "once": True,
            **_figures(parsing),
            "library": source.parse.library,
            "data": about,
        }
    yield from stages
    if dropped is not None:
        yield {
            **base,
            "stage": "read",
            "per": "sample",
            "cache": "dropped",
            **_figures(dropped),
            "library": source.library,
            "data": about,
        }
    yield whole
    yield from _worker_records(
        base, source, pipe, measured, float(np.mean(whole["samples"])), workers, seconds
    )


def _time_stages(source: Pieces | Rows | Texts, pipe: Pipeline, seconds: float) -> Measured:
    """Pass after pass over the samples, in an order that makes a part of a pass speak for all.
    Raises DataError when none can be prepared."""
    measured = Measured(("read", *(stage.name for stage in pipe.stages)))
    order = np.random.default_rng(SEED).permutation(len(source)).tolist()
    for index in order[:WARM_UP]:
        _prepare(source, pipe, index)
    end, number = time.perf_counter() + seconds, 0
    while number < MOST_PASSES:
        for index in order:
            if index not in measured.broken:
                _add(measured, index, number, _prepare(source, pipe, index))
            if (
                time.perf_counter() > end
                and measured.index
                and measured.seen >= min(LEAST_ITEMS, len(order))
            ):
                return measured
        if not measured.index:
            index, reason = next(iter(measured.broken.items()))
            raise DataError(
                f"none of the {len(order)} samples read can be prepared: {reason}",
                where=source.name(index),
                mend="Check the data",
            )
        number += 1
    return measured


def _prepare(source, pipe: Pipeline, index: int):
    """(seconds of each stage, units, bytes, what came out), or the reason why not."""
    try:
        start = time.perf_counter()
        value = source.read(index)
        spent = [time.perf_counter() - start]
        size, units = _size(value), pipe.amount(value) if pipe.amount else 0.0
        for stage in pipe.stages:
            start = time.perf_counter()
            value = stage.run(value)
            spent.append(time.perf_counter() - start)
            units = stage.amount(value) if stage.amount else units
    # Pillow's and soundfile's codecs raise nearly anything for a broken file
    except Exception as error:
        return OBJECT.sub("", f"{type(error).__name__}: {error}".splitlines()[0])
    return spent, units, size, value


def _add(measured: Measured, index: int, number: int, found) -> None:
    if isinstance(found, str):
        measured.broken[index] = found
        return
    seconds, units, size, output = found
    (
        measured.index.append(index),
        measured.passes.append(number),
        measured.units.append(float(units)),
    )
    measured.sizes.append(size), measured.seconds.append(seconds)
    if len(measured.outputs) < COLLATED:
        measured.outputs.append(output)


def _size(value: bytes | list) -> int:
    if isinstance(value, bytes):
        return len(value)
    return sum(
        len(part.encode("utf-8", errors="replace"))
        if isinstance(part, str)
        else np.dtype(np.int64).itemsize
        for part in value
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)


def _parsing(source: Texts, seconds: float) -> list[float]:
    """Seconds a record of reading and parsing the files in bulk, which training does once: of
    several rounds after the first."""
    rounds, end = [], time.perf_counter() + seconds
    while len(rounds) < 2 or time.perf_counter() < end:
        spent, records = source.parse()
        rounds.append(spent / records)
    return rounds[1:]


def _collating(outputs: list[Any]) -> list[float]:
    """Seconds a sample of joining a batch."""
    found = []
    for _ in range(COLLATIONS):
        start = time.perf_counter()
        collate(outputs)
        found.append((time.perf_counter() - start) / len(outputs))
    return found


def _dropped(
    source: Pieces | Rows | Texts, measured: Measured, seconds: float
) -> list[float] | None:
    """Seconds a sample of reading after the page cache was asked to forget the files; None where it
    cannot be asked."""
    if not isinstance(source, Pieces):
        return None  # the rows of a table are in memory by now
    found, end = [], time.perf_counter() + seconds
    for index in dict.fromkeys(measured.index):
        piece = source.pieces[index]
        if piece.blob is not None or not forget_pages([piece.file]):
            return found or None
        start = time.perf_counter()
        source.read(index)
        found.append(time.perf_counter() - start)
        if time.perf_counter() > end:
            break
    return found


def _about(source: Pieces | Rows | Texts, pipe: Pipeline, measured: Measured) -> dict[str, Any]:
    """The data in figures: what a rate measured on it may be carried over to."""
    kept = measured.kept()
    return {
        "format": source.format,
        "samples": source.samples,
        "measured": len(set(measured.index)),
        "skipped": len(measured.broken),
        "mean_bytes": float(np.mean(np.array(measured.sizes)[kept])),
        f"mean_{pipe.unit}s": float(np.mean(np.array(measured.units)[kept])),
        "said": [*source.said, *pipe.said],
    }


def _broken(source, measured: Measured) -> list[tuple[str, str]]:
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


def _figures(values: Sequence[float], means: Sequence[float] | None = None) -> dict[str, Any]:
    """``values`` in seconds a unit; ``means``: seconds a sample where the unit is another."""
    low, middle, high = np.percentile(values, (10, 50, 90))
    return {
        "seconds": float(middle),
        "low": float(low),
        "high": float(high),
        "mean_seconds": float(np.mean(values if means is None else means)),
        "samples": [float(v) for v in values],
    }


def _stage_records(
    base: dict, source, pipe: Pipeline, measured: Measured, collating: list[float], about: dict
) -> tuple[dict, list[dict]]:
    """(the whole, its stages). A sample's figure is the median of its passes: one that was
    disturbed does not count."""
    kept = measured.kept()
    index, passes = np.array(measured.index)[kept], np.array(measured.passes)[kept]
    seconds, units = np.array(measured.seconds)[kept], np.array(measured.units)[kept]
    each = np.unique(index)
    by_sample = np.array([np.median(seconds[index == i], axis=0) for i in each])
    amount = np.array([units[index == i][0] for i in each])
    stages = []
    for column, (name, per, library) in enumerate(
        [("read", "sample", source.library), *((s.name, s.per, s.library) for s in pipe.stages)]
    ):
        spent, usable = by_sample[:, column], amount > 0
        values = spent if per == "sample" or not usable.any() else spent[usable] / amount[usable]
        stages.append(
            {
                **base,
                "stage": name,
                "per": per,
                **_figures(values, spent),
                "library": library,
                "data": about,
                **({"cache": "warm"} if name == "read" else {}),
            }
        )
    stages.append(
        {
            **base,
            "stage": "collate",
            "per": "sample",
            **_figures(collating, [float(np.median(collating))]),
            "library": version("torch"),
            "data": about,
        }
    )
    total = by_sample.sum(axis=1) + np.median(collating)
    rounds = [
        float(seconds[passes == p].sum(axis=1).mean())
        for p in np.unique(passes)
        if set(index[passes == p]) == set(each)
    ]
    whole = {
        **base,
        "stage": "whole",
        "per": "sample",
        **_figures(total),
        "unit": pipe.unit,
        "units": amount.tolist(),
        "rounds": rounds,
        "host": {
            "cores": usable_cores(),
            "memory_bytes": usable_memory_bytes(),
            "devices": _devices(),
        },
        "library": version("torch"),
        "data": about,
    }
    return whole, stages


def _devices() -> int:
    """Accelerators that share this host's cores, at least 1."""
    import torch

    return max(1, torch.cuda.device_count())


def _worker_records(
    base: dict,
    source,
    pipe: Pipeline,
    measured: Measured,
    whole_seconds: float,
    workers: Sequence[int] | None,
    seconds: float,
) -> Iterator[dict[str, Any]]:
    if pipe.unit == "byte":
        return  # nothing is prepared without a tokenizer
    prepared = Prepared(source, pipe.stages, tuple(dict.fromkeys(measured.index)))
    counts = list(workers) if workers is not None else worker_counts(usable_cores())
    try:
        for found in measure_workers(
            prepared, whole_seconds, counts, seconds * (1 - STAGES_SHARE - DROPPED_SHARE)
        ):
            yield {**base, "stage": "workers", **found, "library": version("torch")}
    except (RuntimeError, OSError) as error:
        yield {
            "record": "trust",
            "what": f"data loader: worker processes failed: {str(error).splitlines()[0]}",
            "mend": "Give the container more shared memory (docker run --shm-size 8g) and "
            "measure again",
        }
