"""What a sample costs a core in each stage of a pipeline: rows of ``profiles/priors/run.csv`` times
what the sample holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.datasets.batching import BatchPlan
from planner.datasets.constants import constant, speech_rate_hz
from planner.datasets.profile import DatasetProfile
from planner.figures import Estimate
from planner.models.building.speech import is_ctc
from planner.models.constants import constant as of_models
from planner.models.facts import ModelFacts
from planner.models.tasks import keeps_shape, resizes_on_device
from planner.plan.inputs.families.images import seen
from planner.plan.inputs.rows import default
from planner.question import Question
from planner.uncertainty.spread import overhead

#: Bytes of a token on its way to a device: its number and its mask, int64 both.
TOKEN_BYTES = 16
FLOAT_BYTES = 4
CHANNELS = 3
ONE, NONE = Estimate.exact(1.0), Estimate.exact(0.0)

#: Stage → (row of run.csv, what of a ``Sample`` it is multiplied by).
STAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "render": (("render_record_seconds", "talks"),),
    "encode": (("encode_token_seconds", "tokens"),),
    "encode_batched": (("encode_token_seconds", "tokens"),),
    "map_tokens": (("map_token_seconds", "tokens"),),
    "pack": (("pack_token_seconds", "packed_tokens"),),
    "token_row": (("row_seconds", "rows"), ("row_token_seconds", "tokens")),
    "decode": (("decode_second_seconds", "seconds"),),
    "log_mel": (("log_mel_window_seconds", "rows"),),
    "waveform": (("waveform_second_seconds", "seconds"),),
    "log_mel_row": (("log_mel_row_value_seconds", "values"),),
    "waveform_row": (("waveform_row_value_seconds", "values"),),
    "decode_image": (("decode_pixel_seconds", "pixels"),),
    "resize": (("resize_pixel_seconds", "pixels"), ("crop_pixel_seconds", "crop_pixels")),
    "normalise": (("normalise_pixel_seconds", "crop_pixels"),),
    "collate": (("collate_byte_seconds", "values_bytes"),),
    "collate_bytes": (("collate_byte_seconds", "values"),),
}
#: The same in words: what is done.
WORDS = {
    "render": "render",
    "encode": "tokenize",
    "encode_batched": "tokenize",
    "map_tokens": "tokenize",
    "pack": "pack",
    "decode": "decode",
    "log_mel": "make log-mel features",
    "waveform": "normalise",
    "decode_image": "decode",
    "resize": "resize",
    "normalise": "normalise",
    "token_row": "read rows",
    "log_mel_row": "read rows of features",
    "waveform_row": "read rows of features",
    "collate": "collate",
    "collate_bytes": "collate",
}


@dataclass(frozen=True)
class Work:
    """What is trained, how, for which task, and how it is cut into batches."""

    facts: ModelFacts
    strategy: str
    task: str
    batches: BatchPlan


@dataclass(frozen=True)
class Sample:
    """What a mean sample holds. ``values``: floats of its features; ``values_bytes``: of its floats
    on the way to the device, ``device_bytes``: of all of it."""

    tokens: Estimate = NONE
    talks: Estimate = NONE
    packed_tokens: Estimate = NONE
    seconds: Estimate = NONE
    values: Estimate = NONE
    pixels: Estimate = NONE
    crop_pixels: Estimate = NONE
    values_bytes: Estimate = NONE
    device_bytes: Estimate = NONE
    rows: Estimate = ONE


def seconds_of(stage: str, sample: Sample) -> Estimate:
    """Of one core for one sample."""
    parts = [overhead(row) * getattr(sample, unit) for row, unit in STAGES[stage]]
    return sum(parts, NONE)


def record_of(question: Question, work: Work, data: DatasetProfile) -> Sample:
    """A record as it lies on disk, before records are packed."""
    tokens, packed = _tokens(work, data), _is_packed(work, data)
    return _sample(question, work, data, tokens=tokens, packed=packed)


def sample_of(question: Question, work: Work, data: DatasetProfile) -> Sample:
    """A training sample: a record, or a sequence of packed ones."""
    is_packed = _is_packed(work, data)
    records = data.samples / max(1, work.batches.samples_per_epoch) if is_packed else 1.0
    tokens = _tokens(work, data, None if is_packed else work.batches.longest_length) * records
    return _sample(question, work, data, tokens=tokens, packed=False)


def _sample(
    question: Question, work: Work, data: DatasetProfile, *, tokens: float, packed: bool
) -> Sample:
    facts = work.facts
    read = seen(question, facts, data)
    side = question.image_size or facts.image_size or int(constant("image_side"))
    side, count = (read.image.side, read.count * read.image.pictures) if read else (side, 1)
    crop, seconds, values = 0.0, 0.0, 0.0
    if data.modality in ("image", "image_text"):
        crop = count * crop_pixels(work.task, facts, side)
        values = CHANNELS * crop
    if data.modality == "audio":
        seconds = sound_seconds(data)
        values = feature_values(work.task, facts, seconds)
    size = FLOAT_BYTES * values
    return Sample(
        tokens=Estimate.exact(tokens),
        talks=Estimate.exact(0.0 if packed else 1.0),
        packed_tokens=Estimate.exact(tokens if packed else 0.0),
        seconds=Estimate.exact(seconds),
        values=Estimate.exact(values),
        pixels=pixels_of(data, side).scale(read.count if read else 1) if crop else NONE,
        crop_pixels=Estimate.exact(crop),
        values_bytes=Estimate.exact(size),
        device_bytes=Estimate.exact(size + TOKEN_BYTES * tokens),
    )


def _pixels_fed(facts: ModelFacts, side: int) -> float:
    """Of an image on its way to the device: a photograph's where the device resizes it or its shape
    is kept, else a square's."""
    width, height = of_models("photo_width"), of_models("photo_height")
    if resizes_on_device(facts.library, facts.task):
        return width * height
    family = (facts.config or {}).get("model_type", "")
    wide = keeps_shape(facts.library, facts.architecture, family, facts.task)
    return side**2 * (width / height if wide else 1.0)


