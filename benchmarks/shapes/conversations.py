"""Conversations and instructions."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.shapes.shape import (
    Made,
    Message,
    Writer,
    asked,
    said,
    shape,
)


def pair_of_columns(name: str, first: str, second: str, **kind: Any) -> None:
    """Two columns, a question and an answer."""

    @shape(name, **kind)
    def _(w: Writer) -> Made:
        question, answer = w.question(), w.answer()
        return Made({first: question, second: answer}, asked(question, answer))


for _first, _second in (
    ("prompt", "completion"),
    ("prompt", "answer"),
    ("question", "response"),
    ("Human", "Assistant"),
    ("User", "Bot"),
    ("query", "answer"),
    ("question", "solution"),
    ("prompt", "reply"),
    ("prompt", "responses"),
):
    pair_of_columns(f"{_first}/{_second}", _first, _second)


@shape("instruction/input/output")
def _alpaca(w: Writer) -> Made:
    ask, given, answer = w.question(), w.long(), w.answer()
    return Made(
        {"instruction": ask, "input": given, "output": answer}, asked(f"{ask}\n{given}", answer)
    )


@shape("instruction/input/output with system and history")
def _alpaca_history(w: Writer) -> Made:
    ask, answer, system = w.question(), w.answer(), w.long()
    rounds = [[w.question(), w.answer()] for _ in range(w.random.randint(0, 3))]
    turns = [(role, t) for r in rounds for role, t in zip(("user", "assistant"), r)]
    talk = said(("system", system), *turns, ("user", ask), ("assistant", answer))
    record = {"instruction": ask, "input": "", "output": answer, "system": system}
    return Made(record | {"history": rounds}, talk)


def rounds_of(w: Writer) -> list[tuple[str, str]]:
    return [
        (role, text)
        for _ in range(w.random.randint(1, 3))
        for role, text in (("user", w.question()), ("assistant", w.answer()))
    ]


NAMES = {"user": "human", "assistant": "gpt", "system": "system"}


@shape("ShareGPT")
def _sharegpt(w: Writer) -> Made:
    turns = rounds_of(w)
    return Made({"conversations": [{"from": NAMES[r], "value": t} for r, t in turns]}, said(*turns))


@shape("ShareGPT with system column")
def _sharegpt_system(w: Writer) -> Made:
    turns, system = rounds_of(w), w.long()
    record = {"conversations": [{"from": NAMES[r], "value": t} for r, t in turns]}
    return Made(record | {"system": system}, said(("system", system), *turns))


def tool(w: Writer) -> dict[str, Any]:
    properties = {f"arg{i}": {"type": "string", "description": w.text(4, 12)} for i in range(3)}
    parameters = {"type": "object", "properties": properties, "required": ["arg0"]}
    inner = {"name": f"tool_{w.random.randint(0, 9)}", "description": w.text(8, 20)}
    return {"type": "function", "function": inner | {"parameters": parameters}}


@shape("ShareGPT with system and tools", template="qwen3")
def _sharegpt_tools(w: Writer) -> Made:
    turns, system, tools = rounds_of(w), w.long(), [tool(w), tool(w)]
    record = {
        "conversations": [{"from": NAMES[r], "value": t} for r, t in turns],
        "system": system,
        "tools": json.dumps(tools),
    }
    return Made(record, said(("system", system), *turns, tools=tools))


@shape("messages", template="gemma")
def _messages(w: Writer) -> Made:
    turns = rounds_of(w)
    return Made({"messages": [{"role": r, "content": t} for r, t in turns]}, said(*turns))


@shape("messages, JSON array in .jsonl", file="array.jsonl")
def _array(w: Writer) -> Made:
    return _messages(w)


@shape("messages, .jsonl.zst", file="jsonl.zst")
def _zst(w: Writer) -> Made:
    return _messages(w)


@shape("messages, JSON text in a CSV cell", file="csv")
def _cell(w: Writer) -> Made:
    made = _messages(w)
    return Made({"id": 1, "messages": json.dumps(made.record["messages"])}, made.talk)


@shape("messages with tools and tool_calls", template="qwen3")
def _calls(w: Writer) -> Made:
    tools = [tool(w)]
    call = {"name": tools[0]["function"]["name"], "arguments": {"arg0": w.text(2, 5)}}
    messages: list[Message] = [
        {"role": "user", "content": w.question()},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": call}],
        },
        {"role": "tool", "content": w.answer()},
        {"role": "assistant", "content": w.answer()},
    ]
    stored = json.loads(json.dumps(messages))
    function = stored[1]["tool_calls"][0]["function"]
    function["arguments"] = json.dumps(function["arguments"])
    return Made({"messages": stored, "tools": tools}, (messages, tools))


@shape("messages with reasoning_content", template="qwen3")
def _reasoning(w: Writer) -> Made:
    turns, thought = [("user", w.question()), ("assistant", w.answer())], w.long()
    messages = [{"role": r, "content": t} for r, t in turns]
    messages[-1]["reasoning_content"] = thought
    return Made({"messages": messages}, said(*turns, reasoning_content=thought))


@shape("messages with thinking", template="qwen3")
def _thinking(w: Writer) -> Made:
    made = _reasoning(w)
    messages = [dict(m) for m in made.record["messages"]]
    messages[-1]["thinking"] = messages[-1].pop("reasoning_content")
    return Made({"messages": messages}, made.talk)


@shape("messages, content as a list of parts")
def _parts(w: Writer) -> Made:
    turns = rounds_of(w)
    stored = [{"role": r, "content": [{"type": "text", "text": t}]} for r, t in turns]
    return Made({"messages": stored}, said(*turns))


@shape("turns as {system, input, output}")
def _xtuner(w: Writer) -> Made:
    system, rounds = w.long(), [(w.question(), w.answer()) for _ in range(2)]
    turns = [{"input": q, "output": a} for q, a in rounds]
    turns[0]["system"] = system
    flat = [(r, t) for q, a in rounds for r, t in (("user", q), ("assistant", a))]
    return Made({"conversation": turns}, said(("system", system), *flat))


@shape("turns as {human, assistant}")
def _human_assistant(w: Writer) -> Made:
    rounds = [(w.question(), w.answer()) for _ in range(w.random.randint(1, 3))]
    flat = [(r, t) for q, a in rounds for r, t in (("user", q), ("assistant", a))]
    return Made({"conversation": [{"human": q, "assistant": a} for q, a in rounds]}, said(*flat))


def named_turns(name: str, column: str, who: str, what: str, roles: tuple[str, str]) -> None:
    @shape(name)
    def _(w: Writer) -> Made:
        turns = rounds_of(w)
        spoken = dict(zip(("user", "assistant"), roles))
        return Made({column: [{who: spoken[r], what: t} for r, t in turns]}, said(*turns))


named_turns("turns as {speaker, utterance}", "dialogue", "speaker", "utterance", ("user", "bot"))
named_turns("data as {author, message}", "data", "author", "message", ("user", "assistant"))
named_turns("history as {role, text}", "history", "role", "text", ("user", "assistant"))
named_turns("chat as {role, content}", "chat", "role", "content", ("user", "assistant"))


@shape("data as a list of texts (UltraChat)")
def _ultrachat(w: Writer) -> Made:
    turns = rounds_of(w)
    return Made({"id": str(w.random.random()), "data": [text for _, text in turns]}, said(*turns))


def written(name: str, marks: tuple[str, str], between: str = "", **kind: Any) -> None:
    """A whole conversation in one column."""

    @shape(name, **kind)
    def _(w: Writer) -> Made:
        turns = rounds_of(w)
        of = dict(zip(("user", "assistant"), marks))
        return Made({"text": between.join(f"{of[r]}{t}" for r, t in turns)}, said(*turns))


written("one text, ### Human: (guanaco)", ("### Human: ", "### Assistant: "))
written("one text, User: and Bot:", ("User: ", "Bot: "), "\n")
written("one text, [INST]", ("<s>[INST] ", " [/INST] "), " </s>", template="gemma")


@shape("preference, one text each (Anthropic HH)")
def _hh(w: Writer) -> Made:
    *turns, (_, answer) = rounds_of(w)
    of = {"user": "\n\nHuman: ", "assistant": "\n\nAssistant: "}
    before = "".join(f"{of[r]}{t}" for r, t in turns) + of["assistant"]
    record = {"chosen": before + answer, "rejected": before + w.answer()}
    return Made(record, said(*turns, ("assistant", answer)))
