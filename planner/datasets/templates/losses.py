"""Text of conversations that does not come out of a chat template: some leave out the thoughts of
earlier answers, or roles that they do not know."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from planner.datasets.conversation import Conversation
from planner.datasets.templates.rendering import Rendered

THOUGHT_ENDS = "</think>"


def lost_shares(
    conversations: Sequence[Conversation], found: Sequence[Rendered]
) -> Mapping[str, float]:
    """Kind of part (thoughts, tools, or the role of a turn) → share of all characters that are
    missing in the rendered texts."""
    lost: Counter[str] = Counter()
    total = 0
    for conversation, made in zip(conversations, found):
        for tool in conversation.tools:
            size = len(json.dumps(dict(tool), default=str))
            name = str(tool.get("function", tool).get("name", ""))
            total += size
            lost["tools"] += 0 if name in made.text else size
        for turn in conversation.turns:
            total += len(turn.content) + len(turn.reasoning)
            lost["thoughts"] += _missing(turn.reasoning, made.text)
            before, mark, after = turn.content.rpartition(THOUGHT_ENDS)
            if mark and _missing(turn.content, made.text):
                lost["thoughts"] += _missing(before, made.text)
                lost[turn.role] += _missing(after, made.text)
            else:
                lost[turn.role] += _missing(turn.content, made.text)
    return {kind: size / total for kind, size in lost.most_common() if size}


def _missing(part: str, text: str) -> int:
    """Characters of a part that stands in the text neither as it is nor inside of JSON."""
    inner = part.strip()
    if not inner or inner in text:
        return 0
    escaped = (json.dumps(inner, ensure_ascii=ascii_only)[1:-1] for ascii_only in (False, True))
    return 0 if any(each in text for each in escaped) else len(part)
