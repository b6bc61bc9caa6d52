"""Shapes of records that people have: name → (kind, columns by role, turns, a record by number).

Turns are written as roles with what they say: ``u:question`` is a user's turn that holds the text
of the column ``question``. Texts are random words, so that none repeats another.
"""

import json
import random

WORDS = [
    "".join(
        random.Random(i).choices("abcdefghijklmnoprstuvwy", k=2 + random.Random(-i).randint(1, 7))
    )
    for i in range(1, 3000)
]


def text(seed, count=20):
    """A sentence; the same for the same seed."""
    return " ".join(random.Random(repr(seed)).choices(WORDS, k=count)).capitalize() + "."


def says(i, *speakers, keys=("role", "content"), count=15):
    """Messages of these speakers, under these keys."""
    return [{keys[0]: s, keys[1]: text((i, n, s, keys), count)} for n, s in enumerate(speakers)]


def columns(*names, count=20):
    """A record of a text in each column."""
    return lambda i: {name: text((i, name), count) for name in names}


def instruction(prompt, answer, **more):
    roles = {"prompt": (prompt,), "answer": (answer,), **more}
    return "instruction", roles, f"u:{prompt} a:{answer}", columns(prompt, answer)


def transfer(source, target):
    return "transfer", {"source": (source,), "target": (target,)}, None, columns(source, target)


def chat(path, roles, record, **more):
    return "chat", {"conversation": (path,), **more}, roles, record


def pick(i, *values):
    return random.Random(i).choice(values)


CALL = {"type": "function", "function": {"name": "get", "arguments": {"city": "Ulm am Rhein"}}}
TOOL = {"name": "get", "description": "gets what is asked for by its name", "parameters": {}}


def calls(i):
    return {
        "messages": [
            *says(i, "user"),
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": text((i, "result"))},
            *says((i, 2), "assistant"),
        ],
        "tools": json.dumps([TOOL]),
    }


def ultra(i):
    prompt, answer = text((i, "p")), text((i, "c"))
    asked = {"role": "user", "content": prompt}
    return {
        "prompt": prompt,
        "prompt_id": f"{random.Random(i).getrandbits(256):064x}",
        "chosen": [asked, {"role": "assistant", "content": answer}],
        "rejected": [asked, *says(i, "assistant")],
        "messages": [asked, {"role": "assistant", "content": answer}],
        "score_chosen": 7.5,
    }


def alpaca(i):
    prompt, answer = text((i, "i")), text((i, "o"))
    whole = f"Below is an instruction. Write a response.\n\n### Instruction:\n{prompt}\n\n{answer}"
    return {"instruction": prompt, "input": "", "output": answer, "text": whole}


def squad(i):
    context = text((i, "c"), 60)
    return {
        "id": f"{random.Random(i).getrandbits(96):024x}",
        "context": context,
        "question": text((i, "q")),
        "answers": {"text": [context[5:40], context[5:60]], "answer_start": [5, 5]},
    }


