"""A case as a training script has it: model, tokenizer, data as torch sees it, and how batches are
joined. Imports are a script's own, at its beginning, and count as its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.real.cases import RealCase
from benchmarks.real.made_models import auto_class
from benchmarks.real.stamps import Stamps


@dataclass
class Subject:
    """``trained``, ``held_out``: datasets of torch or of ``datasets``."""

    model: Any
    tokenizer: Any
    trained: Any
    held_out: Any
    collate: Any


def subject(
    case: RealCase, model_folder: Path, trained: Path, held_out: Path, stamps: Stamps
) -> Subject:
    model = auto_class(case).from_pretrained(model_folder)
    if case.task == "image_classification":
        from benchmarks.real.photos import Photos, joined

        size = case.image_size or 224
        with stamps.phase("preparation"):
            both = Photos(trained, size, augment=True), Photos(held_out, size, augment=False)
        return Subject(model, None, both[0], both[1], joined)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    with stamps.phase("preparation"):
        both = _tokenized(case, tokenizer, trained, held_out, model_folder.parent)
    if case.task == "seq2seq_lm":
        # how long a model of random weights writes is no question to a planner
        model.generation_config.min_length = case.generated
        return Subject(
            model,
            tokenizer,
            both[0],
            both[1],
            transformers.DataCollatorForSeq2Seq(tokenizer, model),
        )
    return Subject(
        model, tokenizer, both[0], both[1], transformers.DataCollatorWithPadding(tokenizer)
    )


def _tokenized(
    case: RealCase, tokenizer: Any, trained: Path, held_out: Path, place: Path
) -> tuple[Any, Any]:
    """Both files as ``datasets`` reads and maps them, as the example scripts do."""
    import datasets

    files = {"train": str(trained), "held_out": str(held_out)}
    found = datasets.load_dataset("json", data_files=files, cache_dir=str(place / "cache"))

    def tokenise(records: dict[str, list[Any]]) -> Any:
        ids = tokenizer(records["text"], truncation=True, max_length=case.max_length)
        if case.task == "seq2seq_lm":
            targets = tokenizer(records["summary"], truncation=True, max_length=case.target_length)
            ids["labels"] = targets["input_ids"]
        return ids

    spare = [name for name in found["train"].column_names if name != "label"]
    # a first run has nothing in its cache
    mapped = found.map(tokenise, batched=True, remove_columns=spare, load_from_cache_file=False)
    return mapped["train"], mapped["held_out"]


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float((predictions.argmax(-1) == labels).mean())


def same_words(tokenizer: Any, generated: np.ndarray, labels: np.ndarray) -> float:
    """Share of the words that are where they should be, over texts as they read."""
    pad = tokenizer.pad_token_id
    texts = tokenizer.batch_decode(
        np.where(generated < 0, pad, generated), skip_special_tokens=True
    )
    meant = tokenizer.batch_decode(np.where(labels < 0, pad, labels), skip_special_tokens=True)
    shares = [
        sum(a == b for a, b in zip(text.split(), wanted.split())) / max(1, len(wanted.split()))
        for text, wanted in zip(texts, meant)
    ]
    return float(np.mean(shares))


def seeded() -> None:
    transformers.set_seed(7)
    torch.manual_seed(7)
