"""The loop closed: a plan is written, its script really trains, the run is recorded, forecast and
held against the estimate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from planner.cli import main
from planner.ledger.store import Ledger

ROOT = Path(__file__).parents[2]


def planner(*words, capsys):
    code = main.run([str(word) for word in words])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def train(folder, *words):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, str(folder / "train.py"), *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder.parent
    )


def closed(tmp_path, capsys, *question, more=()):
    """(the plan, what the script said, its record, what validate says of it)."""
    folder, ledger = tmp_path / "train", tmp_path / "runs.sqlite"
    said = planner("recipe", *question, "-o", folder, capsys=capsys)
    assert "The learning rate" in said
    done = train(folder, "--ledger", ledger, *more)
    assert done.returncode == 0, done.stderr[-2000:]
    with Ledger(ledger, create=False) as book:
        (record,) = book.records()
    judged = json.loads(planner("validate", "--ledger", ledger, "--json", capsys=capsys))
    return json.loads((folder / "plan.json").read_text()), done.stdout, record, judged


def as_planned(plan, record):
    """The run that was recorded is the one that was planned."""
    option, setup = plan["option"], record.setup
    assert record.measurement["steps"] == option["run"]["steps"]
    assert setup["micro_batch"] == option["step"]["micro_batch_size"]
    assert setup["accumulation"] == option["step"]["gradient_accumulation"]
    for name in ("precision", "optimizer", "gradient_checkpointing", "compile"):
        assert setup[name] == option["training"][name], name
    assert setup["strategy"] == plan["question"]["strategy"][0]
    assert record.estimate["wall_hours"]["p50"] == pytest.approx(option["run"]["wall_hours"]["p50"])


def test_a_language_models_plan_is_run_recorded_and_judged(tmp_path, capsys, llama, chats):
    question = (llama, chats, "--gpu", "cpu", "--strategy", "lora", "--price", "2")
    few = ("--micro-batch", "4", "--global-batch", "8", "--max-steps", "8", "--lora-rank", "4")
    plan, said, record, judged = closed(tmp_path, capsys, *question, *few)
    as_planned(plan, record)
    assert record.setup["lora_rank"] == 4
    assert record.setup["trainable_params"] == plan["option"]["model"]["trainable_params"]
    assert "the plan has" not in said, "as many weights train as planned"
    assert "planner: step 4 of 8:" in said and "planned" in said
    quantities = {row["quantity"] for row in judged["accounts"]["plain"]["all"]}
    assert judged["runs"] == 1 and {"time", "hours"} <= quantities
    assert (tmp_path / "train" / "out" / "adapter_model.safetensors").is_file()


def test_a_students_plan_is_run_beside_its_teacher(tmp_path, capsys, llama, chats):
    """Logits of a teacher that is larger, in the eighths that torchtune takes them in."""
    from planner.libraries import import_library

    transformers = import_library("transformers", "the tests")
    config = transformers.AutoConfig.from_pretrained(llama)
    config.hidden_size, config.num_hidden_layers = 64, 3
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "teacher")
    question = (llama, chats, "--gpu", "cpu", "--strategy", "lora", "--price", "2")
    taught = ("--objective", "kd", "--teacher", tmp_path / "teacher")
    few = ("--micro-batch", "4", "--global-batch", "8", "--max-steps", "6", "--lora-rank", "4")
    plan, said, record, _ = closed(tmp_path, capsys, *question, *taught, *few)
    as_planned(plan, record)
    assert "the plan has" not in said and "planner: step 4 of 6:" in said
    assert plan["question"]["objective"] == "kd"
    assert (tmp_path / "train" / "out" / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_a_run_stops_before_what_it_may_cost_and_goes_on_from_there(tmp_path, capsys, llama, chats):
    """At a price that makes a second cost a thousand dollars, most of the budget is gone before the
    first step."""
    folder, ledger = tmp_path / "train", tmp_path / "runs.sqlite"
    question = (llama, chats, "--gpu", "cpu", "--strategy", "fine_tune", "--price", "2")
    planner("recipe", *question, "--max-steps", "400", "-o", folder, capsys=capsys)
    limit = ("--ledger", ledger, "--usd-per-hour", "3600", "--max-usd", "1")
    done = train(folder, *limit)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("stopped after step 1 of 400") == 1
    assert (folder / "out" / "checkpoint-1" / "model.safetensors").is_file()
    with Ledger(ledger, create=False) as book:
        (record,) = book.records()
    assert any("stopped after step 1" in note for note in record.notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy, more",
    [
        ("fine_tune", ("--padding", "packed", "--max-length", "64")),
        ("partial_fine_tune", ("--unfrozen-blocks", "1")),
        ("scratch", ("--optimizer", "adafactor_torch", "--padding", "max", "--max-length", "96")),
        ("lora", ("--gradient-checkpointing", "full", "--precision", "fp32")),
    ],
)
def test_each_strategy_trains_as_many_weights_as_planned(
    tmp_path, capsys, llama, chats, strategy, more
):
    question = (llama, chats, "--gpu", "cpu", "--strategy", strategy, "--price", "2")
    few = ("--micro-batch", "4", "--global-batch", "4", "--max-steps", "5")
    plan, said, record, _ = closed(tmp_path, capsys, *question, *few, *more)
    as_planned(plan, record)
    assert "the plan has" not in said


@pytest.mark.slow
def test_labelled_texts_train_a_classifier(tmp_path, capsys, llama, labelled):
    question = (llama, labelled, "--task", "text_classification", "--gpu", "cpu")
    more = ("--strategy", "fine_tune", "--price", "2", "--max-steps", "5")
    plan, said, record, _ = closed(tmp_path, capsys, *question, *more)
    as_planned(plan, record)
    assert "the plan has" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, strategy",
    [
        ("timm:test_vit", "scratch"),
        ("timm:test_resnet", "feature_extraction"),
        ("torchvision:mobilenet_v3_small", "scratch"),
    ],
)
def test_a_classifier_of_images_is_run_recorded_and_judged(
    tmp_path, capsys, images, model, strategy
):
    pytest.importorskip("timm")
    question = (model, images, "--gpu", "cpu", "--strategy", strategy, "--price", "2")
    few = ("--image-size", "64", "--max-steps", "5", "--micro-batch", "4", "--global-batch", "8")
    weights = ()
    if strategy != "scratch":
        weights = ("--model", weights_of(model.partition(":")[2], tmp_path / "weights.pt"))
        few += ("--no-cached-features",)
    plan, said, record, judged = closed(tmp_path, capsys, *question, *few, more=weights)
    as_planned(plan, record)
    assert "the plan has" not in said and "of the held out are right" in said
    assert judged["runs"] == 1


def weights_of(name, file):
    """Random weights of a model of timm's, with the head of its publication."""
    import torch

    from planner.libraries import import_library

    torch.save(import_library("timm", "the tests").create_model(name).state_dict(), file)
    return file
