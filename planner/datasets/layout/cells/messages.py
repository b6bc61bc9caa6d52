"""Turns of a conversation in every spelling: role and content, from and value, speaker and
utterance, rounds of {human, assistant}, pairs, lists of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from planner.datasets.conversation import Turn
from planner.datasets.layout.cells import names
from planner.datasets.layout.cells.walk import joined
from planner.files import loads

PICTURES = ("image", "image_url", "input_image")
PLACEHOLDER = "<image>"  # where LLaMA-Factory, LLaVA and others put a picture into a text
TOOL_RESULT, TOOL_USE, THOUGHT = "tool_result", "tool_use", "thinking"


@dataclass(frozen=True, slots=True)
class Plan:
    """Which keys of a message hold what. ``rounds``: (key, role) of a dictionary that holds a
    whole round, such as {human, assistant}; empty for a message of one speaker."""

    speaker: str = ""
    content: str = ""
    reasoning: str = ""
    calls: str = ""
    rounds: tuple[tuple[str, str], ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys whose text is trained on."""
        named = (self.speaker, self.content, self.reasoning, self.calls)
        return tuple(filter(None, named)) + tuple(key for key, _ in self.rounds)


@lru_cache(4096)
def plan_of(keys: tuple[str, ...]) -> Plan | None:
    """The plan of a message with these keys; None when they are of no message."""
    by_name = {names.normal(key): key for key in reversed(keys)}

    def first(kind: str, meaning: str) -> str:
        return next((by_name[n] for n in names.words(kind, meaning) if n in by_name), "")

    calls, speaker = first("key", "tool_calls"), first("key", "speaker")
    content = next(
        (
            by_name[n]
            for n in names.words("key", "content")
            if n in by_name and by_name[n] != speaker
        ),
        "",
    )
    if speaker and (content or calls):
        return Plan(speaker, content, first("column", "reasoning"), calls)
    rounds = tuple((key, role) for key in keys if (role := _round_role(key)))
    roles = [role for _, role in rounds]
    if "user" in roles and "assistant" in roles:
        return Plan(rounds=tuple(sorted(rounds, key=lambda r: ORDER.index(r[1]))))
    return Plan(content=content) if content else None


#: A key that many lists have which are no conversation: a speaker only under a conversation's name.
WEAK = ("name",)
ORDER = ("system", "user", "reasoning", "assistant")
_ROUND_ROLES = {
    "system": "system",
    "prompt": "user",
    "input": "user",
    "answer": "assistant",
    "reasoning": "reasoning",
}


def _round_role(key: str) -> str:
    role, known = names.role_of(key)
    role = _ROUND_ROLES.get(role, "") if known else ""
    return role or (names.speaker(key) if names.speaker(key) in ("user", "assistant") else "")


def is_message(value: Any) -> bool:
    """A dictionary that names a speaker and what was said."""
    plan = plan_of(tuple(value)) if isinstance(value, dict) else None
    if plan is None or not plan.speaker or plan.speaker in WEAK:
        return False
    return not isinstance(value[plan.speaker], (list, tuple))


def is_chat(value: Any, path: str) -> bool:
    """Whether a cell holds a conversation. ``path``: the column's name, which decides where the
    value alone does not: a list of texts under ``dialog`` are turns."""
    if isinstance(value, dict):
        return is_message(value)
    if not isinstance(value, (list, tuple)) or not value:
        return False
    named = names.role_of(path)[0] in ("conversation", "history")
    if all(isinstance(item, dict) for item in value):
        plans = [plan_of(tuple(item)) for item in value]
        if not all(plans):
            return False
        if all(plan and plan.speaker and plan.speaker not in WEAK for plan in plans):
            return names.role_of(path)[0] not in ALTERNATIVES or _is_spoken(value)
        return named or not _is_questions(value, path)
    if all(isinstance(item, (list, tuple)) for item in value):
        passages = names.role_of(path)[0] == "input"  # of two sentences each
        return not passages and all(map(_is_round, value))
    return named and any(isinstance(item, str) for item in value)


#: Roles of columns whose lists hold several answers to one question, each with its author.
ALTERNATIVES = ("answer",)


def _is_spoken(value: Sequence[dict[str, Any]]) -> bool:
    """A known speaker says each of them."""
    plans = [(item, plan_of(tuple(item))) for item in value]
    return all(plan and names.speaker(_name(item.get(plan.speaker))) for item, plan in plans)


def _is_round(item: Sequence[Any]) -> bool:
    return len(item) == 2 and all(isinstance(part, str) or part is None for part in item)


def _is_questions(value: Sequence[dict[str, Any]], path: str) -> bool:
    """Questions on one text, such as SQuAD's ``qas``: each is a record, not a turn."""
    plan = plan_of(tuple(value[0]))
    if plan is None or not plan.rounds:
        return True
    if names.role_of(path)[0] == "records":
        return True
    asked = {key for key, role in plan.rounds if role in ("user", "assistant")}
    others = [key for item in value[:3] for key in item if key not in plan.keys]
    nested = any(isinstance(item.get(key), (dict, list)) for item in value[:3] for key in asked)
    return nested or any(names.role_of(key)[0] == "identifier" for key in others)


def turns_of(value: Any) -> list[Turn]:
    """The turns of a cell for which ``is_chat`` holds; those of an assistant are trained."""
    if isinstance(value, dict):
        value = (value,)
    if not isinstance(value, (list, tuple)):
        return []
    turns: list[Turn] = []
    speakers = Speakers(value)
    for item in value:
        if isinstance(item, dict):
            turns += _of_dictionary(item, speakers)
        elif isinstance(item, (list, tuple)):
            turns += (
                turn(role, joined(part)) for role, part in zip(("user", "assistant"), item) if part
            )
        elif item is not None:
            turns.append(turn(("user", "assistant")[len(turns) % 2], str(item)))
    return turns


