"""Records become lengths: conversations by the model's chat template, other texts with the special
tokens that a tokenizer adds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from planner.datasets.constants import ENCODER_TASKS
from planner.datasets.conversation import Conversation
from planner.datasets.layout.cells.walk import joined
from planner.datasets.layout.column import CHAT
from planner.datasets.layout.conversations import conversation_of, texts_of
from planner.datasets.layout.encoders import negatives_of
from planner.datasets.layout.shape import Layout, Shape
from planner.datasets.templates import sentences
from planner.datasets.templates.chat_template import ChatTemplate
from planner.datasets.templates.choosing import ModelText, chosen_template, stand_in
from planner.datasets.templates.lengths import RenderedLengths, rendered_lengths
from planner.datasets.tokenizer import TokenizerFile
from planner.datasets.tokens import TokenCounter, special_tokens
from planner.errors import DataError, FieldName
from planner.first_lines import FirstLine
from planner.question.training_setting import PAIRS, PROMPTS, TEXTS

Record = Mapping[str, Any]
CUT_PASSAGES = (
    "a passage beyond the longest length is cut: scripts that slide a window over it (doc_stride "
    "of run_qa.py) read it in several parts"
)


@dataclass(frozen=True, eq=False)
class Lengths:
    """Tokens of each record, int64 [records]. ``relative_error``: of the mean, where only a part
    was rendered. ``chat_template``: that of the records that are conversations, and
    ``trained_share`` the share of their text that the loss is taken on, ``pictures`` their mean
    number in a conversation. ``rejected``, ``prompts``: the same of the rejected answers with their
    prompts, and of what stands before the last answer, where an objective asks for them."""

    inputs: np.ndarray
    targets: np.ndarray | None
    empty_share: float
    relative_error: float = 0.0
    first_lines: tuple[FirstLine, ...] = ()
    assumptions: tuple[str, ...] = ()
    chat_template: ChatTemplate | None = None
    trained_share: float | None = None
    pictures: float = 0.0
    rejected: np.ndarray | None = None
    prompts: np.ndarray | None = None

    @property
    def is_supervised(self) -> bool:
        return self.rejected is None and self.prompts is None


def count_lengths(
    records: Sequence[Record],
    layout: Layout,
    task: str | None,
    counter: TokenCounter,
    model: ModelText,
    learns_from: str | None = None,
) -> Lengths:
    """Of prepared records. An encoder-decoder's have two lengths: source and target.
    ``learns_from``: what an objective takes a record as (``question/training_setting.py``)."""
    shapes = [layout.shape_of(record) for record in records]
    two_sides = any(shape.target is not None or shape.is_conversation for shape in shapes)
    if task == "text_embedding" and layout.record_type != "ids":
        return _two_sides(records, layout, counter, embedding=two_sides)
    if two_sides and (task == "seq2seq_lm" or (layout.record_type == "ids" and layout.target)):
        return _two_sides(records, layout, counter)
    spoken = np.array([is_rendered(shape, task) for shape in shapes])
    tokens = np.zeros(len(records), dtype=np.int64)
    empty = np.zeros(len(records), dtype=bool)
    said: list[str] = []
    beside = np.flatnonzero(~spoken).tolist()
    if len(beside):
        few = [records[i] for i in beside]
        tokens[beside], empty[beside], said = _texts(few, layout, task, counter)
    if not spoken.any():
        return Lengths(tokens, None, float(empty.mean()), assumptions=tuple(said))
    talks = np.flatnonzero(spoken).tolist()
    conversations = [conversation_of(records[i], layout) for i in talks]
    chat, found = _rendered(
        conversations, template_of(conversations, layout, model), counter, model
    )
    tokens[talks] = found.tokens
    empty[talks] = [not any(turn.content for turn in talk.turns) for talk in conversations]
    read = Read([records[i] for i in talks], layout, chat, counter)
    return Lengths(
        tokens,
        None,
        float(empty.mean()),
        relative_error=found.relative_error,
        first_lines=tuple(sentences.first_lines(chat, _seen(found, task), model.name)),
        assumptions=(*said, *sentences.assumptions(chat, found)),
        chat_template=chat,
        trained_share=found.trained_share,
        pictures=found.pictures,
        rejected=_in_place(tokens, talks, read.rejected) if learns_from == PAIRS else None,
        prompts=_in_place(tokens, talks, read.prompts) if learns_from in (PROMPTS, TEXTS) else None,
    )


@dataclass(frozen=True)
class Read:
    """Conversations that are rendered by ``chat``, with other sides than the chosen one."""

    records: Sequence[Record]
    layout: Layout
    chat: ChatTemplate
    counter: TokenCounter

    def rejected(self) -> np.ndarray | None:
        """Tokens of each with its rejected answer; None where one is no pair."""
        shapes = [self.layout.shape_of(record) for record in self.records]
        if any(shape.record_type != "preference" for shape in shapes):
            return None
        return self._tokens(
            [conversation_of(record, self.layout, "rejected") for record in self.records]
        )

    def prompts(self) -> np.ndarray:
        """Tokens of each up to its last answer."""
        return self._tokens(
            [before_answer(conversation_of(record, self.layout)) for record in self.records]
        )

    def _tokens(self, talks: Sequence[Conversation]) -> np.ndarray:
        return rendered_lengths(self.chat, talks, self.counter).tokens


def before_answer(talk: Conversation) -> Conversation:
    """Without its last turn, where that is an answer to another."""
    turns = talk.turns
    answered = len(turns) > 1 and turns[-1].role == "assistant"
    return replace(talk, turns=turns[:-1]) if answered else talk


def _in_place(
    tokens: np.ndarray, talks: list[int], count: Callable[[], np.ndarray | None]
) -> np.ndarray | None:
    """Lengths of all records with those of another side where they are conversations; None where
    there is no such side."""
    found = count()
    if found is None:
        return None
    other = tokens.copy()
    other[talks] = found
    return other


def _seen(found: RenderedLengths, task: str | None) -> RenderedLengths:
    """What is said of a rendering: pictures are counted where the model reads them."""
    return replace(found, pictures=0.0) if task == "image_text_to_text" else found


def is_rendered(shape: Shape, task: str | None) -> bool:
    """Records of this shape go through a chat template: encoders have none."""
    return shape.is_conversation and task not in ENCODER_TASKS


def template_of(
    conversations: Sequence[Conversation], layout: Layout, model: ModelText
) -> ChatTemplate:
    """The template that a trainer takes for these."""
    used = [layout.columns.get(path) for shape, _ in layout.shapes for path in shape.counted]
    chat = any(column is not None and column.form == CHAT for column in used) or any(
        len(talk.turns) > 2 or any(turn.role in ("system", "tool") for turn in talk.turns)
        for talk in conversations
    )
    columns = frozenset(path.lower() for path in (*layout.inputs, layout.target or ""))
    tools = any(talk.tools for talk in conversations)
    return chosen_template(model, chat=chat, tools=tools, columns=columns)


def _rendered(
    conversations: Sequence[Conversation],
    chat: ChatTemplate,
    counter: TokenCounter,
    model: ModelText,
) -> tuple[ChatTemplate, RenderedLengths]:
    """Where the model's own template fails, its family's stands in for it."""
    try:
        return chat, rendered_lengths(chat, conversations, counter)
    except DataError as error:
        if not chat.own:
            raise
        chat = stand_in(model, chat, error.what)
        return chat, rendered_lengths(chat, conversations, counter)


def _texts(
    records: Sequence[Record], layout: Layout, task: str | None, counter: TokenCounter
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(tokens, whether there is no text, what was added): of records that are no conversations."""
    shapes = [layout.shape_of(record) for record in records]
    parts = [_parts(record, layout, shape) for record, shape in zip(records, shapes)]
    counts = _sum_parts(parts, counter) + _ids(records, shapes, "text")
    added = {shape.record_type: _overhead(shape, task, counter) for shape in shapes}
    more = np.array([added[shape.record_type][0] for shape in shapes], dtype=np.int64)
    said = dict.fromkeys(sentence for _, sentence in added.values() if sentence)
    if any(shape.record_type == "span" for shape in shapes):
        said[CUT_PASSAGES] = None
    return counts + more, counts == 0, list(said)


