"""Dataset shapes as people have them: the tokens that the planner counts against those that the
trainer's own rendering yields.

    python benchmarks/dataset_shapes.py [--records N] [--seed N]

For each shape, N records are written as a file, and the messages that a trainer makes of them are
written down beside it by hand, shape by shape. A model's folder is laid out as a hub snapshot is: a
config, a byte-level BPE tokenizer that is trained here on the texts, and a chat template. The truth
is transformers' ``apply_chat_template`` (or the tokenizer's own call on texts and pairs); the
planner's count is what ``planner estimate FOLDER FILE`` would count. Exit code 1 when a shape is
off by more than 3 %.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

TOLERANCE = 0.03
#: Family of the chat template (profiles/datasets/chat_templates) → type of the model's config.
FAMILIES = {"llama-3.1": "llama", "qwen3": "qwen3", "gemma": "gemma2"}
WORDS = (
    "the a of to and in is for on that with as it by from at this are be was order ticket price "
    "number question answer river mountain city train station weather report model data learning "
    "network request user account password error page button screen customer refund shipping late "
    "parcel money bank card payment morning evening result method function value table column row "
    "index list string integer because however therefore although between without against during"
).split()

Message = dict[str, Any]
Talk = tuple[list[Message], list[Any]]


class Writer:
    """Random texts of a seed, in sentences."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def text(self, low: int, high: int) -> str:
        words = self.random.choices(WORDS, k=self.random.randint(low, high))
        for index in range(7, len(words), 9):
            words[index] += "."
        return f"{' '.join(words).capitalize()}."

    def question(self) -> str:
        return self.text(8, 40)[:-1] + "?"

    def answer(self) -> str:
        return self.text(20, 120)

    def long(self) -> str:
        return self.text(60, 200)


@dataclass(frozen=True)
class Made:
    """A record and what a trainer makes of it: ``talk`` (messages and tools), or ``texts`` that are
    tokenized (two of a pair), or ``sides`` of an encoder-decoder, or a number of ``tokens``."""

    record: Any
    talk: Talk | None = None
    texts: tuple[str, ...] = ()
    sides: tuple[str, str] | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Shape:
    """``make(writer)`` → a record; ``file``: how it is stored; ``model``: chat, encoder or
    seq2seq."""

    name: str
    make: Callable[[Writer], Made]
    file: str = "jsonl"
    model: str = "chat"
    template: str = "llama-3.1"


SHAPES: list[Shape] = []


def shape(name: str, **kind: Any) -> Callable[[Callable[[Writer], Made]], Callable[[Writer], Made]]:
    def add(make: Callable[[Writer], Made]) -> Callable[[Writer], Made]:
        SHAPES.append(Shape(name, make, **kind))
        return make

    return add


def said(*turns: tuple[str, str], tools: Sequence[Any] = (), **more: Any) -> Talk:
    messages: list[Message] = [{"role": role, "content": text} for role, text in turns]
    messages[-1] |= more
    return messages, list(tools)


def asked(question: str, answer: str, system: str = "", tools: Sequence[Any] = ()) -> Talk:
    before = [("system", system)] if system else []
    return said(*before, ("user", question), ("assistant", answer), tools=tools)


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


@shape("reasoning column", template="qwen3")
def _reasoning_column(w: Writer) -> Made:
    question, thought, answer = w.question(), w.long(), w.answer()
    talk = said(("user", question), ("assistant", answer), reasoning_content=thought)
    return Made({"question": question, "reasoning": thought, "answer": answer}, talk)


@shape("question/context/answer")
def _context(w: Writer) -> Made:
    context, question, answer = w.long(), w.question(), w.text(2, 9)
    record = {"context": context, "question": question, "answer": answer}
    return Made(record, asked(f"{context}\n{question}", answer))


@shape("OpenOrca DPO: system, question, chosen, rejected")
def _orca(w: Writer) -> Made:
    system, question, answer = w.text(10, 30), w.question(), w.answer()
    record = {"system": system, "question": question, "chosen": answer, "rejected": w.answer()}
    return Made(record, asked(question, answer, system))


@shape("preference, strings")
def _preference(w: Writer) -> Made:
    question, answer = w.question(), w.answer()
    record = {"prompt": question, "chosen": answer, "rejected": w.answer()}
    return Made(record, asked(question, answer))


@shape("preference, lists with an explicit prompt")
def _explicit(w: Writer) -> Made:
    question, answer = w.question(), w.answer()
    record = {
        "prompt": [{"role": "user", "content": question}],
        "chosen": [{"role": "assistant", "content": answer}],
        "rejected": [{"role": "assistant", "content": w.answer()}],
    }
    return Made(record, asked(question, answer))


