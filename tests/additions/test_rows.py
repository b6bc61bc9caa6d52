"""What is added by a row: a GPU, a price, an optimizer (with its entry)."""

import json

from outside import QUESTION, answer, planner, profiles_with


def test_a_gpu_is_one_row(tmp_path):
    profiles = profiles_with(
        tmp_path,
        "gpus/gpus.csv",
        {"key": "t4"},
        key="toy-9000",
        name_reported="Toy 9000",
        memory_gb_nominal="99",
        memory_gib_visible="98.5",
    )
    question = [part if part != "t4" else "toy-9000" for part in QUESTION]
    done = planner(
        tmp_path,
        *("estimate", *question, "--price", "2", "--strategy", "fine_tune", "--json"),
        profiles=profiles,
    )
    (option,) = answer(done)["options"]
    assert option["gpu"] == "Toy 9000" and option["cost"]["usd_per_gpu_hour"] == 2
    assert option["memory"]["device_total_bytes"] == 98.5 * 2**30


def test_a_price_is_one_row(tmp_path):
    profiles = profiles_with(
        tmp_path,
        "prices/aws.csv",
        {"gpu_count": "1", "instance_type": "g4dn.xlarge"},
        region="toy-north-1",
        usd_per_instance_hour="0.0625",
        usd_per_gpu_hour="0.0625",
    )
    done = planner(
        tmp_path,
        *("estimate", *QUESTION, "--strategy", "fine_tune", "--region", "toy-north-1", "--json"),
        profiles=profiles,
    )
    (option,) = answer(done)["options"]
    assert option["provider"] == "aws" and option["cost"]["offer"]["region"] == "toy-north-1"
    assert option["cost"]["usd_per_gpu_hour"] == 0.0625


ENTRY = """
import torch
from planner.training.optimizers import OPTIMIZERS, Optimizer
OPTIMIZERS["toy"] = Optimizer(
    recorded=lambda params: torch.optim.Rprop(params, foreach=True), real=torch.optim.Rprop
)
"""


def toy_optimizer(tmp_path):
    return profiles_with(
        tmp_path,
        "optimizers.csv",
        {"optimizer": "adamw"},
        optimizer="toy",
        aliases="toy_by_another_name",
        classes="Rprop",
        states="two toys",
    )


def test_an_optimizer_is_one_entry_and_one_row(tmp_path):
    done = planner(
        tmp_path,
        *("estimate", *QUESTION, "--strategy", "fine_tune", "--json"),
        *("--optimizer", "toy-by-another-name"),
        profiles=toy_optimizer(tmp_path),
        code=ENTRY,
    )
    document = answer(done)
    assert document["question"]["optimizer"] == "toy"
    (option,) = document["options"]
    assert "two toys" in option["training"]["optimizer_states"]
    trained = option["model"]["trainable_params"]
    assert option["memory"]["breakdown"]["optimizer"] >= 2 * 4 * trained


def test_an_optimizer_of_ones_own_is_shown_and_really_runs(tmp_path):
    profiles = toy_optimizer(tmp_path)
    help_text = planner(tmp_path, "estimate", "--help", profiles=profiles).stdout
    assert "came, toy" in " ".join(help_text.split())
    schema = json.loads(planner(tmp_path, "schema", "question", profiles=profiles).stdout)
    assert "toy" in json.dumps(schema["properties"]["optimizer"])
    done = planner(
        tmp_path,
        *("measure", "own:make", "--samples", "64", "--task", "image_classification"),
        *("--strategy", "fine_tune", "--optimizer", "toy", "--device", "cpu", "--seconds", "1"),
        *("--micro-batch", "4", "--precision", "fp32", "--json", "--no-ledger"),
        profiles=profiles,
        code=ENTRY,
    )
    (run,) = answer(done)["runs"]
    assert run["setup"]["optimizer"] == "toy" and run["measurement"]["step_seconds"] > 0
