"""Data without a model: the models that people take for it, priced, instead of an error."""

import json

import pytest

from planner.choose.for_data import is_data, kind_of
from planner.cli.main import run
from planner.datasets.scanning import scan

CHAT = (
    '{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]}\n'
)
LABELLED = '{"text": "a film", "label": "good"}\n{"text": "another film", "label": "bad"}\n'


def ask(capsys, *arguments):
    code = run(["estimate", *arguments, "--offline", "--json", "--quiet"])
    out = capsys.readouterr()
    return code, json.loads(out.out) if out.out else None, out.err


@pytest.fixture
def chat(tmp_path):
    file = tmp_path / "chat.jsonl"
    file.write_text(CHAT * 60)
    return file


def test_chat_is_answered_with_the_models_people_tune(chat, capsys):
    code, document, _ = ask(capsys, str(chat), "--gpu", "a100-sxm-80")
    assert code == 0
    models = {one["model"]: one for one in document["models"]}
    assert {"Llama-3.1-8B", "Llama-3.2-1B", "Qwen2.5-7B", "Qwen2.5-0.5B"} <= set(models)
    for one in models.values():
        assert one["option"]["fits"] and one["option"]["cost"]["usd"]["p50"] > 0
        assert one["recipes"] > 0 and one["source"] and one["lines"]
    assert models["Llama-3.1-8B"]["option"]["strategy"] == "lora"
    cost = {name: one["option"]["cost"]["usd"]["p50"] for name, one in models.items()}
    assert cost["Llama-3.1-8B"] > cost["Llama-3.2-1B"]
    assert "no model is named" in document["first_lines"][0]["text"]


def test_a_row_is_the_models_own_answer(chat, capsys):
    _, document, _ = ask(capsys, str(chat), "--gpu", "a100-sxm-80")
    row = next(one for one in document["models"] if one["model"] == "Llama-3.2-1B")
    _, answer, _ = ask(
        capsys, "Llama-3.2-1B", str(chat), "--gpu", "a100-sxm-80", "--strategy", "lora",
    )  # fmt: skip
    (option,) = answer["options"]
    assert row["option"]["run"] == option["run"] and row["option"]["cost"] == option["cost"]


def test_images_and_counts_of_a_task(capsys):
    code, document, _ = ask(
        capsys, "--samples", "2000", "--task", "image_classification", "--gpu", "l4"
    )
    assert code == 0
    assert {one["model"] for one in document["models"]} >= {"resnet50", "vit-base"}
    assert all(one["option"] for one in document["models"])


def test_counts_of_tokens_are_text(capsys):
    code, document, _ = ask(
        capsys, "--samples", "900", "--tokens-per-sample", "200", "--gpu", "a100-sxm-80"
    )
    assert code == 0 and document["dataset"] is None
    assert "Llama-3.1-8B" in {one["model"] for one in document["models"]}


def test_a_model_that_breaks_a_limit_says_so(chat, capsys):
    _, document, _ = ask(capsys, str(chat), "--gpu", "a100-sxm-80", "--max-usd", "0.0001")
    assert all(one["option"] is None and one["why_not"] for one in document["models"])


def test_it_is_shown_as_a_table(chat, capsys):
    assert run(["estimate", str(chat), "--gpu", "a100-sxm-80", "--offline", "--details"]) == 0
    text = capsys.readouterr().out
    assert "Llama-3.1-8B" in text and "How each is run" in text and "to start" in text


@pytest.mark.parametrize("arguments", [[], ["--samples", "100"]])
def test_nothing_to_go_by_is_refused_in_a_line(arguments, capsys):
    code, _, error = ask(capsys, *arguments)
    assert code == 2 and error.count("\n") == 1


def test_what_is_data_and_what_is_a_model(tmp_path):
    rows, config = tmp_path / "rows.json", tmp_path / "net.json"
    rows.write_text('[{"text": "a"}]')
    config.write_text('{"model_type": "llama", "hidden_size": 8}')
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "pytorch_model.bin").write_bytes(b"x")
    (weights / "tokenizer.json").write_text("{}")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "train.csv").write_text("text\nhello\n")
    assert is_data(str(rows)) and is_data(str(folder))
    for path in (config, model, weights, tmp_path / "none.jsonl"):
        assert not is_data(str(path)), path
    assert not is_data("gpt2")


def test_the_kind_of_data(chat, tmp_path):
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text(LABELLED * 30)
    assert kind_of(scan(chat)) == "text" and kind_of(scan(labelled)) == "labelled text"


def test_choose_is_answered_as_estimate_is_and_a_report_says_how(tmp_path, capsys):
    file = tmp_path / "labelled.jsonl"
    file.write_text(LABELLED * 60)
    code, asked, _ = ask(capsys, str(file), "--gpu", "l4")
    chosen = run(["choose", str(file), "--gpu", "l4", "--offline", "--json", "--quiet"])
    document = json.loads(capsys.readouterr().out)
    assert code == chosen == 0
    assert [one["model"] for one in document["models"]] == [one["model"] for one in asked["models"]]
    assert run(["report", str(file), "-o", str(tmp_path / "budget.html")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "no model is named" in line and "planner estimate" in line
