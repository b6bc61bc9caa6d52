"""Data that is only counts, and what is said first of sounds, images and classes."""

from __future__ import annotations

import math

from planner import units
from planner.datasets.batching import Spread, published_spread, quantile
from planner.datasets.profile import DatasetProfile, from_counts
from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine
from planner.models.building.speech import is_ctc
from planner.models.constants import constant
from planner.models.facts import ModelFacts
from planner.models.tasks import OF_OBJECTS, keeps_shape
from planner.plan.inputs.rows import default
from planner.question import Question
from planner.question.settings import CLASSIFIERS, IMAGE_TASKS

#: Hours, clips and seconds that contradict each other by more are refused.
TOLERANCE = 0.01


def counted(question: Question, facts: ModelFacts) -> DatasetProfile:
    """The data of a question that gives numbers. Raises QuestionError."""
    if facts.modality == "audio":
        samples, seconds = _clips(question, assumed_seconds(facts))
    elif question.audio_hours or question.seconds_per_sample:
        raise QuestionError(
            f"{facts.name} reads {facts.modality}, not sounds",
            where=FieldName("audio_hours" if question.audio_hours else "seconds_per_sample"),
        )
    else:
        samples, seconds = question.samples, None
    reads = facts.modality == "text" or (question.task or facts.task) == "image_text_to_text"
    if reads and question.tokens_per_sample is None:
        raise QuestionError(
            "a text model needs the samples' length",
            where=FieldName("tokens_per_sample"),
            mend="Give the mean tokens a sample",
        )
    if samples is None:
        raise QuestionError("no data", mend="Name a file or folder, or give samples")
    spread, target_spread = (_spread(question, facts, side) for side in ("input", "target"))
    return from_counts(
        samples,
        question.tokens_per_sample,
        question.target_tokens_per_sample,
        modality=facts.modality,
        seconds_per_sample=seconds,
        spread=spread,
        target_spread=target_spread,
        limit=_longest_allowed(question, facts, question.tokens_per_sample, spread),
        target_limit=_longest_allowed(
            question, facts, question.target_tokens_per_sample, target_spread
        ),
        seen=_seen(question),
    )


def _seen(question: Question) -> int | None:
    """Samples that the asked steps take; None where the question does not tell."""
    batch = question.global_batch or (question.micro_batch or 0) * question.gpus
    return question.max_steps * batch if question.max_steps and batch else None


def _spread(question: Question, facts: ModelFacts, side: str) -> Spread | None:
    """How lengths spread around their mean: as asked, else as in published sets of the task; None
    where batches are not padded to their longest, and for what is no text."""
    if facts.modality != "text" or question.padding in ("max", "packed"):
        return None
    if question.length_spread is not None:
        asked = f"from {FieldName('length_spread')}"
        return Spread(question.length_spread, asked) if question.length_spread else None
    return published_spread(question.task or facts.task, side)


def _longest_allowed(
    question: Question, facts: ModelFacts, mean: float | None, spread: Spread | None
) -> int | None:
    """Where lengths are cut: the asked length, else what keeps as many samples whole as lengths of
    counted data do by default; no more than the model takes."""
    lengths = [n for n in (question.max_length, facts.max_length) if n is not None]
    if question.max_length is None and mean is not None and spread is not None:
        lengths.append(math.ceil(quantile(mean, spread, default("kept_whole")[0] / 100)))
    return min(lengths, default=None)


def _clips(question: Question, assumed: float) -> tuple[int | None, float]:
    """(clips, seconds of each): what is given fixes what is not, ``assumed`` the rest. Raises
    QuestionError where they contradict each other."""
    samples, each = question.samples, question.seconds_per_sample
    total = question.audio_hours and question.audio_hours * units.SECONDS_PER_HOUR
    if total and samples and each and abs(samples * each / total - 1) > TOLERANCE:
        raise QuestionError(
            f"{samples:,} clips of {each:g} s are {samples * each / units.SECONDS_PER_HOUR:,.4g} "
            f"hours, not {question.audio_hours:,.4g}",
            where=FieldName("audio_hours"),
            mend="Give two of the three",
        )
    if each is None:
        each = total / samples if total and samples else assumed
    if samples is None and total:
        samples = max(1, round(total / each))
    return samples, each


