"""A prepared record as its trainer renders it: a conversation, or plain texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from planner.datasets.conversation import Conversation, Turn
from planner.datasets.layout.cells.messages import is_chat, tools_of, turn, turns_of
from planner.datasets.layout.cells.walk import empty, joined
from planner.datasets.layout.cells.written import turns_of_text
from planner.datasets.layout.shape import Layout, Shape

Record = Mapping[str, Any]


def conversation_of(record: Record, layout: Layout, side: str = "chosen") -> Conversation:
    """The turns in the order in which trainers put them: system, rounds of the history, prompt,
    answer. Every answer is trained, those of the history too, as LLaMA-Factory does.

    ``side``: the answer of a preference pair that is taken, ``chosen`` or ``rejected``. A record of
    plain text is one turn of the assistant.
    """
    shape = layout.shape_of(record)
    turns = _asked(record, shape) if shape.is_conversation else []
    if shape.record_type == "preference":
        turns = _answered(turns, record, shape.paths(side))
    elif shape.is_conversation:
        turns += _answers(record, shape)
    else:
        turns = [turn("assistant", "\n".join(filter(None, texts_of(record, shape))))]
    schemas = [tool for path in shape.paths("tools") for tool in tools_of(record.get(path))]
    return Conversation(tuple(turns), tuple(schemas))


def conversations_of(record: Record, layout: Layout) -> tuple[Conversation, ...]:
    """All that training on this record renders: the chosen and the rejected one of a preference
    pair, in this order, otherwise one."""
    if layout.shape_of(record).record_type != "preference":
        return (conversation_of(record, layout),)
    return tuple(conversation_of(record, layout, side) for side in ("chosen", "rejected"))


def _asked(record: Record, shape: Shape) -> list[Turn]:
    """Everything before the answer."""
    turns: list[Turn] = []
    for path in shape.paths("history"):
        turns += _turns(record.get(path), path, "user")
    for path in shape.paths("conversation"):
        turns += _turns(record.get(path), path, "assistant")
    texts: list[str] = []
    for path in shape.paths("prompt"):
        value = record.get(path)
        if isinstance(value, str):
            texts.append(value)
        elif is_chat(value, path):
            turns += turns_of(value)
        elif value is not None:
            texts.append(joined(value))
    text = "\n".join(filter(None, texts))
    if text and not are_rounds(record, shape):
        turns.append(turn("user", text))
    return _with_system(turns, _system(record, shape.paths("system")))


def _with_system(turns: list[Turn], system: str) -> list[Turn]:
    if not system:
        return turns
    if turns and turns[0].role == "system":  # the column's text stands before the message's
        own = turns[0]
        same = system.strip() == own.content.strip()
        return turns if same else [replace(own, content=f"{system}\n{own.content}"), *turns[1:]]
    return [turn("system", system), *turns]


def _system(record: Record, paths: tuple[str, ...]) -> str:
    """Also of a message of its own: ``{"role": "system", "parts": […]}``."""
    texts = (
        "\n".join(turn.content for turn in turns_of(value))
        if is_chat(value, path)
        else joined(value)
        for path in paths
        if not empty(value := record.get(path))
    )
    return "\n".join(filter(None, texts))


def _text(record: Record, paths: tuple[str, ...]) -> str:
    return "\n".join(filter(None, [joined(record.get(path)) for path in paths])) if paths else ""


def _turns(value: Any, path: str, role: str) -> list[Turn]:
    if empty(value):
        return []
    if isinstance(value, str):
        return turns_of_text(value, role)
    return turns_of(value) if is_chat(value, path) else [turn(role, joined(value))]


def are_rounds(record: Record, shape: Shape) -> bool:
    """Questions and answers in two lists of one length: rounds of a conversation on one text."""
    if not shape.rounds_possible or isinstance(record.get(shape.paths("answer")[0]), str):
        return False
    answers = record.get(shape.paths("answer")[0])
    if not isinstance(answers, (list, tuple)) or len(answers) < 2:
        return False
    # dictionaries are several answers to one question, where the questions are none themselves
    objects = any(isinstance(item, dict) for item in answers)
    prompts = [v for p in shape.paths("prompt") if isinstance(v := record.get(p), (list, tuple))]
    return any(
        len(value) == len(answers) and (not objects or isinstance(value[0], dict))
        for value in prompts
    )


def _answers(record: Record, shape: Shape) -> list[Turn]:
    paths = shape.paths("answer")
    if are_rounds(record, shape):
        return _rounds(record, shape)
    thought = _text(record, shape.paths("reasoning"))
    turns: list[Turn] = []
    for path in paths:
        value = record.get(path)
        if not isinstance(value, str) and is_chat(value, path):
            turns += turns_of(value)
        elif text := joined(first_answer(value, path)):
            turns.append(turn("assistant", text))
    texts = [t.content for t in turns if t.role == "assistant"]
    if len(turns) > 1 and len(texts) == len(turns):
        turns = [turn("assistant", "\n".join(texts))]
    if thought and turns:
        turns[-1] = replace(turns[-1], reasoning=thought)
    return turns


def _rounds(record: Record, shape: Shape) -> list[Turn]:
    answers = record[shape.paths("answer")[0]]
    lists, beside = [], []
    for path in shape.paths("prompt"):
        value = record.get(path)
        same = isinstance(value, (list, tuple)) and len(value) == len(answers)
        (lists if same else beside).append(value)
    turns, context = [], "\n".join(filter(None, map(joined, beside)))
    for *asked, answer in zip_longest(*lists, answers):
        text = "\n".join(filter(None, (context, *map(joined, asked))))
        turns += [turn("user", text), turn("assistant", joined(answer))]
        context = ""
    return turns


def first_answer(value: Any, path: str) -> Any:
    """Of several answers to one question the first: SQuAD's annotators, sampled completions. A list
    under a name in the singular is one answer in pieces."""
    if isinstance(value, str):
        return value
    plural = path.rpartition(".")[2].lower().endswith("s") or path.lower().endswith("s.text")
    return value[0] if plural and isinstance(value, (list, tuple)) and value else value


def _answered(turns: list[Turn], record: Record, paths: tuple[str, ...]) -> list[Turn]:
    """One side of a preference pair: only the answer, or the whole conversation with the prompt in
    it, as trl's implicit form has it."""
    answer = [t for path in paths for t in _turns(record.get(path), path, "assistant")]
    asked = [t for t in turns if t.role != "system"]
    if len(answer) == len(asked) == 1 and answer[0].content.startswith(asked[0].content.strip()):
        answer = [turn("assistant", answer[0].content[len(asked[0].content.strip()) :])]
    whole = len(answer) > 1 and answer[0].role != "assistant"
    if whole and asked and asked[-1].content.strip() in {t.content.strip() for t in answer}:
        system = [t for t in turns if t.role == "system"]
        return [*(system if answer[0].role != "system" else ()), *answer]
    return [*turns, *answer]


def texts_of(record: Record, shape: Shape) -> list[str]:
    """The texts of a record that is no conversation, one a column; the target last."""
    return [joined(record.get(path)) for path in shape.paths("source", "text", "target")]
