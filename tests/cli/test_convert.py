"""``planner convert``: the same question as a project file, and what was understood of a file."""

import json
from pathlib import Path

import pytest
import yaml

from planner.cli.main import run
from planner.question.parsing import question_from

EXAMPLES = Path(__file__).parents[1] / "question" / "importers" / "examples"
COUNTS = ["--samples", "900", "--tokens-per-sample", "120"]
#: One of each tool; those that name no model get one.
FILES = {
    "axolotl/examples_llama_3_qlora.yaml": None,
    "llamafactory/examples_train_qlora_qwen3_lora_sft_otfq.yaml": None,
    "torchtune/configs_llama3_1_8b_qlora_single_device.yaml": None,
    "trl/zephyr_7b_beta_sft_config_qlora.yaml": None,
    "unsloth/assets_configs_lora_text.yaml": None,
    "accelerate/examples_config_yaml_templates_multi_node.yaml": "gpt2",
    "deepspeed/training_bingbertsquad_deepspeed_bsz24_config.json": "bert-base-uncased",
    "lightning/docs_tutorials_config.yaml": "resnet50",
    "diffusers/train_dreambooth_lora_sdxl_11.sh": None,
    "kohya/train_network_1.sh": "runwayml/stable-diffusion-v1-5",
}


@pytest.mark.parametrize("file", FILES)
def test_the_written_file_asks_the_same(file, tmp_path, capsys):
    named = ["--model", FILES[file]] if FILES[file] else []
    target = tmp_path / "project.yaml"
    assert run(["convert", str(EXAMPLES / file), *COUNTS, *named, "-o", str(target)]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {target} (")
    given = {"samples": "900", "tokens_per_sample": "120"}
    given |= {"model": FILES[file]} if FILES[file] else {}
    original = question_from(str(EXAMPLES / file), None, given)
    written = question_from(str(target), None, {})
    assert written.model_dump(exclude_unset=True) == original.model_dump(exclude_unset=True)
    text = target.read_text(encoding="utf-8")
    for note in original.notes:
        left = note.partition(": ")[2].split(", ")[0].split(" ")[0]
        assert left in text
    assert max(map(len, text.splitlines())) < 400


def test_the_answer_is_the_same(tmp_path, capsys):
    source = tmp_path / "own.yml"
    source.write_text("base_model: gpt2\nsequence_len: 128\nmicro_batch_size: 2\nadapter: lora\n")
    target = tmp_path / "plans" / "project.yaml"
    target.parent.mkdir()
    (tmp_path / "train.jsonl").write_text('{"text": "some words"}\n' * 40)
    data = str(tmp_path / "train.jsonl")
    asked = ["--gpu", "t4", "--json"]
    assert run(["convert", str(source), data, "--gpu", "t4", "-o", str(target)]) == 0
    capsys.readouterr()
    assert run(["estimate", str(source), data, *asked]) == 0
    first = json.loads(capsys.readouterr().out)
    assert run(["estimate", str(target), *asked]) == 0
    second = json.loads(capsys.readouterr().out)
    assert first["options"] == second["options"] and first["recommended"] == second["recommended"]


def test_paths_start_from_the_project(tmp_path, monkeypatch):
    (tmp_path / "train.jsonl").write_text('{"text": "some words"}\n' * 4)
    (tmp_path / "own.yml").write_text(
        "base_model: gpt2\nsequence_len: 8\ndatasets: [{path: train.jsonl}]\n"
    )
    (tmp_path / "plans").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(["convert", "own.yml", "-o", "plans/project.yaml"]) == 0
    values = yaml.safe_load((tmp_path / "plans" / "project.yaml").read_text())
    assert values["data"] == "../train.jsonl"
    question = question_from("plans/project.yaml", None, {})
    assert Path(question.data).resolve() == tmp_path / "train.jsonl"


def test_what_was_understood_is_listed(capsys):
    file = EXAMPLES / "llamafactory" / "examples_train_lora_qwen3_lora_dpo.yaml"
    assert run(["convert", str(file), *COUNTS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Read as a file of LLaMA-Factory: ")
    assert lines[2] == "Cannot be asked yet:" and "  max_samples 1000" in lines
    assert "  cutoff_len 2048 → max_length: 2048" in lines
    assert run(["convert", str(file), *COUNTS, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    left = document["keys"]["cannot be asked yet"]
    assert {"key": "max_samples", "value": 1000, "field": None} in left
    assert document["question"]["objective"] == "dpo"
    assert document["question"]["max_length"] == 2048 and document["schema"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gpt2"], "is no file of a tool that is known here"),
        (["there.yaml"], "is a project file already"),
        (["own.yml", "-o", "there.yaml"], "is already there. --force overwrites it"),
        (["own.yml", "-o", "there.txt"], "a project file ends in .yaml"),
        (["own.yml", "-o", "nowhere/p.yaml"], "no such folder"),
        (["own.yml", "--model", "gpt2", "--beside", "there.yaml"], "goes beside no other"),
        (["gone.yml"], "no such project file"),
    ],
)
def test_what_cannot_be_converted_is_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("own.yml").write_text("base_model: gpt2\nsequence_len: 8\n")
    Path("there.yaml").write_text("model: gpt2\nsamples: 3\ntokens_per_sample: 3\n")
    assert run(["convert", *arguments, *(COUNTS if arguments[0] == "own.yml" else [])]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.strip().splitlines()) == 1
    assert Path("there.yaml").read_text().startswith("model: gpt2\nsamples: 3")


def test_force_overwrites(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.yml").write_text("base_model: gpt2\nsequence_len: 8\n")
    Path("there.yaml").write_text("model: bert-base-uncased\n")
    assert run(["convert", "own.yml", *COUNTS, "--force", "-o", "there.yaml"]) == 0
    assert question_from("there.yaml", None, {}).model == "gpt2"


def test_a_model_is_named_for_a_file_alone(capsys):
    assert run(["estimate", "gpt2", *COUNTS, "--model", "gpt2"]) == 2
    assert "--model: gpt2 is a model already" in capsys.readouterr().err


def test_what_is_not_in_the_answer_stands_in_its_first_lines(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    file = EXAMPLES / "llamafactory" / "examples_train_lora_qwen3_lora_dpo.yaml"
    assert run(["estimate", str(file), *COUNTS, "--gpu", "h100", "--model", "gpt2"]) == 0
    shown = capsys.readouterr().out
    before = " ".join(shown[: shown.index("Strategy")].split())
    assert "qwen3_lora_dpo.yaml is read as a file of LLaMA-Factory; not in this answer" in before
    assert "max_samples 1000" in before and shown.count("max_samples 1000") == 1
