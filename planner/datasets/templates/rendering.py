"""Conversations as texts, by a chat template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.datasets.constants import constant
from planner.datasets.conversation import Conversation, Turn
from planner.datasets.templates.adapting import adapted, unread
from planner.datasets.templates.chat_template import ChatTemplate
from planner.errors import DataError
from planner.today import today


@dataclass(frozen=True, slots=True)
class Rendered:
    """``text`` as the model reads it. ``trained``: (start, stop) of the characters that the loss is
    taken on. ``form``: how the messages were changed for the template (environment.FORMS), None
    where it takes them in no form: then the texts stand one after the other."""

    text: str
    trained: tuple[tuple[int, int], ...]
    form: str | None


def render(template: ChatTemplate, conversations: Sequence[Conversation]) -> list[Rendered]:
    """One text a conversation; parts that the template does not read stand in its texts
    (adapting.py). Raises DataError for a template that cannot be rendered at all."""
    from planner.datasets.templates import environment, isolated

    lacking = unread(template.text)
    conversations = [adapted(conversation, lacking) for conversation in conversations]
    job: dict[str, Any] = {
        "template": template.text,
        "day": today().isoformat(),
        "variables": dict(template.variables),
        "records": [[messages_of(c), [dict(tool) for tool in c.tools]] for c in conversations],
        "characters": int(constant("template_characters")),
    }
    done = (
        isolated.render_apart(job, template.source) if template.own else environment.render_all(job)
    )
    if done["too_long"]:
        raise DataError("the chat template writes without an end", where=template.source)
    if conversations and all(text is None for text in done["texts"]):
        raise DataError(
            f"the chat template takes none of the records: {done['refusal']}",
            where=template.source,
        )
    return [
        _marked(text, form, conversation)
        for text, form, conversation in zip(done["texts"], done["forms"], conversations)
    ]


def messages_of(conversation: Conversation) -> list[dict[str, Any]]:
    """As transformers' templates expect messages: calls with their arguments as objects, thoughts
    under both names that are read."""
    return [_message(turn) for turn in conversation.turns]


def _message(turn: Turn) -> dict[str, Any]:
    content: Any = turn.content
    if turn.images:
        content = [{"type": "image"}] * turn.images + [{"type": "text", "text": turn.content}]
    message: dict[str, Any] = {"role": turn.role, "content": content}
    if turn.reasoning:
        message |= {"reasoning_content": turn.reasoning, "thinking": turn.reasoning}
    if turn.tool_calls:
        message["tool_calls"] = [_call(call) for call in turn.tool_calls]
    return message


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function", call)
    function = dict(function) if isinstance(function, Mapping) else {}
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            pass  # written as it is
    return {
        "type": "function",
        "function": {"name": str(function.get("name", "")), "arguments": arguments},
    }


def _marked(text: str | None, form: str, conversation: Conversation) -> Rendered:
    from planner.datasets.templates.environment import CLOSED, OPENED

    if text is None:
        whole = "\n".join(turn.content for turn in conversation.turns)
        return Rendered(whole, _answers(whole, conversation), None)
    if OPENED not in text:
        return Rendered(text, _answers(text, conversation), form)
    pieces, spans, length = text.split(OPENED), [], 0
    plain = [pieces[0]]
    length = len(pieces[0])
    for piece in pieces[1:]:
        inside, _, after = piece.partition(CLOSED)
        spans.append((length, length + len(inside)))
        length += len(inside) + len(after)
        plain += [inside, after]
    return Rendered("".join(plain), _only_trained(spans, conversation), form)


def _only_trained(
    spans: list[tuple[int, int]], conversation: Conversation
) -> tuple[tuple[int, int], ...]:
    """A template marks every answer; some data trains on some of them."""
    answers = [turn.trained for turn in conversation.turns if turn.role == "assistant"]
    if len(answers) != len(spans):
        return tuple(spans)
    return tuple(span for span, trained in zip(spans, answers) if trained)


def _answers(text: str, conversation: Conversation) -> tuple[tuple[int, int], ...]:
    """Where the trained turns stand in a text whose template marks none, found in order."""
    spans, start = [], 0
    for turn in conversation.turns:
        content = turn.content.strip()
        place = text.find(content, start) if content else -1
        if place < 0:
            continue
        start = place + len(content)
        if turn.trained:
            spans.append((place, start))
    return tuple(spans)
