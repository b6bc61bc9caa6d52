"""One built model serves every policy of checkpointing: its steps are those of models built for
each."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import pytest

if not all(importlib.util.find_spec(name) for name in ("transformers", "peft")):
    pytest.skip("needs the extra hf", allow_module_level=True)

from planner.models.resolve import resolve
from planner.trace.recorder.regimes import build_for, runner_for
from planner.trace.recorder.repeat.flat import flattened, written_out
from planner.trace.recorder.step_runner import StepRunner
from planner.trace.table import PHASES
from planner.training.recipe import Recipe

BERT = {
    "model_type": "bert",
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "hidden_size": 64,
    "intermediate_size": 176,
    "vocab_size": 997,
}
LLAMA = BERT | {"model_type": "llama", "num_key_value_heads": 2}
MORE = {"lora": {"lora_rank": 8}, "partial_fine_tune": {"unfrozen_blocks": 2}}


@pytest.mark.parametrize("config", [BERT, LLAMA], ids=lambda config: config["model_type"])
@pytest.mark.parametrize("strategy", ["fine_tune", "lora", "partial_fine_tune"])
def test_policies_take_turns_on_one_model(tmp_path, config, strategy):
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    facts = resolve(str(tmp_path))
    plain = Recipe(
        strategy=strategy,
        task=facts.task,
        precision="amp_bf16",
        optimizer="adamw",
        **MORE.get(strategy, {}),
    )
    full = replace(plain, gradient_checkpointing="full")
    none, checkpointed = runner_for(facts, plain), runner_for(facts, full)
    assert none.built is checkpointed.built
    for runner, recipe in ((none, plain), (checkpointed, full), (none, plain)):
        assert written(runner) == written(StepRunner(lambda r=recipe: build_for(facts, r), recipe))
        assert runner.repeated.proven


def written(runner: StepRunner):
    raw = runner.record(B=2, S=48)
    updates = {s for s, phase, _ in raw.operations if PHASES[phase] == "optimizer"}
    raw.signatures = [  # its numbers change from step to step
        (*s[:3], ()) if number in updates else s for number, s in enumerate(raw.signatures)
    ]
    return written_out(flattened(raw, []))
