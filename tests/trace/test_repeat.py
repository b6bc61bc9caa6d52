"""A step of which few equal blocks are recorded and the others repeated is the step recorded whole:
operation by operation, tensor by tensor."""

from __future__ import annotations

import importlib.util
import json
import random

import pytest

if not all(importlib.util.find_spec(name) for name in ("transformers", "peft", "timm")):
    pytest.skip("needs the extras hf and vision", allow_module_level=True)

from drawing import drawn

from planner.errors import PlannerError
from planner.models.resolve import resolve
from planner.tables import rows
from planner.trace.raw import RawTrace
from planner.trace.recorder.dispatch_mode import quiet
from planner.trace.recorder.regimes import build_for, runner_for
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


def asked(facts, strategy: str, **more) -> Recipe:
    """A recipe that the model can do: few-bit weights under autocast, a second of sound."""
    own = {"precision": "amp_bf16"} if strategy == "qlora" else {}
    sound = {"audio_samples": 16_000} if facts.task == "audio_classification" else {}
    return recipe(facts, strategy, **own, **sound, **more)


def same(name: str, strategy: str, **more) -> bool:
    """Whether a catalogue model's steps are repeated; each is then the whole one. Raises ModelError
    for what the model cannot do."""
    facts = resolve(name)
    runner = StepRunner(
        lambda: build_for(facts, asked(facts, strategy, **more)), asked(facts, strategy, **more)
    )
    repeated, whole = both(runner)
    assert repeated == whole, (name, strategy, more)
    return runner.repeated.why is None


CATALOGUE = sorted(row["name"] for row in rows("models", "catalogue.csv"))
STRATEGIES = ("fine_tune", "lora", "qlora", "partial_fine_tune", "feature_extraction")
CHECKPOINTING = ("none", "full", "selective")


def test_a_sample_of_the_catalogue_is_the_whole_step():
    draw = random.Random(15)
    assert same("bert-base-uncased", draw.choice(STRATEGIES[:2]))
    small_ones = ("distilgpt2", "opt-125m", "pythia-70m", "t5-small", "vit-tiny", "deit-tiny")
    name = draw.choice([name for name in small_ones if name in CATALOGUE])
    same(name, draw.choice(STRATEGIES[:2]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "strategy"), drawn([(name, one) for name in CATALOGUE for one in STRATEGIES], 12)
)
def test_every_model_and_strategy_is_the_whole_step(name, strategy):
    draw = random.Random(name + strategy)
    try:
        same(name, strategy, gradient_checkpointing=draw.choice(CHECKPOINTING))
    except PlannerError as error:
        pytest.skip(str(error))
