"""An uploaded file becomes counts that a question can hold; the file is not kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from planner.errors import DataError, QuestionError
from planner.question.parsing import question_from
from planner.serve.asked import asked
from planner.serve.work.job import Job
from planner.trace.source import Progress


def counted(job: Job, progress: Progress | None = None) -> dict[str, Any]:
    """``fields``: the fields of a question that stand for the data; ``said``: what was understood
    of it. ``job.fields`` may name the model whose tokens are counted. Raises DataError without the
    path of the server's own temporary file."""
    try:
        return _counted(job, progress)
    except DataError as error:
        where = None if error.where is None else Path(str(error.where)).name
        raise DataError(
            error.what.replace(job.upload, Path(job.upload).name),
            where=where,
            mend=error.mend,
        ) from None


def _counted(job: Job, progress: Progress | None) -> dict[str, Any]:
    from planner.models.resolve import resolve
    from planner.plan.inputs.problem import scanned_for

    facts = None
    task = job.fields.get("task")
    if job.fields.get("model"):
        named = asked({"model": job.fields["model"], "samples": 1, "task": task})
        facts = resolve(named.model, task=named.task, offline=True)
    question = question_from(
        job.fields.get("model") or "any", job.upload, {"task": task} if task else {}
    )
    data = scanned_for(question, facts, progress).profile
    if data.modality not in ("text", "image"):
        raise QuestionError(f"{data.modality} data is not counted from an upload yet")
    fields: dict[str, Any] = {"samples": data.samples}
    if data.lengths is not None:
        fields |= _lengths("tokens_per_sample", data.lengths)
        fields["length_spread"] = _spread(data.lengths)
    if data.target_lengths is not None:
        fields |= _lengths("target_tokens_per_sample", data.target_lengths)
    name = Path(job.upload).name
    said = [line.text for line in data.first_lines]
    return {"fields": fields, "said": [text.replace(job.upload, name) for text in said]}


def _lengths(name: str, lengths: np.ndarray) -> dict[str, float]:
    """The mean, to four digits: a link should stay readable."""
    mean = float(np.mean(lengths))
    return {name: float(f"{mean:.4g}")}


def _spread(lengths: np.ndarray) -> float:
    """The standard deviation of the logarithm, as ``length_spread`` takes it."""
    logs = np.log(np.maximum(np.asarray(lengths, dtype=float), 1.0))
    spread = float(np.std(logs))
    return round(min(spread, 3.0), 3) if math.isfinite(spread) else 0.0