@shape("preference, lists with the prompt inside")
def _implicit(w: Writer) -> Made:
    question, answer = w.question(), w.answer()
    ask = {"role": "user", "content": question}
    record = {
        "chosen": [ask, {"role": "assistant", "content": answer}],
        "rejected": [ask, {"role": "assistant", "content": w.answer()}],
    }
    return Made(record, asked(question, answer))


@shape("preference, OpenAI's")
def _openai_preference(w: Writer) -> Made:
    question, answer = w.question(), w.answer()
    record = {
        "input": {"messages": [{"role": "user", "content": question}], "tools": []},
        "preferred_output": [{"role": "assistant", "content": answer}],
        "non_preferred_output": [{"role": "assistant", "content": w.answer()}],
    }
    return Made(record, asked(question, answer))


@shape("KTO")
def _kto(w: Writer) -> Made:
    question, answer = w.question(), w.answer()
    record = {"prompt": question, "completion": answer, "label": w.random.random() < 0.5}
    return Made(record, asked(question, answer))


@shape("nested as SQuAD", file="squad.json")
def _squad(w: Writer) -> Made:
    return _context(w)


@shape("translation pairs", model="seq2seq")
def _translation(w: Writer) -> Made:
    source, target = w.question(), w.question()
    return Made({"translation": {"en": source, "fr": target}}, sides=(source, target))


@shape("en/fr columns", model="seq2seq")
def _languages(w: Writer) -> Made:
    source, target = w.question(), w.question()
    return Made({"en": source, "fr": target}, sides=(source, target))


@shape("source/target of any length", model="seq2seq")
def _source(w: Writer) -> Made:
    source, target = w.long(), w.long()
    return Made({"source": source, "target": target}, sides=(source, target))


@shape("post/summary", model="seq2seq")
def _post(w: Writer) -> Made:
    post, summary = w.long(), w.question()
    return Made({"post": post, "summary": summary}, sides=(post, summary))


@shape("sentence_A/sentence_B with a label", model="encoder")
def _entailment(w: Writer) -> Made:
    first, second = w.question(), w.question()
    label = w.random.choice(["NEUTRAL", "ENTAILMENT"])
    return Made({"sentence_A": first, "sentence_B": second, "label": label}, texts=(first, second))


@shape("text with a label", model="encoder")
def _labelled(w: Writer) -> Made:
    text = w.long()
    return Made({"text": text, "label": w.random.randint(0, 3)}, texts=(text,))


@shape("plain text")
def _plain(w: Writer) -> Made:
    text = w.long()
    return Made({"id": w.random.randint(0, 9**9), "text": text}, texts=(text,))


@shape("input_ids")
def _ids(w: Writer) -> Made:
    ids = [w.random.randint(5, 500) for _ in range(w.random.randint(20, 200))]
    return Made({"input_ids": ids, "labels": ids}, tokens=len(ids))


def written(kind: Shape, made: Sequence[Made], folder: Path) -> Path:
    """The file of the records."""
    file = folder / f"data.{kind.file.removeprefix('array.').removeprefix('squad.')}"
    records = [item.record for item in made]
    if kind.file == "csv":
        with file.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(records[0]))
            writer.writeheader()
            writer.writerows(records)
    elif kind.file == "squad.json":
        file.write_text(json.dumps({"version": "1", "data": list(_articles(records))}))
    elif kind.file == "array.jsonl":
        file.write_text(json.dumps(records))
    else:
        lines = "".join(json.dumps(record) + "\n" for record in records)
        file.write_bytes(
            _compressed(lines.encode()) if kind.file == "jsonl.zst" else lines.encode()
        )
    return file


def _articles(records: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(records), 4):
        paragraphs = [
            {
                "context": record["context"],
                "qas": [
                    {
                        "id": str(start),
                        "question": record["question"],
                        "answers": [{"text": record["answer"], "answer_start": 0}],
                    }
                ],
            }
            for record in records[start : start + 4]
        ]
        yield {"title": f"Title {start}", "paragraphs": paragraphs}


def _compressed(data: bytes) -> bytes:
    import pyarrow

    return pyarrow.compress(data, codec="zstd", asbytes=True)


CONFIGS: dict[str, dict[str, Any]] = {
    "chat": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    | {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 8192},
    "encoder": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    | {"num_attention_heads": 4, "max_position_embeddings": 2048},
    "seq2seq": {"d_model": 64, "d_ff": 128, "d_kv": 16, "num_layers": 2, "num_heads": 4},
}
TYPES = {
    "encoder": ("bert", "BertForSequenceClassification", ("[CLS]", "[SEP]")),
    "seq2seq": ("t5", "T5ForConditionalGeneration", ("", "</s>")),
}
CLASSES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM", "gemma2": "Gemma2ForCausalLM"}


