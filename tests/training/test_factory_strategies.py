"""A user's own model, asked through the command line in a fresh process: every strategy it can do,
and no import trouble."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

FACTORY = """
import torch

def make():
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
    batch = lambda B: {"x": torch.empty(B, 3, 64, 64), "y": torch.empty(B, dtype=torch.int64)}
    return net, batch, lambda m, b: torch.nn.functional.cross_entropy(m(b["x"]), b["y"])
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs the extra hf")
def test_a_factory_is_planned_for_full_tuning_and_lora(tmp_path):
    (tmp_path / "mynet.py").write_text(FACTORY)
    command = [
        sys.executable,
        "-m",
        "planner.cli.main",
        "estimate",
        "mynet:make",
        "--samples",
        "1000",
        "--gpu",
        "a100-sxm-80",
        "--json",
        "--task",
        "image_classification",
        "--strategy",
        "fine_tune",
        "--strategy",
        "lora",
        "--lora-targets",
        "4",
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PLANNER_CACHE": str(tmp_path / "c")},
    )
    assert done.returncode == 0, done.stderr
    full, lora = json.loads(done.stdout)["options"]
    weights = 3 * 8 * 9 + 8 + 8 * 16 + 16 + 16 * 10 + 10
    assert full["model"]["total_params"] == full["model"]["trainable_params"] == weights
    # rank × (in + out) of the one adapted layer
    assert lora["model"]["trainable_params"] == 16 * (8 + 16)
