"""What a chat template does not read is put into the texts that it does read: schemas of tools into
the system text, thoughts and calls into the answers. Otherwise they would vanish without a word."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from planner.datasets.conversation import Conversation, Turn

#: Parts of a conversation → names by which a template reads them.
READ_BY = {
    "tools": ("tools",),
    "thoughts": ("reasoning", "thinking", "</think>"),
    "calls": ("tool_calls",),
}


def unread(template: str) -> frozenset[str]:
    """The parts that a template does not read."""
    return frozenset(
        part for part, names in READ_BY.items() if not any(name in template for name in names)
    )


def adapted(conversation: Conversation, unread_parts: frozenset[str]) -> Conversation:
    """The conversation with those parts in its texts; itself where it has none."""
    turns = [_adapted(turn, unread_parts) for turn in conversation.turns]
    if "tools" not in unread_parts or not conversation.tools:
        return replace(conversation, turns=tuple(turns))
    schemas = "\n".join(_json(tool) for tool in conversation.tools)
    if turns and turns[0].role == "system":
        first, *turns = turns
        schemas = f"{first.content}\n\n{schemas}"
    return Conversation((Turn("system", schemas), *turns))


def moved(conversation: Conversation, unread_parts: frozenset[str]) -> Iterator[str]:
    """The parts that ``adapted`` moves."""
    if "tools" in unread_parts and conversation.tools:
        yield "tools"
    if "thoughts" in unread_parts and any(turn.reasoning for turn in conversation.turns):
        yield "thoughts"
    if "calls" in unread_parts and any(turn.tool_calls for turn in conversation.turns):
        yield "calls"


def _adapted(turn: Turn, unread_parts: frozenset[str]) -> Turn:
    if "thoughts" in unread_parts and turn.reasoning:
        text = f"<think>\n{turn.reasoning}\n</think>\n\n{turn.content}"
        turn = replace(turn, content=text, reasoning="")
    if "calls" in unread_parts and turn.tool_calls:
        calls = [_json(call) for call in turn.tool_calls]
        text = "\n".join(filter(None, [turn.content, *calls]))
        turn = replace(turn, content=text, tool_calls=())
    return turn


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, default=str)
