"""Memory of adapters over weights in few bits: against what was measured, and what must hold of
any model."""

from __future__ import annotations

import importlib.util
import itertools
import json

import pytest

from planner import estimate
from planner.errors import QuestionError
from planner.models.quantization.read import read
from planner.models.quantization.stored import LOADED
from planner.models.resolve import resolve
from planner.question.setup import TracedSettings
from planner.trace.source import trace_for
from planner.trace.table import CATEGORIES
from planner.training.recipe import recipe_of

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("transformers", "peft")),
    reason="needs the extra hf",
)
GIB = 2**30
MISTRAL = {
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
    "max_position_embeddings": 32768,
    "sliding_window": 4096,
    "torch_dtype": "float16",
}
MIXTRAL = MISTRAL | {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "sliding_window": None,
    "torch_dtype": "bfloat16",
}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": True, "sym": True}
SMALL = MISTRAL | {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "sliding_window": None,
}
#: An A100-SXM-80, batches of 4,096 tokens, LoRA of rank 16 on q, k, v and o, fp16, flash attention,
#: gradient checkpointing (foundation-model-stack/fms-acceleration@04702cc
#: scripts/benchmarks/refs/a100_80gb.csv): GiB allocated (torch) and on the card (nvidia-smi). Its
#: transformers kept 0.5 GiB of rotary tables, one pair a layer, that today's does not; the
#: checkpoints were reentrant.
MEASURED = [
    (MISTRAL, {"strategy": ["qlora"]}, 4, 21.26, 26.39),
    (MISTRAL, {"strategy": ["qlora"]}, 8, 37.51, 46.04),
    (MISTRAL, {"strategy": ["qlora"], "kbit_preparation": "none"}, 4, 14.77, 19.46),
    (MISTRAL, {"strategy": ["qlora"], "kbit_preparation": "none"}, 8, 25.01, 33.55),
    (MISTRAL | {"quantization_config": GPTQ}, {"strategy": ["lora"]}, 4, 14.80, 19.97),
    (MISTRAL | {"quantization_config": GPTQ}, {"strategy": ["lora"]}, 8, 25.03, 33.44),
    (MIXTRAL, {"strategy": ["qlora"], "quantised_layers": "all"}, 4, 43.23, 47.18),
    (
        MIXTRAL,
        {"strategy": ["qlora"], "quantised_layers": "all", "kbit_preparation": "none"},
        4,
        33.73,
        37.50,
    ),
    (MIXTRAL | {"quantization_config": GPTQ}, {"strategy": ["lora"]}, 4, 33.09, 36.58),
]


@pytest.mark.slow
@pytest.mark.parametrize(("config", "fields", "batch", "allocated", "on_card"), MEASURED)
def test_measured_runs(tmp_path, config, fields, batch, allocated, on_card):
    (tmp_path / "config.json").write_text(json.dumps(config))
    answer = estimate(
        str(tmp_path),
        samples=2000,
        tokens_per_sample=4096,
        max_length=4096,
        padding="packed",
        gpu="a100-sxm-80",
        precision="fp16",
        attention="flash",
        gradient_checkpointing="full",
        lora_rank=16,
        lora_targets="q_proj,k_proj,v_proj,o_proj",
        micro_batch=batch,
        offline=True,
        **fields,
    )
    (option,) = answer["options"]
    memory = option["memory"]
    assert memory["allocated_bytes"]["p50"] / GIB == pytest.approx(allocated, rel=0.10)
    assert memory["device_used_bytes"]["p50"] / GIB == pytest.approx(on_card, rel=0.12)


@pytest.mark.slow
def test_the_usual_recipe_of_eight_long_samples_does_not_fit_a_card_of_40_gb():
    answer = estimate(
        "Mistral-7B-v0.1",
        samples=2000,
        tokens_per_sample=4096,
        max_length=4096,
        padding="packed",
        gpu="a100-sxm-40",
        precision="fp16",
        attention="flash",
        gradient_checkpointing="full",
        strategy=["qlora"],
        lora_targets="q_proj,k_proj,v_proj,o_proj",
        micro_batch=8,
        offline=True,
    )
    assert not answer["options"][0]["fits"]
    assert any("prepare_model_for_kbit_training" in line["text"] for line in answer["first_lines"])


def _small_answer(**fields):
    return estimate(
        "Llama-3.2-1B",
        samples=100,
        tokens_per_sample=128,
        gpu="a100-sxm-80",
        micro_batch=4,
        offline=True,
        **fields,
    )


