"""Losses of objectives that work through their logits in pieces."""

from __future__ import annotations

import importlib.util
import json

import pytest

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("transformers", "peft")),
    reason="needs the extra hf",
)
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 4093,
    "max_position_embeddings": 512,
}


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    from planner.models.resolve import resolve

    folder = tmp_path_factory.mktemp("tiny_head")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return resolve(str(folder))


def recipe(objective, strategy="fine_tune"):
    from planner.training.recipe import Recipe

    lora = {"lora_rank": 4} if strategy != "fine_tune" else {}
    return Recipe(strategy, "causal_lm", "bf16", "adamw_fused", objective=objective, **lora)


def test_no_tensor_of_all_logits_is_left_where_the_loss_works_in_pieces(facts):
    """Those that are laid flat under a view of them among them: gradients of what was divided in
    place. What is left is a chunk of the entropy."""
    from planner.memory.fused_loss import in_pieces
    from planner.trace.source import trace_for
    from planner.training.log_probabilities import CHUNK

    point = {"B": 8, "S": 64, "T": 64}
    trace = trace_for(facts, recipe("grpo")).at(**point)
    dims = trace.dims(**point)
    logits = 8 * 64 * CONFIG["vocab_size"] * 4
    chunk = CHUNK * CONFIG["vocab_size"] * 4
    assert trace.storage_bytes(dims)[trace.size].max() >= logits
    assert in_pieces(trace).storage_bytes(dims)[in_pieces(trace).size].max() <= chunk


def seen(facts, made, stack, point):
    from planner.plan.inputs.of_its_day import view_of
    from planner.question.stack import stack_of
    from planner.trace.source import trace_for

    trace, view = trace_for(facts, made).at(**point), view_of(stack_of(stack), facts, made)
    return trace if view is None else view(trace)


@pytest.mark.parametrize(
    ("stack", "bytes_each"), [("liger-2025-12", (2, 2)), ("liger-2026-07", (2, 4, 2))]
)
def test_ligers_loss_sums_up_a_gradient_of_a_frozen_head(facts, stack, bytes_each):
    point, head = {"B": 4, "S": 32, "T": 32}, CONFIG["vocab_size"] * CONFIG["hidden_size"]
    made = recipe("grpo", "lora")
    plain, held = (seen(facts, made, name, point) for name in ("unsloth", stack))
    added = slice(len(plain.size), None)
    sizes = held.storage_bytes(held.dims(**point))[held.size[added]]
    assert sizes.tolist() == [head * each for each in bytes_each]
    assert held.death[added][0] == held.death[added][1] + 1


@pytest.mark.parametrize(("objective", "fused"), [("rloo", False), ("ppo", False), ("grpo", True)])
def test_trainers_without_a_loss_of_ligers_hold_their_logits(facts, objective, fused):
    from planner.plan.inputs.of_its_day import view_of
    from planner.question.stack import stack_of

    assert (view_of(stack_of("liger-2026-07"), facts, recipe(objective)) is not None) == fused


@pytest.mark.parametrize("strategy", ["lora", "fine_tune"])
@pytest.mark.parametrize("stack", [None, "liger", "trl-2026-10"])
def test_trl_works_through_logits_in_tiles_since_a_day(facts, strategy, stack):
    from planner.memory.fused_loss import SUM_BYTES, TILE, TILE_BYTES

    point, head = {"B": 8, "S": 64, "T": 64}, CONFIG["vocab_size"] * CONFIG["hidden_size"]
    made = recipe("grpo", strategy)
    whole, held = (seen(facts, made, name, point) for name in ("trl-2026-09", stack))
    added = slice(len(whole.size), None)
    sizes = held.storage_bytes(held.dims(**point))
    tile = TILE[0] * TILE[1] * TILE_BYTES
    trained = [head * SUM_BYTES] if strategy == "fine_tune" else []
    assert sizes[held.size[added]].tolist() == [tile, tile, *trained]
    logits = 8 * 64 * CONFIG["vocab_size"] * 4
    kept = sizes[held.size[: len(whole.size)]]
    assert (whole.storage_bytes(whole.dims(**point))[whole.size] >= logits).sum() >= 2
    assert (kept[held.birth[: len(whole.size)] >= 0] >= logits).sum() == 0


def test_a_day_before_it_held_them(facts):
    from planner.plan.inputs.of_its_day import view_of
    from planner.question.stack import stack_of

    for objective, day in (("dpo", "trl-2026-09"), ("on_policy_distillation", "trl-2026-07")):
        assert view_of(stack_of(day), facts, recipe(objective)) is None
        assert view_of(stack_of("trl"), facts, recipe(objective)) is not None
    assert view_of(stack_of("trl"), facts, recipe("gkd")) is None


@pytest.mark.parametrize("stack", ["llama_factory", "loop"])
def test_trainers_that_are_not_trls_hold_their_logits(facts, stack):
    from planner.plan.inputs.of_its_day import view_of
    from planner.question.stack import stack_of

    assert view_of(stack_of(stack), facts, recipe("dpo")) is None
