"""What a data loader does to a sample after it was read: decode, transform, tokenize, join into a
batch; by the real libraries.

The stages are those of the usual training programs: Pillow and torchvision's ImageNet augmentation
(Pillow and numpy where torchvision is not installed), soundfile and transformers' feature
extractors, a ``tokenizer.json`` by tokenizers.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from planner.datasets.loader.sources import Pieces, Rows, Texts, version
from planner.datasets.tokens import TokenizerFile
from planner.errors import FieldName, MissingExtraError
from planner.libraries import import_library

#: Side of an image where none is asked for: torchvision's ImageNet reference training
#: (references/classification).
IMAGE_SIZE = 224
# torchvision's weights' own preprocessing
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: RandomResizedCrop's shares of the area (Szegedy et al. 2015, arXiv 1409.4842).
CROP_SHARES = (0.08, 1.0)
#: Speech models take 16 kHz (Whisper, arXiv 2212.04356; wav2vec 2.0, arXiv 2006.11477).
SPEECH_RATE_HZ = 16_000
RESAMPLERS = ("soxr", "torchaudio", "scipy")
#: Sounds whose rate is looked at before the measurement.
RATES_SEEN = 8


@dataclass(frozen=True)
class Stage:
    """``run``: a sample before → after. ``per``: the unit its cost grows with. ``amount``, of its
    result: that many units."""

    name: str
    per: str
    library: str
    run: Callable[[Any], Any]
    amount: Callable[[Any], float] | None = None


@dataclass(frozen=True)
class Pipeline:
    """``amount`` of what was read, for data whose units no stage tells. ``doubts``: (what, how to
    mend it)."""

    unit: str
    stages: tuple[Stage, ...]
    amount: Callable[[Any], float] | None = None
    said: tuple[str, ...] = ()
    doubts: tuple[tuple[str, str], ...] = ()


def pipeline(
    source: Pieces | Rows | Texts,
    *,
    task: str | None = None,
    tokenizer_path: str | Path | None = None,
    image_size: int | None = None,
) -> Pipeline:
    """The stages for a source. Raises MissingExtraError for a library that nothing replaces,
    DataError for a bad tokenizer."""
    if source.modality == "image":
        return _images(image_size or IMAGE_SIZE)
    if source.modality == "audio":
        return _sounds(source, task)
    return _texts(source, tokenizer_path)


# ---------------------------------------------------------------- images


def _images(size: int) -> Pipeline:
    if importlib.util.find_spec("PIL") is None:
        raise MissingExtraError("pillow", "data", "Decoding images")
    decode = Stage("decode", "pixel", version("Pillow"), decode_image, pixels)
    said = (f"images are cropped at random and resized to {size}×{size}, flipped and normalised",)
    if importlib.util.find_spec("torchvision") is not None:
        library = import_library("torchvision", "augmenting images")
        from torchvision import transforms as kit

        steps = kit.Compose(
            [
                kit.RandomResizedCrop(size),
                kit.RandomHorizontalFlip(),
                kit.ToTensor(),
                kit.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )
        return Pipeline(
            "pixel",
            (decode, Stage("transform", "sample", f"torchvision {library.__version__}", steps)),
            said=said,
        )
    name = f"{version('Pillow')}, {version('numpy')}"
    return Pipeline("pixel", (decode, Stage("transform", "sample", name, Augment(size))), said=said)


def decode_image(data: bytes):
    """RGB pixels. Pillow raises nearly anything for a broken file."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def pixels(image) -> float:
    return float(image.width * image.height)


@dataclass(frozen=True)
class Augment:
    """torchvision's training transform with Pillow and numpy alone: float32 tensor [3, size,
    size]."""

    size: int

    def __call__(self, image):
        import torch
        from PIL import Image

        chance = np.random.default_rng()
        side = float(np.sqrt(chance.uniform(*CROP_SHARES)))
        width, height = max(1, round(image.width * side)), max(1, round(image.height * side))
        left, top = (
            chance.integers(0, image.width - width + 1),
            chance.integers(0, image.height - height + 1),
        )
        image = image.resize(
            (self.size, self.size),
            Image.Resampling.BILINEAR,
            box=(left, top, left + width, top + height),
        )
        if chance.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = (
            np.asarray(image, dtype=np.float32) / 255 - np.float32(IMAGENET_MEAN)
        ) / np.float32(IMAGENET_STD)
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


# ---------------------------------------------------------------- sounds


@dataclass(frozen=True)
class Wave:
    """float32 [frames], one channel."""

    frames: np.ndarray
    rate: int


def _sounds(source: Pieces | Rows, task: str | None) -> Pipeline:
    if importlib.util.find_spec("soundfile") is None:
        raise MissingExtraError("soundfile", "data", "Decoding sounds")
    resampler = next(
        (name for name in RESAMPLERS if importlib.util.find_spec(name) is not None), None
    )
    stages = [Stage("decode", "audio_second", version("soundfile"), decode_sound, sound_seconds)]
    doubts = []
    if resampler is not None:
        stages.append(Stage("resample", "audio_second", version(resampler), Resample(resampler)))
    elif _other_rate(source):
        doubts.append(
            (
                f"sounds of another rate than {SPEECH_RATE_HZ} Hz were not resampled: no "
                "library for it is installed",
                "Install soxr or torchaudio, then measure again",
            )
        )
    if importlib.util.find_spec("transformers") is None:
        doubts.append(
            (
                "no spectrogram was made: transformers is not installed",
                "Install it with: pip install 'planner[hf]', then measure again",
            )
        )
        return Pipeline(
            "audio_second",
            (*stages, Stage("transform", "audio_second", version("numpy"), frames_of)),
            doubts=tuple(doubts),
        )
    extract, said = _extractor(task)
    return Pipeline("audio_second", (*stages, extract), said=(said,), doubts=tuple(doubts))


