"""Records become lengths: text is gathered by the layout, counted once, and summed with what
templates add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.datasets.columns import Layout, as_text, cell, messages_of
from planner.datasets.tokens import TokenCounter, TokenizerFile, template

ENCODER_TASKS = ("masked_lm", "text_classification", "token_classification", "contrastive")


@dataclass(frozen=True, eq=False)
class Lengths:
    """Tokens of each record, int64 [records]; ``overhead`` says what was added for templates and
    special tokens."""

    inputs: np.ndarray
    targets: np.ndarray | None
    overhead: str
    empty_share: float


def count_lengths(
    records: Sequence[dict[str, Any]], layout: Layout, task: str | None, counter: TokenCounter
) -> Lengths:
    if layout.record_type == "ids":
        inputs = np.array([len(r.get(layout.inputs[0]) or ()) for r in records], dtype=np.int64)
        targets = (
            np.array([len(r.get(layout.target) or ()) for r in records], dtype=np.int64)
            if layout.target
            else None
        )
        return Lengths(inputs, targets, "", float(np.mean(inputs == 0)))
    if layout.record_type in ("instruction", "transfer") and task == "seq2seq_lm":
        return _two_sides(records, layout, counter)
    texts = [parts_of(record, layout) for record in records]
    counts = _sum_parts(texts, counter)
    per_message, per_record, notes = _overhead(layout, task, counter)
    messages = np.array([len(parts) for parts in texts], dtype=np.int64)
    return Lengths(
        counts + per_message * messages + per_record, None, notes, float(np.mean(counts == 0))
    )


def _two_sides(records: Sequence[dict[str, Any]], layout: Layout, counter: TokenCounter) -> Lengths:
    """An encoder-decoder: the source is the encoder's, the target the decoder's."""
    sources = _sum_parts(
        [[as_text(cell(r, name)) for name in layout.inputs] for r in records], counter
    )
    targets = counter.count([as_text(cell(r, layout.target)) for r in records])
    extra = template("seq2seq")[1]
    return Lengths(
        sources + extra,
        targets + extra,
        f"{extra} end-of-sequence token on each side",
        float(np.mean(sources == 0)),
    )


def parts_of(record: dict[str, Any], layout: Layout) -> list[str]:
    """The texts of a record: one a message of a chat, prompt and answer of an instruction, one a
    column otherwise."""
    if layout.record_type == "chat":
        return messages_of(cell(record, layout.inputs[0]))
    texts = [as_text(cell(record, name)) for name in layout.inputs]
    if layout.record_type == "instruction":
        return ["\n".join(filter(None, texts)), as_text(cell(record, layout.target))]
    return texts + ([as_text(cell(record, layout.target))] if layout.target else [])


def _sum_parts(texts: Sequence[Sequence[str]], counter: TokenCounter) -> np.ndarray:
    counts = counter.count([text for parts in texts for text in parts])
    owners = np.repeat(np.arange(len(texts)), [len(parts) for parts in texts])
    total = np.zeros(len(texts), dtype=np.int64)
    np.add.at(total, owners, counts)
    return total


def _overhead(layout: Layout, task: str | None, counter: TokenCounter) -> tuple[int, int, str]:
    """(tokens a message, tokens a record, what to say)."""
    if layout.record_type in ("chat", "instruction"):
        message, record = template("chat")
        as_chat = (
            " (an instruction and its answer are two messages)"
            if layout.record_type == "instruction"
            else ""
        )
        return (
            message,
            record,
            f"the chat template adds {message} tokens a message and {record} a record{as_chat}",
        )
    if isinstance(counter, TokenizerFile):
        extra = counter.special_tokens(layout.record_type == "pair")
        return 0, extra, f"the tokenizer adds {extra} special tokens a record"
    name = (
        "text"
        if task not in ENCODER_TASKS
        else "encoder_pair"
        if layout.record_type == "pair"
        else "encoder"
    )
    extra = template(name)[1]
    return 0, extra, f"{extra} special token{'s' if extra > 1 else ''} a record"
