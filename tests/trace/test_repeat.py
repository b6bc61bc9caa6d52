"""A step of which few equal blocks are recorded and the others repeated is the step recorded whole:
operation by operation, tensor by tensor."""

from __future__ import annotations

import importlib.util
import json

import pytest

if not all(importlib.util.find_spec(name) for name in ("transformers", "peft", "timm")):
    pytest.skip("needs the extras hf and vision", allow_module_level=True)

from drawing import drawn

from benchmarks import repeated_traces
from planner.models.resolve import resolve
from planner.tables import rows
from planner.trace.raw import RawTrace
from planner.trace.recorder.dispatch_mode import quiet
from planner.trace.recorder.regimes import runner_for
from planner.trace.recorder.repeat.flat import flattened, written_out
from planner.trace.recorder.step_runner import StepRunner
from planner.trace.table import PHASES
from planner.training.recipe import Recipe

POINT = {"B": 3, "S": 48, "T": 24}
MORE = {
    "lora": {"lora_rank": 8, "lora_dropout": 0.05},
    "qlora": {"lora_rank": 8, "lora_dropout": 0.05},
    "partial_fine_tune": {"unfrozen_blocks": 2},
}


def recipe(facts, strategy: str = "fine_tune", **more) -> Recipe:
    plain = {"strategy": strategy, "task": facts.task, "precision": "bf16", "optimizer": "adamw"}
    return Recipe(**plain | MORE.get(strategy, {}) | more)


def written(raw: RawTrace):
    """By names and values, but for the optimizer's numbers that change from step to step."""
    updates = {s for s, phase, _ in raw.operations if PHASES[phase] == "optimizer"}
    raw.signatures = [
        (*s[:3], ()) if number in updates else s for number, s in enumerate(raw.signatures)
    ]
    return written_out(flattened(raw, []))


def both(runner: StepRunner) -> tuple:
    """(a step as it is recorded, the same recorded whole)."""
    point = {symbol: POINT[symbol] for symbol in runner.built.symbols}
    repeated = runner.record(**point)
    with quiet():
        return written(repeated), written(runner.record_whole(point))


@pytest.fixture
def local(tmp_path):
    def write(config: dict):
        folder = tmp_path / config["model_type"]
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        return resolve(str(folder))

    return write


LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 176,
    "vocab_size": 997,
}


@pytest.mark.parametrize("strategy", ["fine_tune", "lora", "qlora", "partial_fine_tune"])
@pytest.mark.parametrize("checkpointing", ["none", "full"])
def test_a_stack_of_equal_blocks_is_repeated(local, strategy, checkpointing):
    facts = local(LLAMA)
    chosen = recipe(facts, strategy, gradient_checkpointing=checkpointing)
    runner = runner_for(facts, chosen)
    repeated, whole = both(runner)
    assert runner.repeated.why is None
    assert [runs for runs in runner.repeated.cut.values()] == [
        [[3, 10 if strategy == "partial_fine_tune" else 12]]
    ]
    assert repeated == whole


#: Of each family one small enough to be built quickly; every one of the catalogue in the slow test.
FAMILIES = (
    {
        "model_type": "gpt_oss",
        "num_local_experts": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 6,
    },
    {
        "model_type": "gemma3_text",
        "layer_types": (["sliding_attention"] * 2 + ["full_attention"]) * 6,
    },
    {"model_type": "mixtral", "num_local_experts": 4},
)


def small(config: dict) -> dict:
    layers = len(config.get("layer_types", range(12)))
    return LLAMA | {"num_hidden_layers": layers, "head_dim": 16, "sliding_window": 16} | config


@pytest.mark.parametrize("config", FAMILIES, ids=lambda config: config["model_type"])
def test_mixtures_and_alternating_blocks_are_repeated(local, config):
    runner = runner_for(facts := local(small(config)), recipe(facts))
    repeated, whole = both(runner)
    assert runner.repeated.why is None
    assert repeated == whole


CATALOGUE = sorted(row["name"] for row in rows("models", "catalogue.csv"))
STRATEGIES = tuple(repeated_traces.STRATEGIES)


#: Quick to record twice.
SMALL = sorted(
    row["name"]
    for row in rows("models", "catalogue.csv")
    if row["library"] == "transformers" and int(row["parameters"]) < 100_000_000
)


def cases(names: list[str]) -> list[repeated_traces.Case]:
    every = (list(STRATEGIES), list(repeated_traces.POLICIES))
    return list(repeated_traces.cases(names, *every))


@pytest.mark.parametrize("case", drawn(cases(SMALL), 4), ids=str)
def test_a_case_of_the_benchmark_does_not_differ(case):
    found = repeated_traces.verdict(case)
    assert found.verdict in ("equal", "whole", "refused"), found


@pytest.mark.slow
@pytest.mark.parametrize("case", drawn(cases(CATALOGUE), 16), ids=str)
def test_every_model_strategy_and_policy_is_the_whole_step(case):
    found = repeated_traces.verdict(case)
    assert found.verdict in ("equal", "whole", "refused"), found
