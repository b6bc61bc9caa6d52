"""Megatron-Bridge's rows as questions, and steps in 8-bit floats."""

import json

import numpy as np
import pytest

from benchmarks.bridge_tables import Run, first, runs
from benchmarks.tables.eight_bits import FLOAT8, in_eight_bits
from planner.models.resolve import resolve
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

ROW = {
    "release": "25.11",
    "kind": "Pre-Training Performance",
    "system": "DGX-H100",
    "model": "LLAMA3.1_405B",
    "n_gpus": "1024",
    "precision": "FP8-CS (FP8-MX)",
    "global_batch_size": "512",
    "micro_batch_size": "1",
    "seq_len": "8192",
    "fsdp": "0",
    "tp": "8",
    "pp": "8",
    "cp": "2",
    "vp": "8",
    "ep": "1",
    "tokens_per_s_per_gpu": "292 (280)",
    "flag": "",
    "raw": "",
    "source": "",
}
CONFIG = {
    "model_type": "qwen3_moe",
    "hidden_size": 256,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "moe_intermediate_size": 128,
    "num_hidden_layers": 2,
    "vocab_size": 4096,
    "num_experts": 16,
    "num_experts_per_tok": 2,
}


def test_a_row_is_asked_with_its_own_degrees():
    (run,) = runs([ROW, {**ROW, "release": "later"}])
    assert isinstance(run, Run)
    plan = run.plan
    assert (plan.tp, plan.cp, plan.pp, plan.chunks, plan.dp_shard) == (8, 2, 8, 8, 8)
    assert (plan.sharding, plan.devices, run.accumulation) == ("zero1", 1024, 64)
    assert run.seconds == pytest.approx(512 * 8192 / (292 * 1024))
    assert first("64 (0)") == 64 and first("n/a") == 1


def test_what_a_row_does_not_say_is_not_asked():
    (why,) = runs([{**ROW, "precision": ""}])
    assert isinstance(why, str) and "precision" in why
    assert not list(runs([{**ROW, "kind": "Fine-Tuning"}]))


@pytest.mark.parametrize("scaled", [True, False])
def test_products_of_blocks_read_8_bits_and_casts_stand_beside_them(scaled, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    recipe = Recipe(
        task="causal_lm",
        strategy="scratch",
        optimizer="adamw",
        precision="bf16",
        attention="flash",
        gradient_checkpointing="none",
    )
    plain = trace_for(resolve(str(tmp_path), task="causal_lm", offline=True), recipe)
    before = plain.at(B=2, S=512)
    after = in_eight_bits(before, scaled=scaled)

    def inputs(trace, name):
        ops = [trace.signatures[n] for n in trace.op_signature]
        return [one.inputs[0].dtype for one in ops if one.op.startswith(name)]

    assert set(inputs(after, "aten._grouped_mm.")) == {FLOAT8}
    # four products of attention in three passes; the router's and the head's stay
    assert len(inputs(after, "aten._scaled_mm.")) == 2 * 4 * 3
    rest = len(inputs(before, "aten.mm.")) - 2 * 4 * 3
    assert inputs(after, "aten.mm.") == ["bfloat16"] * rest and rest == 2 * 3 + 3
    assert bool(inputs(after, "aten.amax.")) == scaled
    assert np.array_equal(np.sort(after.size), np.sort(before.size))  # memory is as it was
