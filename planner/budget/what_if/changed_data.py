"""The same problem on more or fewer samples, on longer or shorter ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from planner.datasets.profile import DatasetProfile
from planner.plan.inputs.problem import Problem, understand
from planner.units import format_seconds


def more_samples(problem: Problem, factor: float) -> Problem:
    """Counts are asked anew; of data that was read the profile is scaled. Raises PlannerError."""
    question, data = problem.question, problem.data
    samples = max(1, round(data.samples * factor))
    if question.data is None:
        update: dict[str, Any] = {}
        if question.samples is not None:
            update["samples"] = samples
        if question.audio_hours is not None:
            update["audio_hours"] = question.audio_hours * factor
        return _asked(problem, update)
    size = None if data.bytes_on_disk is None else round(data.bytes_on_disk * factor)
    sampled = min(data.sampled, samples)
    return problem.changed(
        question, replace(data, samples=samples, sampled=sampled, bytes_on_disk=size)
    )


def longer(problem: Problem, factor: float) -> tuple[Problem, str] | None:
    """(the problem, the mean in words); None for data that has no lengths. Raises PlannerError."""
    data = problem.data
    if data.audio_seconds is not None:
        changed = _longer(problem, factor, ("audio_hours", "seconds_per_sample"))
        seconds = changed.data.audio_seconds
        return None if seconds is None else (changed, format_seconds(float(seconds.mean())))
    if data.lengths is None or data.modality != "text":
        return None
    changed = _longer(problem, factor, ("tokens_per_sample", "target_tokens_per_sample"))
    return changed, f"mean {changed.data.mean_length or 0.0:,.0f} tokens"


def _longer(problem: Problem, factor: float, names: Sequence[str]) -> Problem:
    """As many samples, each longer. ``names``: the fields that say lengths where no data does."""
    question = problem.question
    if question.data is not None:
        return problem.changed(question, _scaled(problem.data, factor))
    given = {name: getattr(question, name) for name in names}
    return _asked(problem, {n: value * factor for n, value in given.items() if value is not None})


def _scaled(data: DatasetProfile, factor: float) -> DatasetProfile:
    """Every length times the factor, whole tokens staying whole."""
    return replace(
        data,
        lengths=_times(data.lengths, factor),
        target_lengths=_times(data.target_lengths, factor),
        audio_seconds=None if data.audio_seconds is None else data.audio_seconds * factor,
        bytes_on_disk=None if data.bytes_on_disk is None else round(data.bytes_on_disk * factor),
        longest_input=None if data.longest_input is None else data.longest_input * factor,
        longest_target=None if data.longest_target is None else data.longest_target * factor,
    )


def _times(lengths: np.ndarray | None, factor: float) -> np.ndarray | None:
    if lengths is None:
        return None
    scaled = np.maximum(1.0, lengths * factor)
    return np.rint(scaled).astype(np.int64) if lengths.dtype.kind == "i" else scaled


def _asked(problem: Problem, update: dict[str, Any]) -> Problem:
    question = problem.question.model_copy(update=update)
    fresh = understand(question)
    return problem.changed(fresh.question, fresh.data)
