"""Mixtures of experts: what works for one token, what adapters reach, what is said first."""

import importlib.util
import json

import pytest

from planner.models.resolve import resolve

MIXTRAL = {
    "model_type": "mixtral",
    "architectures": ["MixtralForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 512,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "sliding_window": None,
}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "architectures": ["DeepseekV3ForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 3,
    "first_k_dense_replace": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "vocab_size": 300,
}
#: Published as active of total: Mixtral (arXiv 2401.04088) 12.9B of 46.7B, Qwen3-30B-A3B 3.3B of
#: 30.5B, gpt-oss-20b 3.6B of 20.9B (its card, which leaves the input embedding out),
#: DeepSeek-V3 37B of 671B, DeepSeek-V2-Lite 2.4B of 15.7B (arXiv 2405.04434, without embeddings).
ACTIVE = [
    ("Mixtral-8x7B-v0.1", 12.9e9, 0),
    ("Qwen3-30B-A3B", 3.3e9, 0),
    ("gpt-oss-20b", 3.6e9, 201_088 * 2880),
    ("DeepSeek-V3", 37e9, 129_280 * 7168),
    ("DeepSeek-V2-Lite", 2.4e9, 102_400 * 2048),
]


def small(tmp_path, config=MIXTRAL):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    return resolve(str(file))


@pytest.mark.parametrize("name, published, embedding", ACTIVE)
def test_active_parameters_are_the_published(name, published, embedding):
    pytest.importorskip("transformers")
    from planner.models.building.build import build
    from planner.models.building.experts import idle_parameters

    module = build(resolve(name, offline=True)).module
    total = sum(p.numel() for p in module.parameters())
    assert total - idle_parameters(module) - embedding == pytest.approx(published, rel=0.04)


def test_idle_weights_by_hand(tmp_path):
    """Two of four experts of two layers: three matrices of 64 × 128 each."""
    pytest.importorskip("transformers")
    from planner.models.building.build import build
    from planner.models.building.experts import idle_parameters

    assert idle_parameters(build(small(tmp_path)).module) == 2 * 2 * 3 * 64 * 128


def prepared(facts, targets=None):
    if importlib.util.find_spec("peft") is None:
        pytest.skip("needs peft")
    from planner.models.building.build import build
    from planner.training.recipe import Recipe
    from planner.training.strategies.lora import apply

    recipe = Recipe(
        strategy="lora",
        task="causal_lm",
        precision="bf16",
        gradient_checkpointing="none",
        attention="sdpa",
        optimizer="adamw",
        lora_rank=4,
        lora_targets=targets,
    )
    return recipe, apply(build(facts), recipe, None)


ATTENTION = 2 * 4 * (2 * (64 + 64) + 2 * (64 + 32))  # two layers: q, o and k, v at rank 4
#: gate_up_proj is two layers in one, at twice the rank; four experts each.
EXPERTS = 2 * 4 * (8 * (64 + 256) + 4 * (128 + 64))


@pytest.mark.parametrize(
    "targets, trains",
    [
        (None, ATTENTION),
        (("w1", "w2", "w3"), EXPERTS),
        (("mlp.experts.down_proj",), 2 * 4 * 4 * (128 + 64)),
        (("all-linear",), ATTENTION + EXPERTS + 2 * 4 * (64 + 4)),  # PEFT adapts the router too
    ],
)
def test_what_adapters_reach(tmp_path, targets, trains):
    _, made = prepared(small(tmp_path), targets)
    assert made.adapter_parameters == trains


def test_layers_beside_experts_do_not_bring_them_in(tmp_path):
    """DeepSeek's shared experts are called as PEFT takes routed ones to be called."""
    _, made = prepared(small(tmp_path, DEEPSEEK))
    names = {n for n, p in made.module.named_parameters() if p.requires_grad}
    assert names and all("self_attn" in name for name in names)


def test_adapters_on_experts_are_one_fit(tmp_path):
    """PEFT moves an adapted weight to the end of its module each time that it runs."""
    if importlib.util.find_spec("peft") is None:
        pytest.skip("needs peft")
    from planner.trace.recorder.regimes import record_regime

    facts = small(tmp_path)
    recipe, made = prepared(facts, ("q_proj", "mlp.experts.gate_up_proj"))
    family, exact = record_regime(facts, recipe, None, "b2", 64, None)
    (trace,) = family.traces
    sizes = trace.storage_bytes(trace.dims(B=8, S=100))[trace.size]
    weights = sizes[trace.category == 0].sum()
    assert not exact and (sizes >= 0).all()
    # bf16 weights and float32 adapters; buffers beside them are small
    held = 2 * (made.total_parameters - made.adapter_parameters)
    assert held <= weights <= held + 4 * made.adapter_parameters + 4096
    assert trace.meta["active_params"] == trace.meta["total_params"] - 2 * 2 * 3 * 64 * 128


def test_what_is_said_first(tmp_path):
    from planner.plan.inputs.families.mixtures import mixture_lines
    from planner.question import Question

    facts = small(tmp_path)
    question = Question(model="x", samples=10, tokens_per_sample=10)
    lines = [line.text for line in mixture_lines(question, facts, ("lora",))]
    assert lines[0].startswith("4 experts, 2 of them for each token") and "router" in lines[0]
    assert "leave the experts alone" in lines[1]
    named = question.model_copy(update={"lora_targets": ["all-linear"]})
    assert len(mixture_lines(named, facts, ("lora",))) == 1
    assert not mixture_lines(question, resolve("gpt2", offline=True), ("lora",))


def test_published_quantised_weights_are_said():
    for name, word in (("gpt-oss-20b", "MXFP4"), ("DeepSeek-V3", "fp8")):
        facts = resolve(name, offline=True)
        assert facts.quantization is not None
        assert any(word in line.text for line in facts.first_lines)
        other = name + ("-BF16" if name.startswith("gpt") else "-bf16")
        assert resolve(other, offline=True).quantization is None


def test_stored_experts_count_what_they_stand_for():
    """Packed in few bits, an expert is the matrix that it was."""
    pytest.importorskip("transformers")
    import torch

    from planner.models.building.experts import _held, idle_parameters

    module = torch.nn.Module()
    module.config = type("Config", (), {"num_experts_per_tok": 2})()
    stored = type("StoredExperts", (torch.nn.Module,), {})()
    stored.experts, stored.elements = 8, 8 * 64 * 32
    stored.blocks = torch.nn.Parameter(torch.empty(8, 64, 16, device="meta"))
    module.part = stored
    assert _held(stored) == [(8, 8 * 64 * 32)]
    assert idle_parameters(module) == 6 * 64 * 32
