"""Renders chat templates as transformers does: jinja in a sandbox with transformers' own filters,
functions and tags.

Sources: transformers.utils.chat_template_utils (release 5.23) and
https://huggingface.co/docs/transformers/chat_templating. The file needs jinja2 and nothing of this
package: ``isolated.py`` runs it as a program of its own for templates of strangers.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: Stand around what a template declares as generated: private characters, which no text holds.
OPENED, CLOSED = "\ue0f0", "\ue0f1"
#: A text that no template adds by itself.
PROBE = "\ue0f2probe\ue0f2"

Message = dict[str, Any]
#: What a template refused, by how the messages were changed for it.
ASIS, STRING_ARGUMENTS, MERGED_SYSTEM, TWO_ROLES = "", "string_arguments", "system", "two_roles"


class _Generation(Extension):
    """``{% generation %} … {% endgeneration %}``: what the model itself writes."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> str:
        return f"{OPENED}{caller()}{CLOSED}"


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # jinja's own filter escapes for HTML
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


@cache
def compiled(text: str, day: str) -> jinja2.Template:
    """A template; ``strftime_now`` says ``day`` (ISO), whatever the clock says. Raises
    jinja2.TemplateError."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    today = datetime.datetime.fromisoformat(day)
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = today.strftime
    return environment.from_string(text)


def rendered(
    text: str, day: str, variables: Mapping[str, str], messages: list[Message], tools: list[Any]
) -> str:
    """The text of one conversation, with OPENED and CLOSED around what the template declares as
    generated. Raises jinja2.TemplateError and what the template's own expressions raise."""
    return compiled(text, day).render(
        messages=messages,
        tools=tools or None,
        documents=None,
        add_generation_prompt=False,
        **variables,
    )


def render_all(job: Mapping[str, Any]) -> dict[str, Any]:
    """``job``: template, day, variables, records as (messages, tools), characters (the most that
    all texts may have). Returns ``texts``, one a record, None where the template takes it in no
    form; ``forms``, how its messages were changed; ``refusal``, the first of them; ``too_long``."""
    spell: Callable[[Message], Message] = dict
    if not _takes(job, [{"type": "text", "text": PROBE}]):
        spell = _as_text
    elif not _takes(job, PROBE):
        spell = _as_parts
    texts: list[str | None] = []
    forms: list[str] = []
    refusal, room = "", int(job["characters"])
    for messages, tools in job["records"]:
        found, form, refused = _accepted(job, messages, tools, spell)
        texts.append(found)
        forms.append(form)
        refusal = refusal or refused
        room -= len(found or "")
        if room < 0:
            return {"texts": [], "forms": [], "refusal": refusal, "too_long": True}
    return {"texts": texts, "forms": forms, "refusal": refusal, "too_long": False}


def _accepted(
    job: Mapping[str, Any],
    messages: list[Message],
    tools: list[Any],
    spell: Callable[[Message], Message],
) -> tuple[str | None, str, str]:
    """(text, form, first refusal): the first form of the messages that the template takes."""
    refusal = ""
    for form, change in FORMS:
        changed = change(messages)
        if form and changed == messages:
            continue
        spelled = [spell(message) for message in changed]
        try:
            text = rendered(job["template"], job["day"], job["variables"], spelled, tools)
        except Exception as error:  # a template's expressions raise anything that Python does
            refusal = refusal or str(error) or type(error).__name__
        else:
            return text, form, refusal
    return None, "", refusal


def _takes(job: Mapping[str, Any], content: Any) -> bool:
    """Does a content of this form come out as text? Templates of models that see read lists of
    parts: of a string some print nothing, without a word. Others print a list as Python does."""
    messages = [{"role": "user", "content": content}]
    try:
        text = rendered(job["template"], job["day"], job["variables"], messages, [])
    except Exception:  # a template's expressions raise anything that Python does
        return False
    return PROBE in text and "'type'" not in text


def _as_parts(message: Message) -> Message:
    content = message["content"]
    return (
        message | {"content": [{"type": "text", "text": content}]}
        if isinstance(content, str)
        else message
    )


def _as_text(message: Message) -> Message:
    return message | {"content": _text(message["content"])}


def _as_is(messages: Sequence[Message]) -> list[Message]:
    return list(messages)


def _string_arguments(messages: Sequence[Message]) -> list[Message]:
    """A call's arguments as JSON text: some templates write them as they come."""

    def spelled(call: Any) -> Any:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or isinstance(function.get("arguments"), str):
            return call
        return call | {"function": function | {"arguments": _to_json(function.get("arguments"))}}

    return [
        message | {"tool_calls": [spelled(call) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in messages
    ]


def _merged_system(messages: Sequence[Message]) -> list[Message]:
    """What stands in a system message goes before the first question, as trainers do for models
    that know no system role."""
    system = [_text(m["content"]) for m in messages if m["role"] == "system"]
    rest = [m for m in messages if m["role"] != "system"]
    if not system:
        return rest
    first = next((i for i, m in enumerate(rest) if m["role"] == "user"), None)
    if first is None:
        return [{"role": "user", "content": "\n\n".join(system)}, *rest]
    text = "\n\n".join([*system, _text(rest[first]["content"])])
    return [*rest[:first], rest[first] | {"content": text}, *rest[first + 1 :]]


def _two_roles(messages: Sequence[Message]) -> list[Message]:
    """Question and answer in turn, from a question on: what calls and results hold is text of
    them."""
    merged: list[Message] = []
    for message in _merged_system(messages):
        role = "assistant" if message["role"] == "assistant" else "user"
        calls = [_to_json(call.get("function", call)) for call in message.get("tool_calls") or ()]
        text = "\n".join(filter(None, [_text(message["content"]), *calls]))
        if merged and merged[-1]["role"] == role:
            text = f"{merged.pop()['content']}\n\n{text}"
        elif not merged and role == "assistant":
            merged.append({"role": "user", "content": ""})
        merged.append({"role": role, "content": text})
    return merged


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content if isinstance(part, dict))


#: In the order in which a template is asked to take them.
FORMS = (
    (ASIS, _as_is),
    (STRING_ARGUMENTS, _string_arguments),
    (MERGED_SYSTEM, _merged_system),
    (TWO_ROLES, _two_roles),
)


def _limit(megabytes: int, seconds: int) -> None:
    """This process may take no more than that, where the system knows such limits."""
    try:
        import resource
    except ImportError:  # Windows: the caller's clock and its watch over memory remain
        return
    for kind, value in (
        (resource.RLIMIT_AS, megabytes * 2**20),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):  # the system knows the name and not the limit
            continue


if __name__ == "__main__":
    _limit(int(sys.argv[1]), int(sys.argv[2]))
    json.dump(render_all(json.load(sys.stdin)), sys.stdout)
