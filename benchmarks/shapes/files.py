"""The file of a shape's records, and the folder of a model that reads it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.shapes.shape import (
    FAMILIES,
    Made,
    Shape,
    Writer,
)


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