def turn(role: str, content: str, **more: Any) -> Turn:
    """A turn on which the loss is taken when an assistant speaks."""
    return Turn(role, content, role == "assistant", images=content.count(PLACEHOLDER), **more)


class Speakers:
    """Roles of the speakers of one conversation: known ones by name; of others the first that
    comes asks and the next answers, where no known one does."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items, self.unknown, self.alone = items, {}, 0

    def role(self, item: Mapping[str, Any], plan: Plan) -> str:
        if not plan.speaker:
            self.alone += 1
            return ("user", "assistant")[(self.alone - 1) % 2]
        name = _name(item.get(plan.speaker))
        known = names.speaker(name)
        if known:
            return known
        if name not in self.unknown:
            self._name_all()
        return self.unknown.get(name, "user")

    def _name_all(self) -> None:
        met = [
            _name(item.get(plan.speaker))
            for item in self.items
            if isinstance(item, dict) and (plan := plan_of(tuple(item))) and plan.speaker
        ]
        taken = {names.speaker(name) for name in met}
        free = [role for role in ("user", "assistant") if role not in taken]
        free = free or ["user", "assistant"]
        others = dict.fromkeys(name for name in met if not names.speaker(name))
        self.unknown = {name: free[i % len(free)] for i, name in enumerate(others)}


def _name(value: Any) -> str:
    """Of a speaker; ``{"author": {"role": "user"}}`` is spelled so too."""
    return str(value.get("role") if isinstance(value, dict) else value)


def _of_dictionary(item: Mapping[str, Any], speakers: Speakers) -> Iterable[Turn]:
    plan = plan_of(tuple(item))
    if plan is None:
        return ()
    return _round(item, plan) if plan.rounds else (_message(item, plan, speakers.role(item, plan)),)


def _round(item: Mapping[str, Any], plan: Plan) -> Iterable[Turn]:
    thought = ""
    for key, role in plan.rounds:
        content = joined(item.get(key))
        if role == "reasoning":
            thought = content
        elif role == "assistant":
            yield turn(role, content, reasoning=thought)
        elif content:
            yield turn(role, content)


def _message(item: Mapping[str, Any], plan: Plan, role: str) -> Turn:
    content = item.get(plan.content) if plan.content else None
    thought = joined(item.get(plan.reasoning)) if plan.reasoning else ""
    calls = calls_of(item.get(plan.calls)) if plan.calls else ()
    if isinstance(content, str):
        if not calls and item.get(plan.speaker) in ("function_call", "tool_call"):
            calls = calls_of(content)
            content = "" if calls else content
        made = turn(role, content, reasoning=thought, tool_calls=calls)
    else:
        made = _of_parts(content, role, thought, calls)
    # OpenAI's weight and axolotl's train take a turn out of the loss.
    if made.trained and (item.get("weight") == 0 or item.get("train") is False):
        made = replace(made, trained=False)
    return made


def _of_parts(content: Any, role: str, thought: str, calls: tuple[Any, ...]) -> Turn:
    """Content as a list of parts: texts, pictures, calls of tools and their results, thoughts."""
    parts = content if isinstance(content, (list, tuple)) else (content,)
    texts, images, used = [], 0, list(calls)
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in PICTURES or (
            isinstance(part, dict) and part.keys() & {"inline_data", "image_url"}
        ):
            images += 1
        elif kind == TOOL_USE:
            used.append(_call(part.get("name"), part.get("input")))
        elif kind == TOOL_RESULT:
            texts.append(joined(part.get("content")))
        elif kind == THOUGHT:
            thought += joined(part.get(THOUGHT))
        else:
            texts.append(joined(part))
    text = "\n".join(filter(None, texts))
    made = turn(role, text, reasoning=thought, tool_calls=tuple(used))
    return replace(made, images=made.images + images)


def calls_of(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Calls of tools as OpenAI spells them, from a list, one call or their JSON text."""
    if isinstance(value, str):
        value = parsed(value)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, (list, tuple)):
        return ()
    return tuple(filter(None, map(_as_call, value)))


def _as_call(item: Any) -> Mapping[str, Any] | None:
    if not isinstance(item, dict):
        return None
    inner = item.get("function")
    if isinstance(inner, dict):
        return item
    return (
        _call(item["name"], item.get("arguments", item.get("parameters")))
        if "name" in item
        else None
    )


def _call(name: Any, arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments or {}}}


def tools_of(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Schemas of tools from a list, one schema, or their JSON text; a text that is no JSON is the
    description of one tool."""
    if isinstance(value, str):
        text, value = value, parsed(value)
        if not isinstance(value, (dict, list)):
            return ({"description": text},) if text.strip() else ()
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, (list, tuple)):
        return ()
    items = [parsed(item) if isinstance(item, str) else item for item in value]
    return tuple(item if isinstance(item, dict) else {"description": str(item)} for item in items)


def parsed(text: str) -> Any:
    """The value of a text that is JSON, or a literal of Python as pandas writes lists into CSV; the
    text itself where it is neither."""
    for parse in PARSERS:
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return text


def _literal(text: str) -> Any:
    import ast

    return ast.literal_eval(text)


PARSERS: tuple[Callable[[str], Any], ...] = (loads, _literal)