def test_the_answer_says_how_the_rest_is_prepared_and_checkpoints_as_peft_does():
    (usual,) = _small_answer(strategy=["qlora"])["options"]
    assert usual["training"]["precision_detail"].startswith("NF4 weights")
    assert usual["training"]["gradient_checkpointing"] == "full"
    assert usual["training"]["precision"] == "amp_bf16"


def test_loading_in_few_bits_without_adapters_is_refused():
    with pytest.raises(QuestionError, match="trains no adapters"):
        _small_answer(strategy=["fine_tune"], load_in="8bit")


# ---- what holds of any model


@pytest.fixture
def peak(tmp_path):
    from planner.memory.live_bytes import peak_allocated

    def of(config, strategy, precision="bf16", checkpointing="none", length=256, **settings):
        (tmp_path / "config.json").write_text(json.dumps(config))
        facts = resolve(str(tmp_path))
        adapted = strategy in ("lora", "qlora")
        recipe = recipe_of(
            TracedSettings(
                strategy=strategy,
                task="causal_lm",
                precision=precision,
                optimizer="adamw",
                gradient_checkpointing=checkpointing,
                lora_rank=4 if adapted else None,
                **settings,
            )
        )
        trace = trace_for(facts, recipe).at(B=4, S=length)
        dims = trace.dims(B=4, S=length)
        kept = (trace.birth < 0) & (trace.category == CATEGORIES.index("weights"))
        weights = int(trace.storage_bytes(dims)[trace.size[kept]].sum())
        return weights, int(peak_allocated(trace, dims)), trace

    return of


LOADS = [
    ("qlora", {"kbit_preparation": "none"}),
    ("qlora", {"kbit_preparation": "peft"}),
    ("lora", {"load_in": "8bit", "kbit_preparation": "none"}),
]


@pytest.mark.parametrize(("strategy", "settings"), LOADS)
def test_weights_in_few_bits_are_never_more_and_checkpointing_never_costs(peak, strategy, settings):
    plain, _, _ = peak(SMALL, "lora")
    weights, without, _ = peak(SMALL, strategy, **settings)
    checkpointed, with_it, _ = peak(SMALL, strategy, checkpointing="full", **settings)
    assert weights <= plain and checkpointed == weights
    assert with_it <= without
    # of short samples: PEFT's float32 adapters keep a float32 copy of what enters each of them, so
    # of long ones they may need more than training every weight does
    _, full, _ = peak(SMALL, "fine_tune", length=16)
    _, adapted, _ = peak(SMALL, strategy, length=16, **settings)
    assert adapted <= full


@pytest.mark.parametrize(
    "config",
    [
        GPTQ,
        {"quant_method": "awq", "bits": 4, "group_size": 64},
        {"quant_method": "fp8", "weight_block_size": [128, 128]},
        {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        {"load_in_8bit": True, "quant_method": "bitsandbytes"},
        {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 2}}},
        {"quant_method": "eetq"},
    ],
    ids=lambda config: config.get("quant_method", "bitsandbytes-4bit"),
)
def test_a_quantised_checkpoint_weighs_its_tensors_and_adapters_train_over_it(peak, config):
    """Of a small model by hand: seven layers a block as stored, and norms, embedding and output in
    16 bits, and the adapters."""
    plain, plain_peak, _ = peak(SMALL, "lora")
    weights, used, trace = peak(SMALL | {"quantization_config": config}, "lora")
    stored, wide = _of_blocks(read({"quantization_config": config}))
    assert plain - weights == wide - stored
    assert trace.meta["total_params"] == 2 * wide // 4 + _rest() + trace.meta["trainable_params"]
    assert used < plain_peak or config.get("load_in_8bit")


def _of_blocks(quantization):
    """(bytes as stored, bytes in 16 bits) of both blocks' seven linear layers."""
    hidden, inner, keys = 256, 512, 128
    layers = [(hidden, hidden)] * 2 + [(keys, hidden)] * 2 + [(inner, hidden)] * 2
    layers.append((hidden, inner))
    stored = sum(quantization.stored_bytes(*shape) for shape in layers)
    return 2 * stored, 2 * sum(2 * a * b for a, b in layers)


def _rest() -> int:
    """Parameters outside of the blocks' linear layers: embedding, output, five norms."""
    return 2 * 512 * 256 + 5 * 256


def test_experts_are_said_to_stay_and_all_converts_them(peak):
    small = SMALL | {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
    }
    targets = ("q_proj", "v_proj")
    installed, _, trace = peak(small, "qlora", lora_targets=targets)
    everything, _, converted = peak(small, "qlora", lora_targets=targets, quantised_layers="all")
    wide = 2 * 4 * (2 * 512 * 256 + 256 * 512) * 2  # layers × experts × weights × bytes
    one = LOADED["4bit"].stored_bytes
    stored = 2 * 4 * (one(2 * 512, 256) + one(256, 512))
    assert (trace.meta["kept_wide_bytes"], trace.meta["kept_stored_bytes"]) == (wide, stored)
    assert installed - everything == wide - stored
    assert "kept_wide_bytes" not in converted.meta
    assert converted.meta["total_params"] == trace.meta["total_params"]


