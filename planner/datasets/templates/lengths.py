"""How many tokens conversations have once they are rendered."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.datasets.constants import constant
from planner.datasets.conversation import Conversation
from planner.datasets.templates.adapting import moved, unread
from planner.datasets.templates.chat_template import ChatTemplate
from planner.datasets.templates.losses import lost_shares
from planner.datasets.templates.marks import count_marked
from planner.datasets.templates.rendering import render
from planner.datasets.tokens import BytesPerToken, TokenCounter

#: What a conversation's length follows from, beside a constant: the first are tokens of texts.
TEXTS, PARTS = 3, 4


@dataclass(frozen=True, eq=False)
class RenderedLengths:
    """``tokens`` int64 [conversations]; ``rendered`` of them really so, the others by their parts
    with ``relative_error`` of the mean. ``overhead``: mean tokens a conversation that the template
    adds to its texts. ``forms``: how messages were changed for the template (environment.FORMS;
    None where it took them in no form) → share of those that were rendered. ``trained_share``: of
    their characters, those that the loss is taken on. ``lost``: kind of part → share of the text
    that the template leaves out. ``moved``: part that the template does not read and that stands
    in a text instead → share of those rendered. ``pictures``: mean a conversation."""

    tokens: np.ndarray
    rendered: int
    relative_error: float
    overhead: float
    forms: Mapping[str | None, float]
    trained_share: float
    lost: Mapping[str, float]
    moved: Mapping[str, float]
    pictures: float


def rendered_lengths(
    template: ChatTemplate, conversations: Sequence[Conversation], counter: TokenCounter
) -> RenderedLengths:
    """Renders all, or a spread part of many. Raises DataError for a template that cannot be
    rendered."""
    count, most = len(conversations), int(constant("rendered_records"))
    chosen = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
    talks = [conversations[i] for i in chosen]
    found = render(template, talks)
    exact = count_text(counter, [item.text for item in found], template)
    parts = _parts(conversations, counter)
    tokens, error = _fitted(parts, chosen, exact) if count > most else (exact, 0.0)
    forms = Counter(item.form for item in found)
    return RenderedLengths(
        tokens,
        len(chosen),
        error,
        float(np.mean(tokens - parts[:, :TEXTS].sum(axis=1))),
        {form: number / len(found) for form, number in forms.items()},
        sum(b - a for item in found for a, b in item.trained)
        / max(1, sum(len(item.text) for item in found)),
        lost_shares(talks, found),
        _moved(talks, template),
        float(np.mean([sum(turn.images for turn in talk.turns) for talk in talks])),
    )


def _moved(talks: Sequence[Conversation], template: ChatTemplate) -> Mapping[str, float]:
    lacking = unread(template.text)
    parts = Counter(part for talk in talks for part in moved(talk, lacking))
    return {part: number / len(talks) for part, number in parts.items()}


def count_text(counter: TokenCounter, texts: Sequence[str], template: ChatTemplate) -> np.ndarray:
    """Tokens of rendered texts, int64 [texts]: a tokenizer knows its special tokens."""
    if isinstance(counter, BytesPerToken):
        return count_marked(counter, texts, template.special)
    return counter.count(texts)


def _parts(conversations: Sequence[Conversation], counter: TokenCounter) -> np.ndarray:
    """float64 [conversations, PARTS]: tokens of the texts, of thoughts, of schemas and calls;
    turns."""
    texts: list[str] = []
    owners: list[int] = []
    kinds: list[int] = []
    out = np.zeros((len(conversations), PARTS))
    for index, conversation in enumerate(conversations):
        for kind, text in _texts(conversation):
            texts.append(text)
            owners.append(index)
            kinds.append(kind)
        out[index, 3] = len(conversation.turns)
    if texts:
        np.add.at(out, (np.array(owners), np.array(kinds)), counter.count(texts))
    return out


def _texts(conversation: Conversation) -> list[tuple[int, str]]:
    schemas = [(2, json.dumps(dict(tool), default=str)) for tool in conversation.tools]
    return schemas + [
        (kind, text)
        for turn in conversation.turns
        for kind, text in (
            (0, turn.content),
            (1, turn.reasoning),
            *((2, json.dumps(dict(call), default=str)) for call in turn.tool_calls),
        )
        if text
    ]


def _fitted(parts: np.ndarray, chosen: np.ndarray, exact: np.ndarray) -> tuple[np.ndarray, float]:
    """(int64 [conversations], relative error of their mean): the rendered length as a linear
    function of the parts, by least squares over those that were rendered."""
    known = np.column_stack([parts[chosen], np.ones(len(chosen))])
    weights = np.linalg.lstsq(known, exact.astype(float), rcond=None)[0]
    guess = np.column_stack([parts, np.ones(len(parts))]) @ weights
    spread = float(np.std(known @ weights - exact))
    tokens = np.maximum(1, np.round(guess)).astype(np.int64)
    tokens[chosen] = exact
    return tokens, spread / np.sqrt(len(chosen)) / float(tokens.mean())
