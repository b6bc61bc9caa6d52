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


def test_no_tensor_of_all_logits_is_left_where_the_loss_works_in_pieces(tmp_path):
    """Those that are laid flat under a view of them among them: gradients of what was divided in
    place."""
    from planner.memory.fused_loss import in_pieces
    from planner.models.resolve import resolve
    from planner.trace.source import trace_for
    from planner.training.recipe import Recipe

    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    recipe = Recipe("fine_tune", "causal_lm", "bf16", "adamw_fused", objective="grpo")
    point = {"B": 8, "S": 64, "T": 64}
    trace = trace_for(resolve(str(tmp_path)), recipe).at(**point)
    dims = trace.dims(**point)
    logits = 8 * 64 * CONFIG["vocab_size"] * 2
    weights = CONFIG["vocab_size"] * CONFIG["hidden_size"] * 4
    assert trace.storage_bytes(dims)[trace.size].max() >= logits
    assert in_pieces(trace).storage_bytes(dims)[in_pieces(trace).size].max() <= weights
