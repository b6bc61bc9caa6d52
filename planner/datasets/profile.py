"""DatasetProfile: everything the planner knows of a dataset. Counts and lengths only, never the
data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from planner.datasets import batching
from planner.datasets.batching import BatchPlan, Spread, spread_lengths
from planner.datasets.tabular.rows import TableRows
from planner.datasets.tabular.series import SeriesFound
from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine

MODALITIES = ("text", "image", "audio", "image_text", "series", "table")
PERCENTILES = (1, 10, 25, 50, 75, 90, 95, 99)


@dataclass(frozen=True, eq=False)
class DatasetProfile:
    """What a scan found. Arrays are read-only by convention.

    ``samples`` records in all; ``sampled`` of them were really counted. ``lengths`` int64
    [sampled]: tokens a sample, special and template tokens included; ``target_lengths`` the same of
    an encoder-decoder's targets (int64 [sampled]); ``audio_seconds`` float64. ``image_sizes``:
    (median width, median height, largest width, largest height) in pixels; ``image_shapes`` int64
    [sampled, 2] the width and height of each, ``objects`` int64 [sampled] the boxes or masks of
    each where annotations count them; ``images_per_sample``
    their mean number. ``classes``: distinct
    labels seen. ``samples_relative_error`` and ``length_relative_error``: one standard deviation
    over the value, of the number of records and of their mean length (sampling and tokenizer
    together). ``columns``: role → column. ``tokenizer``: what turned text into tokens. ``spread``:
    of lengths that only a mean is known of; ``lengths`` are then quantiles (float64) that stand for
    all samples, and ``longest_input`` and ``longest_target`` the longest of all. ``negatives``:
    hard negatives beside each query; ``target_lengths`` are then those of a passage, right or
    wrong. ``told_task``: what its columns alone tell that it is for. ``rows``: the columns of a
    table, ``series``: the series in one; its samples are rows.
    ``rejected_lengths`` and ``prompt_lengths`` int64 [sampled]: tokens of the rejected half of a
    pair, of what stands before the last answer, where an objective asks for them; ``trained_as``:
    how many of what it learns from. ``halves``: lengths of both texts of a pair; ``lengths`` are of
    the longer, to which both are padded. ``prompts``: of samples that are written, their prompts.
    """

    modality: str
    samples: int
    lengths: np.ndarray | None = None
    target_lengths: np.ndarray | None = None
    audio_seconds: np.ndarray | None = None
    image_sizes: tuple[int, int, int, int] | None = None
    image_shapes: np.ndarray | None = None
    objects: np.ndarray | None = None
    images_per_sample: float | None = None
    classes: int | None = None
    sampled: int = 0
    length_relative_error: float = 0.0
    samples_relative_error: float = 0.0
    bytes_on_disk: int | None = None
    source: str = ""
    format: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    tokenizer: str = ""
    spread: Spread | None = None
    longest_input: float | None = None
    longest_target: float | None = None
    rejected_lengths: np.ndarray | None = None
    prompt_lengths: np.ndarray | None = None
    negatives: int | None = None
    told_task: str | None = None
    rows: TableRows | None = None
    series: SeriesFound | None = None
    trained_as: str = ""
    halves: tuple[np.ndarray, ...] = ()
    prompts: int | None = None
    first_lines: tuple[FirstLine, ...] = ()
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Every record was counted."""
        return self.sampled >= self.samples

    @property
    def mean_length(self) -> float | None:
        return None if self.lengths is None else float(self.lengths.mean())

    @property
    def tokens(self) -> float | None:
        """Real tokens of all samples, those of the targets included, before anything is cut; None
        where there are none."""
        inputs = [(half, 1) for half in self.halves] or [(self.lengths, 1)]
        sides = (*inputs, (self.target_lengths, self.targets_per_sample))
        means = [texts * float(side.mean()) for side, texts in sides if side is not None]
        return sum(means) * self.samples if means else None

    @property
    def targets_per_sample(self) -> int:
        """A positive and its hard negatives; one target of others."""
        return 1 + (self.negatives or 0)

    @property
    def inputs_per_sample(self) -> int:
        """Both halves of a pair; one input of others."""
        return max(1, len(self.halves))

    @property
    def record_lengths(self) -> list[np.ndarray]:
        """Of each text that a record holds: inputs and targets, both halves of a pair, a prompt
        without what the model will write."""
        targets = self.target_lengths if self.prompts is None else None
        return [s for s in (*(self.halves or (self.lengths,)), targets) if s is not None]

    def tokens_within(self, limit: float | None) -> float | None:
        """Real tokens of all inputs, each cut at ``limit``."""
        every = self.lengths
        return None if every is None else batching.cut_mean(every, limit) * self.samples

    @classmethod
    def from_counts(
        cls,
        samples: int,
        tokens_per_sample: float | None = None,
        target_tokens_per_sample: float | None = None,
        modality: str = "text",
        seconds_per_sample: float | None = None,
    ) -> DatasetProfile:
        """See ``from_counts`` below."""
        return from_counts(
            samples, tokens_per_sample, target_tokens_per_sample, modality, seconds_per_sample
        )

    def batches(
        self,
        micro_batch: int,
        *,
        padding: str = "longest",
        max_length: int | None = None,
        target_max_length: int | None = None,
        grouped_step: int | None = None,
        seed: int = 0,
    ) -> BatchPlan:
        """Cuts one epoch into micro-batches of ``micro_batch`` samples. Raises QuestionError.

        ``longest`` pads each micro-batch to its longest sample, ``max`` every one to
        ``max_length``, ``packed`` joins the samples and cuts them every ``max_length`` tokens,
        ``free`` lays those of a micro-batch one after the other. Targets are truncated at
        ``target_max_length``, else at ``max_length``; ``max`` pads them to their own longest.
        ``grouped_step``: records are grouped by length, so many samples of a device in a step.
        """
        batching.check(micro_batch, padding, max_length, self.lengths is not None)
        if padding == "packed" and self.lengths is not None and max_length is not None:
            return self._packed(self.lengths, micro_batch, max_length)
        values: dict[str, Any] = {
            "longest_is_extrapolated": not self.whole
            and padding in ("longest", "free")
            and self._measured,
            "targets_per_sample": self.targets_per_sample,
            "inputs_per_sample": self.inputs_per_sample,
        }
        inputs, targets = (
            self._pad(a, micro_batch, limit, padding, longest, step)
            for a, limit, longest, step in (
                (self.lengths, max_length, self.longest_input, grouped_step),
                (
                    self.target_lengths,
                    target_max_length or self._target_limit(max_length, padding),
                    self.longest_target,
                    None,
                ),
            )
        )
        for prefix, part, texts in (
            ("", inputs, self.inputs_per_sample),
            ("target_", targets, self.targets_per_sample),
        ):
            if part is not None:
                values |= {
                    f"{prefix}longest_length": math.ceil(part.longest),
                    f"{prefix}mean_padded_length": part.mean_padded,
                    f"{prefix}tokens_per_epoch": texts * part.real,
                    f"{prefix}padded_tokens_per_epoch": texts * part.padded,
                    f"{prefix}truncated_share": part.truncated_share,
                }
        if self.halves:
            each = (batching.cut_mean(half, max_length) for half in self.halves)
            values["tokens_per_epoch"] = self.samples * sum(each)
        if self.audio_seconds is not None:
            part = batching.pad(
                self.audio_seconds,
                self.samples,
                micro_batch,
                None,
                whole=self.whole,
                step=grouped_step,
            )
            values |= {"longest_seconds": part.longest, "mean_padded_seconds": part.mean_padded}
        return BatchPlan(self.samples, math.ceil(self.samples / micro_batch), **values)

    def _target_limit(self, max_length: int | None, padding: str) -> int | None:
        if padding != "max" or max_length is None or self.target_lengths is None:
            return max_length
        ordered = np.sort(self.target_lengths).astype(np.float64)
        own = batching.longest(ordered, self.samples, max_length, whole=self.whole)
        return min(max_length, math.ceil(own))

    @property
    def _measured(self) -> bool:
        return any(
            a is not None and len(a) > 1
            for a in (self.lengths, self.target_lengths, self.audio_seconds)
        )

    def _pad(
        self,
        lengths: np.ndarray | None,
        micro_batch: int,
        limit: int | None,
        padding: str,
        longest: float | None,
        step: int | None,
    ) -> batching.PaddedLengths | None:
        if lengths is None:
            return None
        return batching.pad(
            lengths,
            self.samples,
            micro_batch,
            limit,
            whole=self.whole and longest is None,
            padding=padding,
            most=longest,
            step=step,
        )

    def _packed(self, lengths: np.ndarray, micro_batch: int, max_length: int) -> BatchPlan:
        if self.target_lengths is not None:
            raise QuestionError(
                "an encoder-decoder's pairs cannot be packed",
                mend=f"Use {FieldName('padding')} longest or max",
            )
        sequences, part = batching.pack(lengths, self.samples, max_length)
        return BatchPlan(
            samples_per_epoch=sequences,
            micro_batches_per_epoch=math.ceil(sequences / micro_batch),
            longest_length=max_length,
            mean_padded_length=part.mean_padded,
            tokens_per_epoch=part.real,
            padded_tokens_per_epoch=part.padded,
            truncated_share=0.0,
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON: lengths as a summary, unknowns as null."""
        return {
            "modality": self.modality,
            "samples": self.samples,
            "sampled": self.sampled,
            "source": self.source,
            "format": self.format,
            "samples_relative_error": self.samples_relative_error,
            "length_relative_error": self.length_relative_error,
            "bytes_on_disk": self.bytes_on_disk,
            "lengths": _summary(self.lengths),
            "target_lengths": _summary(self.target_lengths),
            "audio_seconds": _summary(self.audio_seconds),
            "image_sizes": None
            if self.image_sizes is None
            else dict(
                zip(
                    ("median_width", "median_height", "largest_width", "largest_height"),
                    self.image_sizes,
                )
            ),
            "classes": self.classes,
            **({"negatives": self.negatives} if self.negatives else {}),
            "columns": dict(self.columns),
            **({"trained_as": self.trained_as} if self.trained_as else {}),
            **({"halves": [_summary(half) for half in self.halves]} if self.halves else {}),
            "tokenizer": self.tokenizer or None,
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
        }


def from_counts(
    samples: int,
    tokens_per_sample: float | None = None,
    target_tokens_per_sample: float | None = None,
    modality: str = "text",
    seconds_per_sample: float | None = None,
    *,
    spread: Spread | None = None,
    target_spread: Spread | None = None,
    limit: int | None = None,
    target_limit: int | None = None,
    seen: int | None = None,
) -> DatasetProfile:
    """A dataset that is only a number of samples with a mean length, in tokens or in seconds of
    sound. Tokens spread log-normally around their mean, cut at ``limit`` (targets at
    ``target_limit``); without ``spread`` every sample has the mean. ``seen``: samples that a run
    gets to see, where it ends before all, of which the longest is. Raises QuestionError."""
    if modality not in MODALITIES:
        raise QuestionError(f"unknown modality {modality!r}", mend=f"Use {', '.join(MODALITIES)}")
    if samples < 1:
        raise QuestionError(f"{samples} samples", mend="Give at least 1")
    _check_means(tokens_per_sample, target_tokens_per_sample, seconds_per_sample)
    known = samples if seen is None else min(samples, seen)
    inputs = _around(tokens_per_sample, spread, known, limit)
    targets = _around(target_tokens_per_sample, target_spread, known, target_limit)
    spreads = inputs[1] is not None or targets[1] is not None
    return DatasetProfile(
        modality,
        int(samples),
        inputs[0],
        targets[0],
        None if seconds_per_sample is None else np.array([float(seconds_per_sample)]),
        sampled=int(samples),
        source="counts",
        format="counts",
        tokenizer="counts given",
        spread=spread if spreads else None,
        longest_input=inputs[1],
        longest_target=targets[1],
        assumptions=(
            *_said("", tokens_per_sample, None if inputs[1] is None else spread),
            *_said(
                "target ", target_tokens_per_sample, None if targets[1] is None else target_spread
            ),
            *([] if seconds_per_sample is None else [_said_of_seconds(seconds_per_sample)]),
        ),
    )


def _check_means(tokens: float | None, targets: float | None, seconds: float | None) -> None:
    for name, value in (
        ("tokens_per_sample", tokens),
        ("target_tokens_per_sample", targets),
        ("seconds_per_sample", seconds),
    ):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise QuestionError(f"{name} is {value}", mend="Give a positive number")


def _around(
    mean: float | None, spread: Spread | None, samples: int, limit: int | None
) -> tuple[np.ndarray | None, float | None]:
    """(lengths, the longest of all), the longest None where every sample has one length."""
    if mean is None or spread is None:
        return _point(mean), None
    lengths, longest = spread_lengths(mean, spread.sigma_log, samples, limit)
    return (lengths, longest) if len(lengths) > 1 else (_point(mean), None)


def _said(what: str, mean: float | None, spread: Spread | None) -> list[str]:
    if mean is None:
        return []
    size = f"{round(max(1, mean)):,} {what}tokens"
    if spread is None:
        return [f"every sample has {size}: {_NO_SPREAD}"]
    return [
        f"{size} are the mean: lengths spread log-normally around it, with {spread.sigma_log:.2g} "
        f"as the standard deviation of their logarithm ({spread.source})"
    ]


def _said_of_seconds(mean: float) -> str:
    return f"every sample has {mean:,.3g} seconds: {_NO_SPREAD}"


_NO_SPREAD = (
    "no spread of lengths is known, so padding costs nothing here and the longest batch is no "
    "longer than the mean"
)


def _point(mean: float | None) -> np.ndarray | None:
    return None if mean is None else np.array([max(1, round(mean))], dtype=np.int64)


def percentiles(values: np.ndarray, shares: Sequence[float]) -> list[float]:
    """As ``np.percentile`` (linear), which imports numpy.ma, a tenth of numpy."""
    places = np.asarray(shares) / 100 * (len(values) - 1)
    return np.interp(places, np.arange(len(values)), np.sort(values)).tolist()


def _summary(values: np.ndarray | None) -> dict[str, float] | None:
    if values is None:
        return None
    points = {f"p{p}": value for p, value in zip(PERCENTILES, percentiles(values, PERCENTILES))}
    return {
        "mean": float(values.mean()),
        "min": float(values.min()),
        **points,
        "max": float(values.max()),
    }
