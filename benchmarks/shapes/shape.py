"""What a shape is: a record, and what a trainer makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

#: Family of the chat template (profiles/datasets/chat_templates) → type of the model's config.
FAMILIES = {"llama-3.1": "llama", "qwen3": "qwen3", "gemma": "gemma2"}
WORDS = (
    "the a of to and in is for on that with as it by from at this are be was order ticket price "
    "number question answer river mountain city train station weather report model data learning "
    "network request user account password error page button screen customer refund shipping late "
    "parcel money bank card payment morning evening result method function value table column row "
    "index list string integer because however therefore although between without against during"
).split()

Message = dict[str, Any]
Talk = tuple[list[Message], list[Any]]


class Writer:
    """Random texts of a seed, in sentences."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def text(self, low: int, high: int) -> str:
        words = self.random.choices(WORDS, k=self.random.randint(low, high))
        for index in range(7, len(words), 9):
            words[index] += "."
        return f"{' '.join(words).capitalize()}."

    def question(self) -> str:
        return self.text(8, 40)[:-1] + "?"

    def answer(self) -> str:
        return self.text(20, 120)

    def long(self) -> str:
        return self.text(60, 200)


@dataclass(frozen=True)
class Made:
    """A record and what a trainer makes of it: ``talk`` (messages and tools), or ``texts`` that are
    tokenized (two of a pair), or ``sides`` of an encoder-decoder, or a number of ``tokens``."""

    record: Any
    talk: Talk | None = None
    texts: tuple[str, ...] = ()
    sides: tuple[str, str] | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Shape:
    """``make(writer)`` → a record; ``file``: how it is stored; ``model``: chat, encoder or
    seq2seq."""

    name: str
    make: Callable[[Writer], Made]
    file: str = "jsonl"
    model: str = "chat"
    template: str = "llama-3.1"


SHAPES: list[Shape] = []


def shape(name: str, **kind: Any) -> Callable[[Callable[[Writer], Made]], Callable[[Writer], Made]]:
    def add(make: Callable[[Writer], Made]) -> Callable[[Writer], Made]:
        SHAPES.append(Shape(name, make, **kind))
        return make

    return add


def said(*turns: tuple[str, str], tools: Sequence[Any] = (), **more: Any) -> Talk:
    messages: list[Message] = [{"role": role, "content": text} for role, text in turns]
    messages[-1] |= more
    return messages, list(tools)


def asked(question: str, answer: str, system: str = "", tools: Sequence[Any] = ()) -> Talk:
    before = [("system", system)] if system else []
    return said(*before, ("user", question), ("assistant", answer), tools=tools)
