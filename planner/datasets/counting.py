"""Records become lengths: the texts of each are gathered by its shape, counted once, and summed
with what templates add."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.datasets.conversation import Conversation
from planner.datasets.layout.conversations import conversation_of, texts_of
from planner.datasets.layout.shape import Layout, Shape
from planner.datasets.tokens import TokenCounter, TokenizerFile, template

ENCODER_TASKS = ("masked_lm", "text_classification", "token_classification", "contrastive")
Record = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Lengths:
    """Tokens of each record, int64 [records]; ``overhead`` says what was added for templates and
    special tokens."""

    inputs: np.ndarray
    targets: np.ndarray | None
    overhead: str
    empty_share: float


def count_lengths(
    records: Sequence[Record], layout: Layout, task: str | None, counter: TokenCounter
) -> Lengths:
    """Of prepared records. An encoder-decoder's have two lengths: source and target."""
    shapes = [layout.shape_of(record) for record in records]
    two_sides = any(shape.target is not None or shape.is_conversation for shape in shapes)
    if two_sides and (task == "seq2seq_lm" or (layout.record_type == "ids" and layout.target)):
        return _two_sides(records, layout, counter)
    texts = [_parts(record, layout, shape) for record, shape in zip(records, shapes)]
    counts = _sum_parts(texts, counter) + _ids(records, shapes, "text")
    messages = np.array([len(parts) for parts in texts], dtype=np.int64)
    overhead = {id(shape): _overhead(shape, task, counter) for shape in _unique(shapes)}
    by_message, by_record = (
        np.array([overhead[id(shape)][i] for shape in shapes], dtype=np.int64) for i in (0, 1)
    )
    said = "; ".join(dict.fromkeys(said for _, _, said in overhead.values() if said))
    lengths = counts + by_message * messages + by_record
    return Lengths(lengths, None, said, float(np.mean(counts == 0)))


def _unique(shapes: Sequence[Shape]) -> list[Shape]:
    return list({id(shape): shape for shape in shapes}.values())


def _ids(records: Sequence[Record], shapes: Sequence[Shape], role: str) -> np.ndarray:
    """Tokens of records that are tokenized already, int64 [records]; 0 for the others."""
    paths = [shape.paths(role) if shape.record_type == "ids" else () for shape in shapes]
    counts = [sum(len(r.get(p) or ()) for p in own) for r, own in zip(records, paths)]
    return np.array(counts, dtype=np.int64)


def _two_sides(records: Sequence[Record], layout: Layout, counter: TokenCounter) -> Lengths:
    """An encoder-decoder: the source is the encoder's, the target the decoder's."""
    shapes = [layout.shape_of(record) for record in records]
    pairs = [sides_of(record, layout) for record in records]
    sources = _sum_parts([source for source, _ in pairs], counter) + _ids(records, shapes, "text")
    targets = counter.count([target for _, target in pairs]) + _ids(records, shapes, "target")
    extra = 0 if layout.record_type == "ids" else template("seq2seq")[1]
    return Lengths(
        sources + extra,
        targets + extra,
        f"{extra} end-of-sequence token on each side" if extra else "",
        float(np.mean(sources == 0)),
    )


def sides_of(record: Record, layout: Layout) -> tuple[list[str], str]:
    """(texts of the source, target): of a conversation its last answer is the target."""
    shape = layout.shape_of(record)
    if shape.record_type == "ids":
        return [], ""
    if not shape.is_conversation:
        *source, target = texts_of(record, shape) or [""]
        return source, target
    turns = conversation_of(record, layout).turns
    last = max((i for i, turn in enumerate(turns) if turn.trained), default=len(turns))
    return [turn.content for turn in turns[:last]], "".join(
        t.content for t in turns[last : last + 1]
    )


def parts_of(record: Record, layout: Layout) -> list[str]:
    """The texts of a record: one a message of a conversation (its thoughts, its calls and the
    schemas of the tools go with a message), one a column otherwise."""
    return _parts(record, layout, layout.shape_of(record))


def _parts(record: Record, layout: Layout, shape: Shape) -> list[str]:
    if shape.record_type == "ids":
        return []
    if not shape.is_conversation:
        return texts_of(record, shape)
    return spoken(conversation_of(record, layout))


def spoken(conversation: Conversation) -> list[str]:
    """One text a turn; schemas stand with the first one."""
    texts = [
        "\n".join(filter(None, (turn.reasoning, turn.content, *map(_json, turn.tool_calls))))
        if turn.reasoning or turn.tool_calls
        else turn.content
        for turn in conversation.turns
    ]
    schemas = [_json(tool) for tool in conversation.tools]
    return ["\n".join((*schemas, *texts[:1])), *texts[1:]] if schemas else texts


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, default=str)


def _sum_parts(texts: Sequence[Sequence[str]], counter: TokenCounter) -> np.ndarray:
    counts = counter.count([text for parts in texts for text in parts])
    owners = np.repeat(np.arange(len(texts)), [len(parts) for parts in texts])
    total = np.zeros(len(texts), dtype=np.int64)
    np.add.at(total, owners, counts)
    return total


def _overhead(shape: Shape, task: str | None, counter: TokenCounter) -> tuple[int, int, str]:
    """(tokens a message, tokens a record, what to say)."""
    if shape.record_type in ("ids", "none"):
        return 0, 0, ""
    if shape.is_conversation:
        message, record = template("chat")
        as_chat = (
            ""
            if shape.record_type == "chat"
            else " (an instruction and its answer are two messages)"
        )
        return (
            message,
            record,
            f"the chat template adds {message} tokens a message and {record} a record{as_chat}",
        )
    if isinstance(counter, TokenizerFile):
        extra = counter.special_tokens(shape.record_type == "pair")
        return 0, extra, f"the tokenizer adds {extra} special tokens a record"
    name = (
        "text"
        if task not in ENCODER_TASKS
        else "encoder_pair"
        if shape.record_type == "pair"
        else "encoder"
    )
    extra = template(name)[1]
    return 0, extra, f"{extra} special token{'s' if extra > 1 else ''} a record"
