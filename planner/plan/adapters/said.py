"""How a method of adapters was understood, in the first lines."""

from __future__ import annotations

from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.plan.adapters.asked import method_asked, size_of, text_left
from planner.question import Question
from planner.question.adapters import Method


def adapter_lines(
    question: Question,
    facts: ModelFacts,
    strategy: str,
    *,
    length: int | None,
    packed: bool,
) -> tuple[FirstLine, ...]:
    """``length``: the longest text as it would be without virtual tokens; ``packed``: whether texts
    share a sequence."""
    method = method_asked(question, strategy)
    if method is None:
        return ()
    said = [f"adapters are {method.words}'s, by PEFT's {method.config}: {method.trains}"]
    size = _size(question, method)
    lines = [FirstLine("recipe", "; ".join([*said, size] if size else said))]
    if method.says:
        lines.append(
            FirstLine("recipe", f"{method.words}: {method.says}", warning=method.is_warning)
        )
    if method.has_virtual_tokens:
        lines += _of_virtual_tokens(question, facts, strategy, length, packed)
    return tuple(lines)


def _size(question: Question, method: Method) -> str:
    if method.size is None:
        return ""
    text = f"{method.argument} {size_of(question, method)}"
    if method.size in question.model_fields_set:
        return text
    source = method.source if method.default is not None else "as for lora"
    return f"{text}, {source} ({FieldName(method.size)} changes it)"


def _of_virtual_tokens(
    question: Question, facts: ModelFacts, strategy: str, length: int | None, packed: bool
) -> list[FirstLine]:
    lines: list[FirstLine] = []
    left = text_left(question, facts, strategy, length)
    if length is not None and left is not None and left < length:
        text = (
            f"texts are cut at {left:,} tokens, which leaves their places to the virtual tokens: "
            f"{facts.name} has {facts.max_length:,}"
        )
        lines.append(FirstLine("run", text, warning=True))
    if packed:
        text = "virtual tokens stand once before each packed sequence, not before each of its texts"
        lines.append(FirstLine("run", text))
    return lines
