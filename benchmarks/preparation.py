"""What data and start-up cost a host: seconds of one core, by the libraries that training scripts
call, as rows for ``profiles/priors/run.csv``.

    python benchmarks/preparation.py            # every row, about three minutes on one core
    python benchmarks/preparation.py --only tokenize_token_seconds image_decode_pixel_seconds

Each figure is the median of several rounds, with the fastest and the slowest beside it. Other
processors differ: the range of a row is that of the rounds, widened by PROCESSORS.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# a build of torchvision that does not fit torch breaks imports that do not need it
sys.modules.setdefault("torchvision", None)  # type: ignore[arg-type]

import numpy as np  # noqa: E402

ROUNDS = 5
#: What the cores of rented hosts are to this one: slower and faster by about so much.
PROCESSORS = (0.7, 1.6)
RATE = 16_000
CLIP_SECONDS = 10.0
WINDOW_SECONDS = 30
TEXT_BYTES = 4_000_000
RECORD_CHARACTERS = 1_500
VOCABULARY = 32_000
IMAGES = ((500, 375), (1024, 768), (2048, 1536))
CROP = 224
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

Measure = Callable[[], Iterator[float]]


def rounds(work: Callable[[], float], count: int = ROUNDS) -> Iterator[float]:
    """Seconds a unit, of a first round that does not count and ``count`` others. ``work`` returns
    the units that it did."""
    work()
    for _ in range(count):
        start = time.perf_counter()
        done = work()
        yield (time.perf_counter() - start) / done


# ---- text


def english() -> str:
    """Prose and code that lies beside Python's packages."""
    parts, size = [], 0
    root = Path(np.__file__).parents[1]
    for pattern in ("*.dist-info/METADATA", "*/licenses/*", "numpy/**/*.py", "torch/nn/**/*.py"):
        for file in sorted(root.glob(pattern)):
            text = file.read_text("utf-8", errors="ignore") if file.is_file() else ""
            parts.append(text)
            size += len(text)
            if size > TEXT_BYTES:
                return "\n".join(parts)[:TEXT_BYTES]
    return "\n".join(parts)


def records(text: str) -> list[str]:
    return [
        text[start : start + RECORD_CHARACTERS] for start in range(0, len(text), RECORD_CHARACTERS)
    ]