def crop_pixels(task: str, facts: ModelFacts, side: int) -> float:
    """Of all crops of an image: one, or the large and small ones of self-distillation."""
    if task != "image_self_distillation":
        return _pixels_fed(facts, side)
    large, small = of_models("global_crops"), of_models("local_crops")
    return large * side**2 + small * of_models("local_crop_pixels") ** 2


def _tokens(work: Work, data: DatasetProfile, limit: int | None = None) -> float:
    """Mean of a record, targets included; of CTC its characters, as lengths are frames there, of
    a pair both halves, of what is written its prompt."""
    frames = is_ctc(work.task, work.facts.config or {})
    targets = [] if data.target_lengths is None else [data.target_lengths]
    sides = targets if frames else data.record_lengths
    return sum(float((side if limit is None else np.minimum(side, limit)).mean()) for side in sides)


def _is_packed(work: Work, data: DatasetProfile) -> bool:
    return data.lengths is not None and work.batches.samples_per_epoch != data.samples


def sound_seconds(data: DatasetProfile) -> float:
    """Of a mean clip; our default where nothing says it."""
    if data.audio_seconds is None:
        return default("clip_seconds")[0]
    return float(data.audio_seconds.mean())


def feature_values(task: str, facts: ModelFacts, seconds: float) -> float:
    """Floats of a clip: a whole window of log-mel features for a decoder of speech, else its
    waveform."""
    config = facts.config or {}
    bins, frames = config.get("num_mel_bins"), config.get("max_source_positions")
    if bins and frames and not is_ctc(task, config):
        return 2.0 * float(bins) * float(frames)  # the encoder halves the frames
    return seconds * speech_rate_hz()


def pixels_of(data: DatasetProfile, side: int) -> Estimate:
    """Of an image on disk: as scanned, else of a photograph; small where small images are
    trained."""
    if data.image_sizes is not None:
        return Estimate.exact(float(data.image_sizes[0] * data.image_sizes[1]))
    share = min(1.0, (side / constant("image_side")) ** 2)
    return overhead("photo_pixels").scale(share)
