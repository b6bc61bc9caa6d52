"""What is really fed to a model has the lengths that the scan counts."""

import json

import pytest

from planner.datasets.loader.opening import open_source
from planner.datasets.loader.spoken import as_trained
from planner.datasets.scanning import scan
from planner.datasets.templates.choosing import ModelText
from planner.datasets.tokenizer import TokenizerHere


@pytest.fixture
def folder(tmp_path):
    """A model's folder with a tokenizer of words and a chat template of its own."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<turn>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    template = "{% for m in messages %}<turn> {{ m.role }} {{ m.content }} <turn>{% endfor %}"
    settings = {"chat_template": template}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    return tmp_path


def record(index: int) -> dict:
    turns = [("user", "why " * (1 + index % 5)), ("assistant", "so " * (1 + index % 9))]
    return {"messages": [{"role": role, "content": text.strip()} for role, text in turns]}


@pytest.mark.parametrize("task", ["causal_lm", "text_classification"])
def test_rows_are_fed_as_they_are_counted(folder, task):
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(record(i)) + "\n" for i in range(40)))
    model = ModelText("own", "llama", 128256, folder)
    counted = scan(data, task=task, tokenizer_path=folder, model=model).lengths
    source = as_trained(open_source(data, task=task), model, task)
    tokenizer = TokenizerHere(folder)
    fed = [sum(len(tokenizer.encode(text)) for text in source.read(i)) for i in range(len(source))]
    assert sorted(fed) == sorted(counted.tolist())
    if task == "causal_lm":
        assert source.read(0) == ["<turn> user why <turn><turn> assistant so <turn>"]
    else:
        assert not source.spoken and source.read(0) == ["why", "so"]


def test_text_is_left_as_it_is(tmp_path):
    data = tmp_path / "a.jsonl"
    lines = [{"text": f"some words of number {i}"} for i in range(9)]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = open_source(data, task="causal_lm")
    assert as_trained(source, ModelText("gpt2", "gpt2"), "causal_lm") is source
