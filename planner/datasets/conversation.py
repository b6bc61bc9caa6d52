"""A record as a conversation: what a trainer hands to the model's chat template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. ``role`` is of ROLES (a template may refuse others). ``trained``: the loss is
    taken on its tokens. ``reasoning``: what the answer thought aloud (``reasoning_content``).
    ``tool_calls``: as OpenAI spells them, {"type": "function", "function": {"name", "arguments"}}.
    ``images``: pictures among its parts; their tokens are the model's to know."""

    role: str
    content: str
    trained: bool = False
    reasoning: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    images: int = 0


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order; ``tools``: JSON schemas of the functions that the model may call, which
    templates write into every sample."""

    turns: tuple[Turn, ...]
    tools: tuple[Mapping[str, Any], ...] = field(default=())