def snapshot(kind: Shape, folder: Path) -> Any:
    """Lays a model out in ``folder`` as the hub does, and returns transformers' tokenizer of it."""
    from transformers import PreTrainedTokenizerFast

    folder.mkdir()
    tokenizer, tokens, template = _tokenizer(kind)
    tokenizer.save(str(folder / "tokenizer.json"))
    model_type, architecture = TYPES.get(kind.model, ("", "", ()))[:2]
    if kind.model == "chat":
        model_type = FAMILIES[kind.template]
        architecture = CLASSES[model_type]
    config = {"model_type": model_type, "architectures": [architecture]} | CONFIGS[kind.model]
    config["vocab_size"] = tokenizer.get_vocab_size()
    (folder / "config.json").write_text(json.dumps(config))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"} | tokens
    if template:
        settings["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return PreTrainedTokenizerFast.from_pretrained(folder)


def _tokenizer(kind: Shape) -> tuple[Any, dict[str, str], str]:
    """(tokenizer, named special tokens, chat template)."""
    from tokenizers import processors

    from planner.datasets.templates.families import family_template

    tokenizer = _trained()
    if kind.model == "chat":
        family = family_template(kind.template)
        tokenizer.add_special_tokens([t for t, n in family.special.items() if n == 1])
        tokens = {k: v for k, v in family.variables.items() if k.endswith("_token") and v}
        text = family.text
        for name, value in family.variables.items():  # variables that only the planner passes
            if not name.endswith("_token"):
                text = f"{{%- set {name} = {json.dumps(value)} -%}}" + text
        return tokenizer, tokens, text
    begin, end = TYPES[kind.model][2]
    tokenizer.add_special_tokens([t for t in (begin, end) if t])
    single = f"{begin} $A {end}".strip()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single,
        pair=f"{single} $B:1 {end}:1",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in (begin, end) if t],
    )
    return tokenizer, {"eos_token": end}, ""


@cache
def _vocabulary() -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    writer = Writer(1)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2000, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator((writer.long() for _ in range(500)), trainer)
    return tokenizer.to_str()


def _trained() -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(_vocabulary())


def truth(made: Made, tokenizer: Any) -> int:
    """Tokens that the trainer's collator gets of one record; both sides of an encoder-decoder."""
    if made.tokens is not None:
        return made.tokens
    if made.sides is not None:
        return sum(len(tokenizer(side)["input_ids"]) for side in made.sides)
    if made.talk is None:
        ends = 0 if tokenizer.chat_template is None else 1  # a document's end
        return len(tokenizer(*made.texts)["input_ids"]) + ends
    messages, tools = made.talk
    text = tokenizer.apply_chat_template(messages, tools=tools or None, tokenize=False)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def counted(folder: Path, file: Path) -> tuple[float, list[str]]:
    """(mean tokens a record by the planner, its warnings)."""
    from planner.plan.inputs.problem import understand
    from planner.question import Question

    problem = understand(Question(model=str(folder), data=str(file), offline=True))
    data = problem.data
    sides = [a.mean() for a in (data.lengths, data.target_lengths) if a is not None]
    warnings = [line.text for line in problem.first_lines if line.warning]
    return float(sum(sides)) * data.samples, warnings


def row(kind: Shape, records: int, seed: int) -> tuple[str, float, float, list[str]]:
    """(shape, tokens a record that are counted, true ones, warnings)."""
    writer = Writer(seed)
    made = [kind.make(writer) for _ in range(records)]
    with tempfile.TemporaryDirectory() as name:
        tokenizer = snapshot(kind, Path(name) / "model")
        file = written(kind, made, Path(name))
        tokens, warnings = counted(Path(name) / "model", file)
    true = sum(truth(item, tokenizer) for item in made)
    return kind.name, tokens / records, true / records, warnings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="shapes whose name holds this")
    asked_for = parser.parse_args()
    missed = 0
    print(f"{'shape':52} {'counted':>9} {'true':>9} {'off':>7}")
    for kind in SHAPES:
        if asked_for.only not in kind.name:
            continue
        try:
            name, tokens, true, warnings = row(kind, asked_for.records, asked_for.seed)
        except Exception as error:
            missed += 1
            print(f"{kind.name:52} {type(error).__name__}: {error}")
            continue
        off = tokens / true - 1
        missed += abs(off) > TOLERANCE
        mark = " MISSED" if abs(off) > TOLERANCE else ""
        print(f"{name:52} {tokens:9.1f} {true:9.1f} {off:+7.1%}{mark}")
        for line in warnings:
            print(f"    ! {line}")
    print(f"{len(SHAPES)} shapes, {missed} missed by more than {TOLERANCE:.0%}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