PAIR = {"chosen": ("chosen",), "rejected": ("rejected",)}
ASKED = {"prompt": ("prompt",), **PAIR}
SHAPES = {
    "human and assistant": instruction("Human", "Assistant"),
    "user and bot": instruction("User", "Bot"),
    "query and answer": instruction("query", "answer"),
    "question and solution": instruction("question", "solution"),
    "prompt and reply": instruction("prompt", "reply"),
    "problem and solution": instruction("problem", "solution"),
    "question and response": instruction("Question", "Response"),
    "q and a": instruction("q", "a"),
    "context and response": instruction("Context", "Response"),
    "user prompt and model output": instruction("userPrompt", "modelOutput"),
    "prompt and an unknown answer": instruction("prompt", "elaboration"),
    "unknown prompt and answer": instruction("inquiry", "answer"),
    "no known name": instruction("frage", "antwort"),
    "other letters": instruction("问题", "回答"),
    "completions": (
        "instruction",
        {"prompt": ("prompt",), "answer": ("completions",)},
        "u:prompt a:completions",
        lambda i: {"prompt": text((i, 1)), "completions": [text((i, 2))]},
    ),
    "alpaca": (
        "instruction",
        {"prompt": ("instruction", "input"), "answer": ("output",)},
        "u:instruction,input a:output",
        columns("instruction", "input", "output"),
    ),
    "alpaca rendered beside": (
        "instruction",
        {"prompt": ("instruction",), "answer": ("output",)},
        "u:instruction a:output",
        alpaca,
    ),
    "dolly": (
        "instruction",
        {"prompt": ("instruction", "context"), "answer": ("response",)},
        "u:instruction,context a:response",
        lambda i: {
            **columns("instruction", "context", "response")(i),
            "category": pick(i, "a", "b"),
        },
    ),
    "orca": (
        "instruction",
        {"system": ("system_prompt",), "prompt": ("question",), "answer": ("response",)},
        "s:system_prompt u:question a:response",
        lambda i: {"id": f"cot.{i}", **columns("system_prompt", "question", "response")(i)},
    ),
    "history of pairs": (
        "instruction",
        {"history": ("history",), "prompt": ("instruction",), "answer": ("output",)},
        "u a u a u:instruction a:output",
        lambda i: {
            **columns("instruction", "output")(i),
            "history": [[text((i, n, 1)), text((i, n, 2))] for n in range(2)],
        },
    ),
    "prompt as an object": (
        "instruction",
        {"system": ("prompt.system",), "prompt": ("prompt.user",), "answer": ("response",)},
        "s:prompt.system u:prompt.user a:response",
        lambda i: {"prompt": columns("system", "user")(i), "response": text((i, "r"))},
    ),
    "reasoning beside": (
        "instruction",
        {"prompt": ("question",), "answer": ("answer",), "reasoning": ("reasoning",)},
        "u:question a:answer",
        columns("question", "reasoning", "answer"),
    ),
    "complex thoughts": (
        "instruction",
        {"prompt": ("Question",), "answer": ("Response",), "reasoning": ("Complex_CoT",)},
        "u:Question a:Response",
        columns("Question", "Complex_CoT", "Response"),
    ),
    "a passage of no known name": (
        "instruction",
        {"prompt": ("instruction", "beschreibung"), "answer": ("output",)},
        "u:instruction,beschreibung a:output",
        columns("instruction", "output", "beschreibung"),
    ),
    "a choice of answers": (
        "instruction",
        {"prompt": ("question", "choices"), "answer": ("answer",)},
        None,
        lambda i: {
            "question": text((i, 1)),
            "choices": [text((i, n), 4) for n in "abcd"],
            "answer": i % 4,
        },
    ),
    "kto": (
        "instruction",
        {"prompt": ("prompt",), "answer": ("completion",)},
        "u:prompt a:completion",
        lambda i: {**columns("prompt", "completion")(i), "label": bool(i % 2)},
    ),
    "squad": (
        "instruction",
        {"prompt": ("question", "context"), "answer": ("answers.text",)},
        "u:question,context a",
        squad,
    ),
    "questions on a story": (
        "instruction",
        {"prompt": ("questions", "story"), "answer": ("answers.input_text",)},
        "u a u a",
        lambda i: {
            "story": text((i, "s"), 60),
            "questions": [text((i, n)) for n in (1, 2)],
            "answers": {"input_text": [text((i, n)) for n in (3, 4)], "answer_start": [1, 2]},
        },
    ),
    "tools and calls as answers": (
        "instruction",
        {"prompt": ("query",), "answer": ("answers",), "tools": ("tools",)},
        "u:query a:answers",
        lambda i: {
            "query": text((i, "q")),
            "answers": json.dumps([{"name": "get", "arguments": {"city": text((i, "c"))}}]),
            "tools": json.dumps([TOOL]),
        },
    ),
    "prompt and completion as messages": (
        "chat",
        {"prompt": ("prompt",), "answer": ("completion",)},
        "s u a",
        lambda i: {"prompt": says(i, "system", "user"), "completion": says(i, "assistant")},
    ),
    "messages": chat(
        "messages", "s u a", lambda i: {"messages": says(i, "system", "user", "assistant")}
    ),
    "sharegpt": chat(
        "conversations",
        "u a u a",
        lambda i: {
            "conversations": says(i, "human", "gpt", "human", "gpt", keys=("from", "value"))
        },
    ),
    "sharegpt with system and tools": chat(
        "conversations",
        "s:system u a",
        lambda i: {
            "conversations": says(i, "human", "gpt", keys=("from", "value")),
            "system": text((i, "s")),
            "tools": json.dumps([TOOL]),
        },
        system=("system",),
        tools=("tools",),
    ),
    "turns under history": chat(
        "history", "u a", lambda i: {"history": says(i, "user", "assistant")}
    ),
    "author and message": chat(
        "chat", "u a", lambda i: {"chat": says(i, "user", "bot", keys=("author", "message"))}
    ),
    "speaker and utterance": chat(
        "dialogue",
        "u a u a",
        lambda i: {"dialogue": says(i, *"ABAB", keys=("speaker", "utterance"))},
    ),
    "names of speakers": chat(
        "data",
        "a u a",
        lambda i: {"data": says(i, "Sarah", "customer", "Sarah", keys=("author", "message"))},
    ),
    "unknown keys of turns": chat(
        "gespraech",
        "u a",
        lambda i: {"gespraech": says(i, "kunde", "berater", keys=("wer", "was"))},
    ),
    "human and assistant a turn": chat(
        "data", "u a u a", lambda i: {"data": [columns("human", "assistant")((i, n)) for n in "12"]}
    ),
    "system, input and output a turn": chat(
        "conversation",
        "s u a u a",
        lambda i: {
            "conversation": [
                columns("system", "input", "output")((i, 1)),
                columns("input", "output")((i, 2)),
            ]
        },
    ),
    "texts of a dialog": chat(
        "dialog", "u a u", lambda i: {"dialog": [text((i, n)) for n in range(3)]}
    ),
    "lists under keys": chat(
        "turns",
        "u a",
        lambda i: {"turns": {"speaker": [0, 1], "utterance": [text((i, 1)), text((i, 2))]}},
    ),
    "a conversation in a text": chat(
        "chat",
        "s:system u a",
        lambda i: {
            "system": text((i, "s")),
            "chat": f"USER: {text((i, 1))}\n\nASSISTANT: {text((i, 2))}",
        },
        system=("system",),
    ),
    "json in a cell": chat(
        "conversation",
        "u a",
        lambda i: {"id": i, "conversation": json.dumps(says(i, "user", "assistant"))},
    ),
    "python in a cell": chat(
        "conversation", "u a", lambda i: {"conversation": repr(says(i, "user", "assistant"))}
    ),
    "calls of tools": chat("messages", "u a t a", calls, tools=("tools",)),
    "thoughts": chat(
        "messages",
        "u a",
        lambda i: {
            "messages": [
                *says(i, "user"),
                {
                    "role": "assistant",
                    "content": text((i, 1)),
                    "reasoning_content": text((i, 2), 50),
                },
            ]
        },
    ),
    "parts and pictures": chat(
        "messages",
        "u a",
        lambda i: {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image_url",
                            "image_url": {"url": "data:image/png;base64,iVBOR0KG"},
                        },
                        {"type": "text", "text": text((i, 1))},
                    ],
                },
                *says(i, "assistant"),
            ]
        },
    ),
    "gemini": chat(
        "contents",
        "u a",
        lambda i: {
            "contents": [
                {"role": "user", "parts": [{"text": text((i, 1))}]},
                {"role": "model", "parts": [{"text": text((i, 2))}]},
            ]
        },
    ),
    "a request's body": chat(
        "body.messages",
        "u a",
        lambda i: {
            "custom_id": f"r-{i}",
            "body": {"model": "m", "messages": says(i, "user", "assistant")},
        },
    ),
    "a prompt beside its messages": chat(
        "messages",
        "u a",
        lambda i: {k: v for k, v in ultra(i).items() if k in ("prompt", "messages")},
    ),
    "an instruction beside its conversation": chat(
        "conversations",
        "u a",
        lambda i: {
            **(r := columns("instruction", "response")(i)),
            "conversations": [
                {"from": "human", "value": r["instruction"]},
                {"from": "gpt", "value": r["response"]},
            ],
        },
    ),
    "preference of texts": (
        "preference",
        ASKED,
        "u:prompt a:chosen",
        columns("prompt", "chosen", "rejected"),
    ),
    "preference, explicit prompt": (
        "preference",
        ASKED,
        "s u a",
        lambda i: {
            "prompt": says(i, "system", "user"),
            "chosen": says((i, 1), "assistant"),
            "rejected": says((i, 2), "assistant"),
        },
    ),
    "preference, implicit prompt": (
        "preference",
        PAIR,
        "u a",
        lambda i: {
            "chosen": says(i, "user") + says((i, 1), "assistant"),
            "rejected": says(i, "user") + says((i, 2), "assistant"),
        },
    ),
    "preference, prompt in both": ("preference", ASKED, "u:prompt a", ultra),
    "preference, one text each": (
        "preference",
        PAIR,
        "u a",
        lambda i: {
            side: f"\n\nHuman: {text((i, 'h'))}\n\nAssistant: {text((i, side))}"
            for side in ("chosen", "rejected")
        },
    ),
    "preference of openai": (
        "preference",
        {
            "conversation": ("input.messages",),
            "chosen": ("preferred_output",),
            "rejected": ("non_preferred_output",),
        },
        "s u a",
        lambda i: {
            "input": {"messages": says(i, "system", "user"), "parallel_tool_calls": True},
            "preferred_output": says((i, 1), "assistant"),
            "non_preferred_output": says((i, 2), "assistant"),
        },
    ),
    "preference of one message": (
        "preference",
        {"conversation": ("conversations",), **PAIR},
        "u a",
        lambda i: {
            "conversations": says(i, "human", keys=("from", "value")),
            "chosen": says(i, "gpt", keys=("from", "value"))[0],
            "rejected": says((i, 2), "gpt", keys=("from", "value"))[0],
        },
    ),
    "response j and k": (
        "preference",
        {"prompt": ("question",), "chosen": ("response_j",), "rejected": ("response_k",)},
        "u:question a:response_j",
        columns("question", "response_j", "response_k"),
    ),
    "post and summary": transfer("post", "summary"),
    "document and summary": transfer("document", "summary"),
    "dialogue and summary": transfer("dialogue", "summary"),
    "code and docstring": transfer("code", "docstring"),
    "headline and story": transfer("story", "headline"),
    "source and target": transfer("source", "target"),
    "languages": transfer("en", "fr"),
    "names of languages": transfer("English", "German"),
    "translation": (
        "transfer",
        {"source": ("translation.en",), "target": ("translation.de",)},
        None,
        lambda i: {"translation": columns("en", "de")(i)},
    ),
    "sentences a and b": (
        "pair",
        {"text": ("sentence_A", "sentence_B")},
        None,
        columns("sentence_A", "sentence_B"),
    ),
    "premise and hypothesis": (
        "pair",
        {"text": ("premise", "hypothesis")},
        None,
        lambda i: {**columns("premise", "hypothesis")(i), "label": i % 3},
    ),
    "triplets": (
        "pair",
        {"text": ("anchor", "positive", "negative")},
        None,
        columns("anchor", "positive", "negative"),
    ),
    "web text": (
        "text",
        {"text": ("text",)},
        None,
        lambda i: {
            "text": text(i, 60),
            "timestamp": "2019-04-25T12:57:54Z",
            "url": f"https://a.com/{i}",
            "hash": f"{random.Random(i).getrandbits(160):040x}",
            "path": f"src/part/{i}.py",
        },
    ),
    "a title and its text": ("text", {"text": ("title", "text")}, None, columns("title", "text")),
    "one text of no known name": (
        "text",
        {"text": ("blurb",)},
        None,
        lambda i: {"blurb": text(i), "kind": pick(i, "pos", "neg")},
    ),
    "a protein": (
        "text",
        {"text": ("chain",)},
        None,
        lambda i: {"chain": "".join(random.Random(i).choices("ACDEFGHIKLMNPQRSTVWY", k=300))},
    ),
    "tokens with tags": (
        "text",
        {"text": ("tokens",)},
        None,
        lambda i: {"tokens": random.Random(i).choices(WORDS, k=12), "ner_tags": [i % 3] * 12},
    ),
    "token ids": (
        "ids",
        {"text": ("input_ids",)},
        None,
        lambda i: {"input_ids": list(range(i + 9))},
    ),
    "a batch a line": (
        "text",
        {"text": ("text",)},
        None,
        lambda i: {"text": [text((i, n)) for n in range(9)], "label": [n % 2 for n in range(9)]},
    ),
}
