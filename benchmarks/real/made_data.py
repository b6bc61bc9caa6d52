"""The data of the cases, made on the spot: texts of invented words that are spread as a language's,
and JPEGs of the sizes that photos are scaled to. A seed makes them the same every time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.real.cases import RealCase

SEED = 13
WORDS = 5000
#: Zipf's law of the words of a language, and lengths of texts in words: lognormal.
ZIPF, MEDIAN_WORDS, SIGMA_WORDS = 1.05, 45, 0.6
SENTENCE_WORDS = 12
#: Shorter and longer side of a photo in pixels.
SIDES = (256, 500)
JPEG_QUALITY = 85


def make_data(case: RealCase, place: Path) -> tuple[Path, Path]:
    """(what is trained on, what is held out), written unless they are there."""
    folder = place / case.data
    trained, held_out = folder / "train", folder / "held_out"
    if case.task != "image_classification":
        trained, held_out = trained.with_suffix(".jsonl"), held_out.with_suffix(".jsonl")
    if not folder.exists():
        folder.mkdir(parents=True)
        chance = np.random.default_rng(SEED)
        for path, count in ((trained, case.samples), (held_out, case.held_out)):
            if case.task == "image_classification":
                _write_images(path, count, case.classes or 2, chance)
            else:
                _write_records(path, case, count, chance)
    return trained, held_out


def texts(count: int, chance: np.random.Generator) -> Iterator[list[str]]:
    """Words of so many texts."""
    words, weights = _words()
    for _ in range(count):
        length = max(4, int(chance.lognormal(np.log(MEDIAN_WORDS), SIGMA_WORDS)))
        yield [words[i] for i in chance.choice(len(words), size=length, p=weights)]


def _words() -> tuple[list[str], np.ndarray]:
    """Invented words, the short ones frequent, and how often each is said."""
    chance = np.random.default_rng(SEED)
    syllables = [a + b for a in "bdfghklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er")]
    made: dict[str, None] = {}
    while len(made) < WORDS:
        parts = 1 + int(chance.poisson(min(2.0, len(made) / 800)))
        made["".join(chance.choice(syllables) for _ in range(parts))] = None
    weights = 1.0 / np.arange(1, WORDS + 1) ** ZIPF
    return list(made), weights / weights.sum()


def _sentences(words: list[str]) -> str:
    parts = [words[i : i + SENTENCE_WORDS] for i in range(0, len(words), SENTENCE_WORDS)]
    return " ".join(" ".join(part).capitalize() + "." for part in parts)


def _write_records(path: Path, case: RealCase, count: int, chance: np.random.Generator) -> None:
    with path.open("w", encoding="utf-8") as file:
        for words in texts(count, chance):
            record: dict[str, str | int] = {"text": _sentences(words)}
            if case.task == "seq2seq_lm":
                # of each sentence the first words: a summary that can be learned
                heads = words[::SENTENCE_WORDS] + words[1::SENTENCE_WORDS]
                record["summary"] = " ".join(heads[:20])
            else:
                record["label"] = len(words[0]) % (case.classes or 2)
            file.write(json.dumps(record) + "\n")


def _write_images(folder: Path, count: int, classes: int, chance: np.random.Generator) -> None:
    """A folder a class; the colour of the brightest part tells the class."""
    from PIL import Image

    for number in range(count):
        label = number % classes
        width, height = (int(side) for side in chance.integers(*SIDES, size=2, endpoint=True))
        # shapes of many sizes, as a photo has
        pixels = np.zeros((height, width, 3), dtype=np.float32)
        for cells in (3, 12, 48):
            rough = chance.uniform(0, 255, size=(cells, cells, 3)).astype(np.uint8)
            rough[..., label % 3] //= 2
            shape = Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)
            pixels += np.asarray(shape, dtype=np.float32) / 3
        file = folder / f"class_{label}" / f"{number:05}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, quality=JPEG_QUALITY)
