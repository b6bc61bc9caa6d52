"""The seconds that one worker, on one core, takes for each stage of each sample."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from planner.blame import raised_by_planner
from planner.datasets.loader.page_cache import forget_pages
from planner.datasets.loader.sources import Pieces, Source, Texts
from planner.datasets.loader.stages import Pipeline, collate
from planner.errors import DataError

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


@dataclass(frozen=True)
class PreparedSample:
    """``seconds`` of each stage, ``units`` of the data, ``size`` in bytes as read, and what came
    out."""

    seconds: list[float]
    units: float
    size: int
    output: Any


class BrokenSampleError(Exception):
    """A sample that a stage cannot prepare; the message is one line."""


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

    def add(self, index: int, number: int, sample: PreparedSample) -> None:
        """What pass ``number`` made of sample ``index``."""
        self.index.append(index)
        self.passes.append(number)
        self.units.append(float(sample.units))
        self.sizes.append(sample.size)
        self.seconds.append(sample.seconds)
        if len(self.outputs) < COLLATED:
            self.outputs.append(sample.output)

    def kept(self) -> np.ndarray:
        """Rows that count: those of later passes where there are enough."""
        passes = np.array(self.passes)
        later = np.flatnonzero(passes > 0)
        return (
            later
            if len(later) >= min(ENOUGH_LATER, len(set(self.index)))
            else np.arange(len(passes))
        )


def time_stages(source: Source, pipe: Pipeline, seconds: float) -> Measured:
    """Pass after pass over the samples, in an order that makes a part of a pass speak for all.
    Raises DataError when none can be prepared."""
    measured = Measured(("read", *(stage.name for stage in pipe.stages)))
    order = np.random.default_rng(SEED).permutation(len(source)).tolist()
    for index in order[:WARM_UP]:
        with suppress(BrokenSampleError):
            _prepare(source, pipe, index)
    end = time.perf_counter() + seconds
    for number in range(MOST_PASSES):
        for index in order:
            if index not in measured.broken:
                _try(measured, source, pipe, index, number)
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
    return measured


def _try(measured: Measured, source: Source, pipe: Pipeline, index: int, number: int) -> None:
    try:
        measured.add(index, number, _prepare(source, pipe, index))
    except BrokenSampleError as error:
        measured.broken[index] = str(error)


def _prepare(source: Source, pipe: Pipeline, index: int) -> PreparedSample:
    """One sample through every stage, timed. Raises BrokenSampleError."""
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
        if raised_by_planner(error):
            raise
        line = OBJECT.sub("", f"{type(error).__name__}: {error}".splitlines()[0])
        raise BrokenSampleError(line) from error
    return PreparedSample(spent, units, size, value)


def _size(value: bytes | Sequence[str] | Sequence[int]) -> int:
    if isinstance(value, bytes):
        return len(value)
    return sum(
        len(part.encode("utf-8", errors="replace"))
        if isinstance(part, str)
        else np.dtype(np.int64).itemsize
        for part in value
    )


@contextmanager
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)


def parsing(source: Texts, seconds: float) -> list[float]:
    """Seconds a record of reading and parsing the files in bulk, which training does once: of
    several rounds after the first."""
    rounds, end = [], time.perf_counter() + seconds
    while len(rounds) < 2 or time.perf_counter() < end:
        spent, records = source.parse()
        rounds.append(spent / records)
    return rounds[1:]


def collating(outputs: list[Any]) -> list[float]:
    """Seconds a sample of joining a batch."""
    found = []
    for _ in range(COLLATIONS):
        start = time.perf_counter()
        collate(outputs)
        found.append((time.perf_counter() - start) / len(outputs))
    return found


def dropped(source: Source, measured: Measured, seconds: float) -> list[float] | None:
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