def assumed_seconds(facts: ModelFacts) -> float:
    """Of a clip whose length nothing says: a decoder of speech fills its window."""
    fills = facts.task == "speech_recognition" and not is_ctc(facts.task, facts.config or {})
    return default("speech_seconds" if fills else "clip_seconds")[0]


def said_of(question: Question, facts: ModelFacts, data: DatasetProfile) -> list[FirstLine]:
    """What stands first of sounds, images and classes: as given, as found, or as assumed."""
    lines = [
        _of_sounds(question, facts, data),
        _of_images(question, facts, data),
        _of_classes(question, facts, data),
    ]
    return [line for line in lines if line is not None]


def _of_sounds(question: Question, facts: ModelFacts, data: DatasetProfile) -> FirstLine | None:
    if facts.modality != "audio" or data.audio_seconds is None:
        return None
    each = float(data.audio_seconds.mean())
    hours = each * data.samples / units.SECONDS_PER_HOUR
    whole = f"{hours:,.4g} hours" if hours >= 1 else units.format_seconds(each * data.samples)
    size = f"{data.samples:,} clips of {float(f'{each:.3g}'):,g} s, {whole} of audio"
    if data.source != "counts":
        return FirstLine("data", f"{whole} of audio in all")
    given = [
        name
        for name in ("audio_hours", "seconds_per_sample")
        if getattr(question, name) is not None
    ]
    if not given or given == ["audio_hours"] and question.samples is None:
        return FirstLine(
            "data",
            f"{size}: a clip's length is assumed; "
            f"{FieldName('seconds_per_sample')}"
            + (f" or {FieldName('audio_hours')} say it" if not given else " says it"),
            warning=True,
        )
    return FirstLine("data", f"{size} (from {FieldName(*given)})")


def _of_images(question: Question, facts: ModelFacts, data: DatasetProfile) -> FirstLine | None:
    side = question.image_size or facts.image_size
    seen_beside_text = (question.task or facts.task) == "image_text_to_text"  # its own lines
    if facts.modality not in ("image", "image_text") or side is None or seen_beside_text:
        return None
    how = "as asked"
    if question.image_size is None:
        free = (question.task or facts.task) in IMAGE_TASKS
        how = f"the model's; {FieldName('image_size')} changes it" if free else "the model's"
    size = f"{side} × {side} pixels"
    family = (facts.config or {}).get("model_type", "")
    if keeps_shape(facts.library, facts.architecture, family, facts.task):
        size = f"a shorter side of {side} pixels, photographs of 4:3"
    trained = f"trained at {size}, {how}"
    if facts.task in OF_OBJECTS:
        trained += f"; {_objects(question, data)}"
    if data.image_sizes is None:
        return FirstLine("data", f"{data.samples:,} images, {trained}")
    return FirstLine("data", f"images are {trained}")


def _objects(question: Question, data: DatasetProfile) -> str:
    """How many of an image its time is of, and how many the data has."""
    asked = question.objects_per_image
    if asked is not None:
        return f"{asked} objects an image (from {FieldName('objects_per_image')})"
    if data.objects is not None and data.objects.any():
        return (
            f"its time is of {constant('objects_per_image'):g} objects an image, the data has "
            f"{float(data.objects.mean()):.3g} ({FieldName('objects_per_image')} says it)"
        )
    return (
        f"{constant('objects_per_image'):g} objects an image are assumed for its time "
        f"({FieldName('objects_per_image')} says it)"
    )


def _of_classes(question: Question, facts: ModelFacts, data: DatasetProfile) -> FirstLine | None:
    if (question.task or facts.task) not in CLASSIFIERS or facts.library == "factory":
        return None
    if question.classes:
        return FirstLine("data", f"{question.classes:,} classes (from {FieldName('classes')})")
    if data.classes is None:
        return FirstLine(
            "data",
            "the number of classes is not known, the model's own is taken: "
            f"{FieldName('classes')} says it",
        )
    return None  # the data's own line says how many it has