def _ids(records: Sequence[Record], shapes: Sequence[Shape], role: str) -> np.ndarray:
    """Tokens of records that are tokenized already, int64 [records]; 0 for the others."""
    paths = [shape.paths(role) if shape.record_type == "ids" else () for shape in shapes]
    counts = [sum(len(r.get(p) or ()) for p in own) for r, own in zip(records, paths)]
    return np.array(counts, dtype=np.int64)


def _two_sides(
    records: Sequence[Record], layout: Layout, counter: TokenCounter, embedding: bool | None = None
) -> Lengths:
    """An encoder-decoder: the source is the encoder's, the target the decoder's. ``embedding``: of
    texts to embed, whether they have positives of their own."""
    if embedding is not None:
        return _embedded(records, layout, counter, embedding)
    shapes = [layout.shape_of(record) for record in records]
    pairs = [sides_of(record, layout) for record in records]
    sources = _sum_parts([source for source, _ in pairs], counter) + _ids(records, shapes, "text")
    targets = counter.count([target for _, target in pairs]) + _ids(records, shapes, "target")
    extra = 0 if layout.record_type == "ids" else special_tokens("seq2seq")
    return Lengths(
        sources + extra,
        targets + extra,
        float(np.mean(sources == 0)),
        assumptions=(f"{extra} end-of-sequence token on each side",) if extra else (),
    )


