"""Texts: tokenized one by one by a ``tokenizer.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from planner.datasets.loader.sources import Texts, version
from planner.datasets.loader.stages import Pipeline, Stage
from planner.datasets.tokenizer import TokenizerHere
from planner.errors import FieldName


def text_pipeline(source: Texts, tokenizer_path: str | Path | None) -> Pipeline:
    if source.layout.record_type == "ids":
        return Pipeline("token", (), amount=len, notes=("the data is tokenized already",))
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
    counter = TokenizerHere(tokenizer_path)
    stage = Stage("tokenize", "token", version("tokenizers"), Tokenize(counter), len)
    return Pipeline("token", (stage,), notes=(f"texts are tokenized one by one by {counter.name}",))


def text_bytes(texts: list[str]) -> float:
    return float(sum(len(text.encode("utf-8", errors="replace")) for text in texts))


@dataclass(frozen=True)
class Tokenize:
    """The ids of a record's texts, one after the other."""

    tokenizer: TokenizerHere

    def __call__(self, texts: list[str]) -> list[int]:
        return [number for text in texts for number in self.tokenizer.encode(text)]