def fast_tokenizer(text: str) -> Any:
    """Byte-level BPE of as many entries as Llama 2's, trained here."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    raw = ByteLevelBPETokenizer()
    raw.train_from_iterator(records(text), vocab_size=VOCABULARY, show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw._tokenizer, pad_token="<pad>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def table(column: str, values: list[Any]) -> Any:
    import datasets

    datasets.disable_progress_bars()
    datasets.disable_caching()
    return datasets.Dataset.from_dict({column: values})


def tokenizing() -> Iterator[float]:
    """``map(batched=True)`` with a fast tokenizer, its result written to Arrow: seconds a token."""
    text = english()
    tokenizer, data = fast_tokenizer(text), table("text", records(text))

    def work() -> float:
        made = data.map(lambda rows: tokenizer(rows["text"]), batched=True, remove_columns=["text"])
        return float(sum(map(len, made["input_ids"])))

    data_tokens = work()
    yield from rounds(lambda: _only(work, data_tokens))


def encoding() -> Iterator[float]:
    """The tokenizer alone, on one core: seconds a token. In one process it uses every core."""
    text = english()
    tokenizer, parts = fast_tokenizer(text)._tokenizer, records(text)
    tokens = float(sum(len(made.ids) for made in tokenizer.encode_batch(parts)))
    return rounds(lambda: _only(lambda: len(tokenizer.encode_batch(parts)), tokens))


def _only(work: Callable[[], float], units: float) -> float:
    """The work without the counting of its units: they are known."""
    work()
    return units


def rendering() -> Iterator[float]:
    """``map`` one by one with a chat template that gives text, as trl renders: seconds a
    conversation of four turns."""
    text = records(english()[: 400 * RECORD_CHARACTERS])
    tokenizer = fast_tokenizer(english())
    talks = [
        [{"role": "user" if turn % 2 == 0 else "assistant", "content": part} for turn in range(4)]
        for part in text
    ]
    data = table("messages", talks)

    def render(row: dict[str, Any]) -> dict[str, Any]:
        return {"text": tokenizer.apply_chat_template(row["messages"], tokenize=False)}

    return rounds(lambda: len(data.map(render, remove_columns=["messages"])))


def single_records() -> Iterator[float]:
    """What ``map`` costs a record that comes alone, whatever is done to it."""
    data = table("n", list(range(4000)))
    return rounds(lambda: len(data.map(lambda row: {"m": row["n"] + 1})))


def packing() -> Iterator[float]:
    """run_clm.py's joining of texts into blocks: seconds a token."""
    length, block = 400, 1024
    data = table("input_ids", [list(range(length)) for _ in range(2000)])

    def group(rows: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        joined = {key: sum(values, []) for key, values in rows.items()}
        total = len(joined["input_ids"]) // block * block
        made = {
            key: [values[start : start + block] for start in range(0, total, block)]
            for key, values in joined.items()
        }
        made["labels"] = made["input_ids"].copy()
        return made

    return rounds(
        lambda: _only(lambda: len(data.map(group, batched=True)), float(length * len(data)))
    )


def through_loader(data: Any, collate: Callable[[Any], Any], batch: int) -> None:
    """One pass of a DataLoader without workers, shuffled, as Trainer makes it."""
    from torch.utils.data import DataLoader

    for _ in DataLoader(data, batch_size=batch, shuffle=True, collate_fn=collate):
        pass


def token_rows(length: int) -> Measure:
    """Rows of ids and mask from Arrow, and their padding in a batch: seconds a sample of so many
    tokens."""

    def measure() -> Iterator[float]:
        from transformers import DataCollatorWithPadding

        batch, samples = 16, 512
        tokenizer = fast_tokenizer(english()[:400_000])
        chance = np.random.default_rng(0)
        sizes = chance.integers(length // 2, length * 3 // 2, samples)
        import datasets

        datasets.disable_progress_bars()
        data = datasets.Dataset.from_dict(
            {
                "input_ids": [list(range(size)) for size in sizes],
                "attention_mask": [[1] * int(size) for size in sizes],
                "label": [0] * samples,
            }
        )
        collate = DataCollatorWithPadding(tokenizer)

        def work() -> float:
            through_loader(data, collate, batch)
            return float(samples)

        return rounds(work)

    return measure


# ---- sounds


def wave() -> np.ndarray:
    """Noise under a slow envelope, as loud and as hard to compress as speech."""
    chance = np.random.default_rng(0)
    size = int(RATE * CLIP_SECONDS)
    shape = np.abs(np.sin(np.linspace(0, 12 * np.pi, size)))
    return (0.1 * chance.standard_normal(size) * shape).astype(np.float32)


def decoding(kind: str) -> Measure:
    def measure() -> Iterator[float]:
        import soundfile

        file = io.BytesIO()
        soundfile.write(file, wave(), RATE, format=kind)
        data = file.getvalue()

        def work() -> float:
            for _ in range(20):
                soundfile.read(io.BytesIO(data), dtype="float32")
            return 20 * CLIP_SECONDS

        return rounds(work)

    return measure


def log_mel() -> Iterator[float]:
    """Whisper's features in ``map`` one by one, written to Arrow: seconds a window."""
    from transformers import WhisperFeatureExtractor

    extract, sound = WhisperFeatureExtractor(), wave()
    data = table("n", list(range(24)))

    def features(row: dict[str, Any]) -> dict[str, Any]:
        made = extract(sound, sampling_rate=RATE)
        return {"input_features": made.input_features[0], "n": row["n"]}

    import torch

    torch.set_num_threads(1)
    return rounds(lambda: len(data.map(features)), 3)


def raw_waves() -> Iterator[float]:
    """wav2vec 2.0's normalised waveform in ``map`` one by one, written to Arrow: seconds a second
    of sound."""
    from transformers import Wav2Vec2FeatureExtractor

    extract, sound = Wav2Vec2FeatureExtractor(), wave()
    data = table("n", list(range(48)))

    def features(row: dict[str, Any]) -> dict[str, Any]:
        return {"input_values": extract(sound, sampling_rate=RATE).input_values[0]}

    return rounds(lambda: len(data.map(features)) * CLIP_SECONDS, 3)


def feature_rows(shape: tuple[int, ...], name: str) -> Measure:
    """A row of features from Arrow as lists, and its padding in a batch by the feature extractor,
    as the collators of the speech examples do: seconds a value."""

    def measure() -> Iterator[float]:
        import transformers

        data = table("n", list(range(16))).map(
            lambda row: {name: np.random.default_rng(row["n"]).random(shape, dtype=np.float32)},
            remove_columns=["n"],
        )
        of_whisper = name == "input_features"
        extract = (
            transformers.WhisperFeatureExtractor()
            if of_whisper
            else transformers.Wav2Vec2FeatureExtractor()
        )

        def work() -> float:
            through_loader(
                data, lambda rows: extract.pad(rows, padding=True, return_tensors="pt"), 8
            )
            return float(len(data) * np.prod(shape))

        return rounds(work, 3)

    return measure


# ---- images


def photo(width: int, height: int) -> bytes:
    """A JPEG with as much detail as photographs: about 1.5 bits a pixel."""
    from PIL import Image

    chance = np.random.default_rng(width)
    coarse = chance.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noise = chance.normal(0, 8, (height, width, 3))
    image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def decoding_images() -> Iterator[float]:
    """Seconds a pixel of JPEGs of several sizes."""
    from planner.datasets.loader.image_stages import decode_image

    files = [photo(*size) for size in IMAGES]
    pixels = float(sum(width * height for width, height in IMAGES))

    def work() -> float:
        for file in files:
            decode_image(file)
        return pixels

    return rounds(work, 9)


def augmenting(size: tuple[int, int], crop: int) -> Measure:
    """Random crop, resize, flip and normalisation to float32: seconds an image."""

    def measure() -> Iterator[float]:
        from planner.datasets.loader.image_stages import Augment, decode_image

        image, augment = decode_image(photo(*size)), Augment(crop)
        return rounds(lambda: float(len([augment(image) for _ in range(20)])), 9)

    return measure


def resizing(size: tuple[int, int], crop: int) -> Measure:
    """The crop and resize of ``augmenting`` alone, to bytes: seconds an image."""

    def measure() -> Iterator[float]:
        from PIL import Image

        from planner.datasets.loader.image_stages import decode_image

        image, chance = decode_image(photo(*size)), np.random.default_rng(0)

        def work() -> float:
            for _ in range(20):
                side = float(np.sqrt(chance.uniform(0.08, 1.0)))
                width, height = round(size[0] * side), round(size[1] * side)
                left = int(chance.integers(0, size[0] - width + 1))
                top = int(chance.integers(0, size[1] - height + 1))
                box = (left, top, left + width, top + height)
                small = image.resize((crop, crop), Image.Resampling.BILINEAR, box=box)
                np.array(small)
            return 20.0

        return rounds(work, 9)

    return measure


def collating() -> Iterator[float]:
    """Float tensors stacked to a batch, in memory that is new to the process: seconds a byte. The
    copy into pinned memory is a thread's of its own."""
    import torch

    images = [torch.rand(3, CROP, CROP) for _ in range(64)]
    size = float(sum(image.numel() * image.element_size() for image in images))
    return rounds(lambda: _only(lambda: torch.stack(images).numel(), size), 9)


# ---- start


def imports() -> Iterator[float]:
    """A process that imports torch, datasets and transformers' Trainer: seconds, with the files in
    memory."""
    code = (
        "import sys; sys.modules['torchvision'] = None; import torch, datasets, transformers; "
        "from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def work() -> float:
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        return 1.0

    return rounds(work, 3)


def saving(optimizer: bool) -> Measure:
    """safetensors, or torch.save of an optimizer's state, to the temporary folder and flushed to
    the disk: seconds a byte."""

    def measure() -> Iterator[float]:
        import torch
        from safetensors.torch import save_file

        tensors = {str(i): torch.rand(2**22) for i in range(16)}
        size = float(sum(t.numel() * t.element_size() for t in tensors.values()))

        def work() -> float:
            with tempfile.NamedTemporaryFile() as file:
                if optimizer:
                    torch.save(tensors, file.name)
                else:
                    save_file(tensors, file.name)
                with open(file.name, "rb") as written:
                    os.fsync(written.fileno())
            return size

        return rounds(work)

    return measure


MEASURES: dict[str, Measure] = {
    "tokenize_token_seconds": tokenizing,
    "encode_token_seconds": encoding,
    "render_record_seconds": rendering,
    "map_record_seconds": single_records,
    "pack_token_seconds": packing,
    "token_row_128_seconds": token_rows(128),
    "token_row_1024_seconds": token_rows(1024),
    "sound_decode_wav_second_seconds": decoding("WAV"),
    "sound_decode_flac_second_seconds": decoding("FLAC"),
    "sound_decode_mp3_second_seconds": decoding("MP3"),
    "log_mel_window_seconds": log_mel,
    "waveform_second_seconds": raw_waves,
    "log_mel_row_value_seconds": feature_rows((80, 3000), "input_features"),
    "waveform_row_value_seconds": feature_rows((160_000,), "input_values"),
    "image_decode_pixel_seconds": decoding_images,
    "image_augment_small_to_224_seconds": augmenting(IMAGES[0], CROP),
    "image_augment_small_to_448_seconds": augmenting(IMAGES[0], 2 * CROP),
    "image_augment_large_to_224_seconds": augmenting(IMAGES[2], CROP),
    "image_resize_small_to_224_seconds": resizing(IMAGES[0], CROP),
    "image_resize_small_to_448_seconds": resizing(IMAGES[0], 2 * CROP),
    "image_resize_large_to_224_seconds": resizing(IMAGES[2], CROP),
    "collate_byte_seconds": collating,
    "import_seconds": imports,
    "save_safetensors_byte_seconds": saving(False),
    "save_optimizer_byte_seconds": saving(True),
}


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "this processor"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=list(MEASURES), default=list(MEASURES))
    print(f"# one core of {processor()}; range: of the rounds, other processors {PROCESSORS}")
    print("key,p10,p50,p90")
    for name in parser.parse_args().only:
        found = sorted(MEASURES[name]())
        low, middle, high = found[0], statistics.median(found), found[-1]
        print(
            f"{name},{low * PROCESSORS[0]:.3g},{middle:.3g},{high * PROCESSORS[1]:.3g}", flush=True
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