def _embedded(
    records: Sequence[Record], layout: Layout, counter: TokenCounter, positives: bool
) -> Lengths:
    """Anchors and their positives, each with the special tokens of one text."""
    shapes = [layout.shape_of(record) for record in records]
    extra, said = _overhead(shapes[0], "text_embedding", counter)
    sides = [
        counter.count([first_of(r.get(p)) for r, s in zip(records, shapes) for p in s.paths(role)])
        for role in ("text", "target")
    ]
    anchors, targets = sides[0] + extra, sides[1] + extra if positives else None
    line = _of_passages(targets, negatives_of(shapes[0], layout.columns))
    return Lengths(
        anchors,
        targets,
        float(np.mean(sides[0] == 0)),
        first_lines=line,
        assumptions=(said,) if said else (),
    )


def _of_passages(targets: np.ndarray | None, negatives: int) -> tuple[FirstLine, ...]:
    if targets is None:
        return ()
    text = f"positives have mean {targets.mean():,.0f} tokens"
    if negatives:
        several = "each of the" if negatives > 1 else "the"
        text += f", and so has {several} {negatives} hard negative{'s' * (negatives > 1)}"
        text += f" of a record ({FieldName('negatives')} changes their number)"
    return (FirstLine("data", text),)


def first_of(value: Any) -> str:
    """Of a list of passages the first: one of them is read with a query."""
    if isinstance(value, (list, tuple)):
        return joined(value[0]) if value else ""
    return joined(value)


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
    answer = "".join(turn.content for turn in turns[last : last + 1])
    return [turn.content for turn in turns[:last]], answer


def parts_of(record: Record, layout: Layout) -> list[str]:
    """The texts of a record: one a message of a conversation (its thoughts, its calls and the
    schemas of the tools go with a message), one a column otherwise."""
    return _parts(record, layout, layout.shape_of(record))


def _parts(record: Record, layout: Layout, shape: Shape) -> list[str]:
    if shape.record_type == "ids":
        return []
    if not shape.is_conversation:
        return texts_of(record, shape)
    return spoken_texts(conversation_of(record, layout))


def spoken_texts(conversation: Conversation) -> list[str]:
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


def _overhead(shape: Shape, task: str | None, counter: TokenCounter) -> tuple[int, str]:
    """(tokens a record, what to say) of a record that no chat template renders."""
    if shape.record_type in ("ids", "none"):
        return 0, ""
    if isinstance(counter, TokenizerFile):
        extra = counter.special_tokens(shape.record_type in ("pair", "span"))
        return extra, f"the tokenizer adds {extra} special tokens a record"
    name = (
        "text"
        if task not in ENCODER_TASKS
        else "encoder_pair"
        if shape.record_type in ("pair", "span")
        else "encoder"
    )
    extra = special_tokens(name)
    return extra, f"{extra} special token{'s' if extra > 1 else ''} a record"