def _other_rate(source: Pieces | Rows) -> bool:
    """Whether one of the first readable sounds has another rate than speech models take."""
    import soundfile

    for index in range(min(len(source), RATES_SEEN)):
        try:
            if soundfile.info(io.BytesIO(source.read(index))).samplerate != SPEECH_RATE_HZ:
                return True
        except (OSError, RuntimeError):  # a broken file is skipped and counted when it is measured
            continue
    return False


def _extractor(task: str | None) -> tuple[Stage, str]:
    """A raw waveform for a classifier of sounds, as wav2vec 2.0 takes it; else Whisper's log-mel
    spectrogram."""
    library = import_library("transformers", "extracting features of sounds")
    name = f"transformers {library.__version__}"
    if task == "audio_classification":
        return Stage(
            "transform", "audio_second", name, Extract(library.Wav2Vec2FeatureExtractor())
        ), "sounds are normalised waveforms (wav2vec 2.0)"
    return Stage(
        "transform", "sample", name, Extract(library.WhisperFeatureExtractor())
    ), "sounds become log-mel spectrograms padded to 30 s (Whisper)"


def decode_sound(data: bytes) -> Wave:
    """soundfile raises its own and the codec's errors for a broken file."""
    import soundfile

    frames, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return Wave(np.ascontiguousarray(frames.mean(axis=1)), rate)


def sound_seconds(wave: Wave) -> float:
    return len(wave.frames) / wave.rate


@dataclass(frozen=True)
class Resample:
    """To 16 kHz by one of RESAMPLERS; nothing where the sound has that rate already."""

    library: str

    def __call__(self, wave: Wave) -> Wave:
        if wave.rate == SPEECH_RATE_HZ:
            return wave
        return Wave(self._frames(wave).astype(np.float32, copy=False), SPEECH_RATE_HZ)

    def _frames(self, wave: Wave) -> np.ndarray:
        if self.library == "soxr":
            import soxr

            return soxr.resample(wave.frames, wave.rate, SPEECH_RATE_HZ)
        if self.library == "torchaudio":
            import torch
            import torchaudio

            return torchaudio.functional.resample(
                torch.from_numpy(wave.frames), wave.rate, SPEECH_RATE_HZ
            ).numpy()
        from scipy.signal import resample_poly

        common = np.gcd(SPEECH_RATE_HZ, wave.rate)
        return resample_poly(wave.frames, SPEECH_RATE_HZ // common, wave.rate // common)


@dataclass(frozen=True)
class Extract:
    """A feature extractor of transformers on one sound: the float32 tensor that enters the
    model."""

    extractor: Any

    def __call__(self, wave: Wave):
        # The rate is the extractor's own: a sound that could not be resampled costs about as much
        # at its own length.
        found = self.extractor(
            wave.frames, sampling_rate=self.extractor.sampling_rate, return_tensors="pt"
        )
        return next(iter(found.values()))[0]


def frames_of(wave: Wave):
    import torch

    return torch.from_numpy(wave.frames)


# ---------------------------------------------------------------- texts


def _texts(source: Texts, tokenizer_path: str | Path | None) -> Pipeline:
    if source.layout.kind == "ids":
        return Pipeline("token", (), amount=len, said=("the data is tokenized already",))
    if tokenizer_path is None:
        return Pipeline(
            "byte",
            (),
            amount=text_bytes,
            doubts=(
                (
                    "without a tokenizer only reading and parsing of the text was measured",
                    f"Give one with {FieldName('tokenizer')} FILE (tokenizer.json)",
                ),
            ),
        )
    counter = TokenizerFile(tokenizer_path)
    stage = Stage("tokenize", "token", version("tokenizers"), Tokenize(counter), len)
    return Pipeline("token", (stage,), said=(f"texts are tokenized one by one by {counter.name}",))


def text_bytes(texts: list[str]) -> float:
    return float(sum(len(text.encode("utf-8", errors="replace")) for text in texts))


@dataclass(frozen=True)
class Tokenize:
    """The ids of a record's texts, one after the other."""

    tokenizer: TokenizerFile

    def __call__(self, texts: list[str]) -> list[int]:
        return [number for text in texts for number in self.tokenizer.encode(text)]


# ---------------------------------------------------------------- batches


def collate(samples: list[Any]):
    """A batch: stacked where all have one shape, else padded to the longest; lists of ids become
    tensors; texts stay a list."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from torch.utils.data import default_collate

    if isinstance(samples[0], list):
        if any(isinstance(item, str) for sample in samples for item in sample[:1]):
            return samples
        samples = [torch.tensor(ids, dtype=torch.long) for ids in samples]
    if len({sample.shape for sample in samples}) == 1:
        return default_collate(samples)
    return pad_sequence(samples, batch_first=True)