@pytest.mark.parametrize(
    ("precision", "preparation"), itertools.product(("bf16", "fp16"), ("peft", "none"))
)
def test_how_the_rest_is_prepared_is_the_precision_of_a_recipe(precision, preparation):
    recipe = recipe_of(
        TracedSettings(
            strategy="qlora",
            task="causal_lm",
            precision=precision,
            optimizer="adamw",
            lora_rank=4,
            kbit_preparation=preparation,
        )
    )
    assert recipe.precision == (f"amp_{precision}" if preparation == "peft" else precision)
    assert recipe.kbit_preparation is None


def test_what_peft_makes_float32_is_float32_here(tmp_path):
    """PEFT's own function on a model of 16-bit parameters, against a model built as a recipe has
    it."""
    import torch

    from planner.libraries import import_library
    from planner.models.building.build import build

    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    facts = resolve(str(tmp_path))
    theirs = import_library("peft", "a test").prepare_model_for_kbit_training(
        build(facts, dtype="bfloat16").module, use_gradient_checkpointing=False
    )
    ours = build(facts, dtype="float32").module
    types = {name: p.dtype for name, p in theirs.named_parameters()}
    assert types == {name: p.dtype for name, p in ours.named_parameters()}
    assert set(types.values()) == {torch.float32}


def test_int8_layers_search_their_input_and_the_host_waits_twice_a_layer(peak):
    """bitsandbytes compares every value of a layer's input, asks whether one is an outlier and for
    the places of their columns: seven linear layers in each of two blocks. Its backward pass
    multiplies in the input's own type, which is float32 without a flag for 16 bits."""
    _, _, trace = peak(SMALL, "lora", "fp32", load_in="8bit")
    layers = 7 * SMALL["num_hidden_layers"]
    names, plain = (_names(each) for each in (trace, peak(SMALL, "lora", "fp32")[2]))
    asked = "aten._local_scalar_dense.default"
    assert names.count(asked) - plain.count(asked) == 2 * layers
    assert sum(name.startswith("planner.quantize_rows") for name in names) == layers
    assert sum(name.startswith("aten._int_mm") for name in names) == layers
    assert sum(name == "aten.ge.Scalar" for name in names) == layers
    products = [s for s in trace.signatures if s.op.startswith("aten.mm")]
    assert {o.dtype for s in products for o in s.inputs} == {"float32"}


def test_old_four_bit_layers_keep_what_they_read(peak):
    """Before bitsandbytes 0.43.2. With adapters on the queries alone these are the second norm's
    result, the gated product, and the first norm's where gradients pass it (of all blocks but the
    first; the adapters keep a float32 copy). Attention's result is there for attention."""
    asked = {"kbit_preparation": "none", "lora_targets": ("q_proj",), "length": 2048}
    _, today, _ = peak(SMALL, "qlora", **asked)
    _, then, _ = peak(SMALL, "qlora", quantised_inputs="kept", **asked)
    layers, hidden = SMALL["num_hidden_layers"], SMALL["hidden_size"]
    wide = hidden + SMALL["intermediate_size"]
    assert then - today == 4 * 2048 * (layers * wide + (layers - 1) * hidden) * 2
    _, checkpointed, _ = peak(SMALL, "qlora", checkpointing="full", **asked)
    _, both, _ = peak(SMALL, "qlora", checkpointing="full", quantised_inputs="kept", **asked)
    assert both - checkpointed <= 4 * 2048 * (wide + hidden) * 2  # of one block


def test_the_stack_of_the_day_says_whether_they_do():
    asked = {"strategy": ["qlora"], "kbit_preparation": "none"}
    stacks = ("trl-2024-06", "trl-2024-08", "unsloth-2024-06")
    then, later, own = (_small_answer(stack=stack, **asked) for stack in stacks)
    said = "the inputs of 4-bit layers kept for the backward pass"
    lines = [[line["text"] for line in answer["first_lines"]] for answer in (then, later, own)]
    assert [any(said in line for line in each) for each in lines] == [True, False, False]
    held, now = (
        answer["options"][0]["memory"]["breakdown"]["activations"] for answer in (then, later)
    )
    assert held > now


def _names(trace):
    return [trace.signatures[index].op for index in trace.op_signature]
