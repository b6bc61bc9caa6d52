"""A fitted trace equals a fresh recording at points it never saw: operation by operation, dimension
by dimension."""

import importlib.util

import numpy as np
import pytest

from planner.models.resolve import resolve
from planner.trace.recorder.regimes import runner_for
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

if not all(importlib.util.find_spec(name) for name in ("transformers", "peft", "timm")):
    pytest.skip("needs the extras hf and vision", allow_module_level=True)

TINY_LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 176,
    "vocab_size": 997,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}
TINY_T5 = {
    "model_type": "t5",
    "d_model": 32,
    "d_ff": 64,
    "d_kv": 8,
    "num_layers": 2,
    "num_heads": 4,
    "vocab_size": 997,
    "is_encoder_decoder": True,
    "architectures": ["T5ForConditionalGeneration"],
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def local(tmp_path):
    import json

    def write(config):
        folder = tmp_path / config["model_type"]
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        return resolve(str(folder))

    return write


def recipe(facts, **more):
    return Recipe(
        **{"strategy": "fine_tune", "task": facts.task, "precision": "bf16", "optimizer": "adamw"}
        | more
    )


LORA = {"strategy": "lora", "lora_rank": 8, "lora_dropout": 0.05}
CASES = [
    {},
    {"precision": "amp_bf16"},
    {"gradient_checkpointing": "full"},
    {"gradient_checkpointing": "selective"},
    LORA,
    LORA | {"strategy": "qlora", "gradient_checkpointing": "full"},
    {"strategy": "partial_fine_tune", "unfrozen_blocks": 1},
    {"strategy": "feature_extraction"},
    {"attention": "eager"},
    {"optimizer": "adamw_8bit"},
    {"optimizer": "adafactor"},
]


@pytest.mark.slow
@pytest.mark.parametrize("choices", CASES, ids=lambda c: "-".join(map(str, c.values())) or "plain")
def test_a_decoder_at_unseen_points(local, choices):
    facts = local(TINY_LLAMA)
    chosen = recipe(facts, **choices)
    for point in ({"B": 5, "S": 333}, {"B": 1, "S": 77}):
        same_as_recorded(facts, chosen, point)


@pytest.mark.slow
def test_an_encoder_decoder_at_unseen_points(local):
    facts = local(TINY_T5)
    same_as_recorded(facts, recipe(facts), {"B": 4, "S": 99, "T": 31})


@pytest.mark.slow
def test_an_image_model_at_an_unseen_batch():
    facts = resolve("timm:resnet18")
    same_as_recorded(facts, recipe(facts, precision="amp_bf16"), {"B": 7})


def same_as_recorded(facts, chosen, point):
    trace = trace_for(facts, chosen).at(**point)
    raw = runner_for(facts, chosen).record(**point)
    dims = trace.dims(**point)
    assert trace.op_count == len(raw.operations)
    fitted = [
        (trace.signatures[s], int(p), int(m))
        for s, p, m in zip(trace.op_signature, trace.op_phase, trace.op_module)
    ]
    for (signature, phase, module), (index, raw_phase, raw_module) in zip(fitted, raw.operations):
        name, inputs, outputs, _ = raw.signatures[index]
        assert (signature.op, phase, module) == (name, raw_phase, raw_module)
        for operand, recorded in zip(
            signature.inputs + signature.outputs, inputs + outputs, strict=True
        ):
            assert tuple(dims[list(operand.shape)]) == recorded[0]
            assert (operand.dtype, operand.layout, operand.expanded, operand.count) == recorded[1:]
    sizes = trace.storage_bytes(dims)[trace.size]
    assert sizes.tolist() == [int(np.prod(s[0], dtype=np.int64)) * s[1] for s in raw.storages]
    assert [trace.birth.tolist(), trace.death.tolist(), trace.category.tolist()] == [
        [s[i] for s in raw.storages] for i in (2, 3, 4)
    ]


@pytest.mark.slow
def test_a_length_past_the_attention_window_is_another_regime(local):
    facts = local(TINY_LLAMA | {"model_type": "mistral", "sliding_window": 128})
    source = trace_for(facts, recipe(facts))
    short, long = source.at(B=2, S=64), source.at(B=2, S=512)
    assert short.domain["S"][1] == 127 and long.domain["S"][0] == 128
    assert short.op_count != long.op_count  # past the window a mask is made
    same_as_recorded(facts, recipe(facts), {"B": 3, "S": 640})
