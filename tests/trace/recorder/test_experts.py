"""Mixtures of experts are traced in every precision, with the work that a real run has."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from planner.errors import ModelError
from planner.models.building import experts
from planner.models.resolve import resolve
from planner.operations.call import Call, Lengths
from planner.operations.registry import cost
from planner.operations.shapes import product_of
from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.regimes import record_regime
from planner.trace.table import Operand, Signature
from planner.training.recipe import Recipe

if importlib.util.find_spec("transformers") is None:
    pytest.skip("needs transformers", allow_module_level=True)

BASE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 16,
    "vocab_size": 512,
    "max_position_embeddings": 512,
}
MANY = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT = {
    **BASE,
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
}
LATENT.pop("head_dim")
DBRX = {
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 2,
    "max_seq_len": 512,
    "vocab_size": 512,
    "attn_config": {"kv_n_heads": 4, "clip_qkv": 8, "rope_theta": 500000},
    "ffn_config": {"ffn_hidden_size": 128, "moe_num_experts": 4, "moe_top_k": 2},
}
JAMBA = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "attn_layer_period": 2,
    "attn_layer_offset": 1,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "mamba_d_state": 4,
    "use_mamba_kernels": False,
}
LONGCAT = {
    **{key: value for key, value in LATENT.items() if not key.startswith("n_")},
    "num_layers": 1,
    "ffn_hidden_size": 128,
    "n_routed_experts": 4,
    "zero_expert_num": 2,
    "moe_topk": 2,
    "expert_ffn_hidden_size": 32,
    "qk_head_dim": 32,
    "head_dim": 16,
}
#: model_type → (class, what its config adds to a small decoder's).
FAMILIES = {
    "mixtral": ("MixtralForCausalLM", {**BASE, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2_moe": ("Qwen2MoeForCausalLM", {**BASE, **MANY, "shared_expert_intermediate_size": 32}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", {**BASE, **MANY}),
    "deepseek_v2": ("DeepseekV2ForCausalLM", {**LATENT, "q_lora_rank": None}),
    "deepseek_v3": ("DeepseekV3ForCausalLM", LATENT),
    "olmoe": ("OlmoeForCausalLM", {**BASE, **MANY}),
    "phimoe": ("PhimoeForCausalLM", {**BASE, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "granitemoe": (
        "GraniteMoeForCausalLM",
        {**BASE, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "gpt_oss": ("GptOssForCausalLM", {**BASE, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "jamba": ("JambaForCausalLM", {**BASE, **JAMBA}),
    "llama4_text": (
        "Llama4ForCausalLM",
        {**BASE, "num_local_experts": 4, "intermediate_size_mlp": 64},
    ),
    "dbrx": ("DbrxForCausalLM", DBRX),
    "longcat_flash": ("LongcatFlashForCausalLM", LONGCAT),
    "jetmoe": (
        "JetMoeForCausalLM",
        {**BASE, "kv_channels": 16, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
}


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    """model_type → the facts of a small config of it."""

    def made(family, **changes):
        name, config = FAMILIES[family]
        folder = tmp_path_factory.mktemp(family)
        config = {"model_type": family, "architectures": [name], **config, **changes}
        (folder / "config.json").write_text(json.dumps(config))
        return resolve(str(folder))

    return made


def recorded(facts, precision, checkpointing="none"):
    recipe = Recipe(
        strategy="fine_tune",
        task=facts.task,
        precision=precision,
        optimizer="adamw",
        gradient_checkpointing=checkpointing,
    )
    return record_regime(facts, recipe, None, "b2", 64, None)[0].traces[0]


def products(trace, **point):
    """FLOPs of all products of a trace, and how many operations are grouped."""
    dims = trace.dims(**point)
    counts = trace.counts.sum(axis=1)
    matrix = [
        float(n * cost(s, dims).flops)
        for n, s in zip(counts, trace.signatures)
        if s.op.split(".")[1] in ("mm", "addmm", "bmm", "_grouped_mm")
    ]
    return sum(matrix), sum(int(n) for n, s in zip(counts, trace.signatures) if "grouped" in s.op)


#: One whose experts are grouped by its library and one whose loop has a stand-in, on every day.
QUICK = ("mixtral", "dbrx")


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(family, marks=[] if family in QUICK else [pytest.mark.slow])
        for family in FAMILIES
    ],
)
def test_every_precision_has_the_same_products(family, mixture):
    facts = mixture(family)
    assert facts.task == "causal_lm"
    totals = {p: products(recorded(facts, p), B=4, S=64) for p in ("fp16", "fp32", "amp_bf16")}
    assert len({count for _, count in totals.values()}) == 1
    flops = [flops for flops, _ in totals.values()]
    assert max(flops) == pytest.approx(min(flops), rel=0.02)  # attention differs by its kernel


def test_bfloat16_has_the_operations_of_half_precision(mixture):
    facts = mixture("mixtral")
    half, brain = recorded(facts, "fp16"), recorded(facts, "bf16")
    assert [s.op for s in half.signatures] == [s.op for s in brain.signatures]
    assert products(half, B=4, S=64) == products(brain, B=4, S=64)


def test_experts_stay_in_float32_under_autocast_and_it_is_said(mixture):
    """transformers casts the rows to the weights' type, and no autocast list names the product."""
    trace = recorded(mixture("mixtral"), "amp_bf16")
    types = {o.dtype for s in trace.signatures if "grouped" in s.op for o in s.outputs}
    assert types == {"float32"}
    assert any("float32 under autocast" in text for text in trace.meta["assumptions"])
    plain = recorded(mixture("mixtral"), "fp32")
    assert not any("autocast" in text for text in plain.meta["assumptions"])


def test_a_looped_mixture_is_lowered_by_autocast_as_its_own_products_are(mixture):
    trace = recorded(mixture("dbrx"), "amp_bf16")
    types = {o.dtype for s in trace.signatures if "grouped" in s.op for o in s.outputs}
    assert types == {"bfloat16"}
    assert experts.LOOPED in trace.meta["assumptions"]


def test_which_experts_are_priced_is_said(mixture):
    assert experts.GROUPED in recorded(mixture("qwen3_moe"), "bf16").meta["assumptions"]


def test_twice_the_choices_is_twice_the_experts_work(mixture):
    one, two = (
        products(recorded(mixture("mixtral", num_experts_per_tok=k), "fp16"), B=4, S=64)[0]
        for k in (1, 2)
    )
    expert = 3 * 2 * 64 * 128 * (4 * 64) * 3 * 2  # three matrices, forward and twice back, layers
    assert two - one == pytest.approx(expert, rel=1e-9)


# ---- the loops' stand-ins, with values


def _random(module):
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 8
    return module


def _routing(tokens, choices, count):
    generator = torch.Generator().manual_seed(1)
    index = torch.stack(
        [torch.randperm(count, generator=generator)[:choices] for _ in range(tokens)]
    )
    return index, torch.rand(tokens, choices, generator=generator)


def test_dbrx_without_its_loop_gives_what_its_loop_gives():
    from transformers import DbrxConfig
    from transformers.models.dbrx.modeling_dbrx import DbrxExperts

    config = DbrxConfig(**DBRX)
    module = _random(DbrxExperts(config.ffn_config))
    states, (index, weights) = torch.randn(2, 12, 64), _routing(24, 2, 4)
    theirs = module(states, index, weights)
    experts.group_experts(module)
    torch.testing.assert_close(module(states, index, weights), theirs)


def test_longcat_without_its_loop_gives_what_its_loop_gives():
    from transformers import LongcatFlashConfig
    from transformers.models.longcat_flash.modeling_longcat_flash import LongcatFlashExperts

    module = _random(LongcatFlashExperts(LongcatFlashConfig(**LONGCAT)))
    states, (index, weights) = torch.randn(24, 64), _routing(24, 2, 4)
    theirs = module(states, index, weights)
    experts.group_experts(module)
    torch.testing.assert_close(module(states, index, weights), theirs)


def test_jetmoe_without_its_loop_gives_what_its_loop_gives():
    from transformers import JetMoeConfig
    from transformers.models.jetmoe.modeling_jetmoe import JetMoeMoE

    module = _random(JetMoeMoE(JetMoeConfig(**FAMILIES["jetmoe"][1])))
    states = torch.randn(2, 12, 64)
    theirs = module(states)[0]
    experts.group_experts(module)
    torch.testing.assert_close(module(states)[0], theirs)


# ---- the product itself


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_grouped_product_on_meta_has_the_sizes_of_a_real_one(dtype):
    ends = torch.tensor([16, 40, 64], dtype=torch.int32)
    for left, right in [((64, 32), (3, 32, 48)), ((32, 64), (64, 48)), ((3, 8, 32), (3, 32, 48))]:
        a, b = torch.randn(left).to(dtype), torch.randn(right).to(dtype)
        given = None if len(left) == 3 else ends
        real = torch._grouped_mm(a, b, offs=given)
        meta = torch._grouped_mm(
            a.to("meta"), b.to("meta"), offs=None if given is None else given.to("meta")
        )
        assert (meta.shape, meta.dtype) == (real.shape, real.dtype)


def test_rows_of_a_result_start_at_16_bytes():
    a, b = (torch.empty(s, device="meta", dtype=torch.float16) for s in ((8, 32), (2, 32, 20)))
    out = torch._grouped_mm(a, b, offs=torch.empty(2, dtype=torch.int32, device="meta"))
    assert out.stride() == (24, 1)


@pytest.mark.parametrize("left, right", [((8, 32), (2, 16, 24)), ((8, 32), (3, 8, 16))])
def test_sizes_that_do_not_meet_are_refused(left, right):
    a, b = torch.empty(left, device="meta"), torch.empty(right, device="meta")
    with pytest.raises((RuntimeError, ValueError)):
        torch._grouped_mm(a, b, offs=torch.empty(2, dtype=torch.int32, device="meta"))


def test_a_grouped_product_is_priced_as_one_an_expert():
    """8 experts share 512 rows; their weights' gradients are summed over each one's rows."""
    sizes = np.array([512, 64, 8, 32])
    rows, weights, out = Operand((0, 1), "float16"), Operand((2, 1, 3), "float16"), (0, 3)
    forward = Signature("aten._grouped_mm.default", (rows, weights), (Operand(out, "float16"),))
    product = product_of(Call(forward, Lengths(sizes)))
    assert [float(v) for v in product[2:]] == [8, 64, 32, 64]
    left, right = Operand((1, 0), "float16", "t"), Operand((0, 3), "float16")
    gradient = Signature(
        "aten._grouped_mm.default", (left, right), (Operand((2, 1, 3), "float16"),)
    )
    assert [float(v) for v in product_of(Call(gradient, Lengths(sizes)))[2:]] == [8, 64, 32, 64]


def test_a_loop_over_what_the_data_hits_is_refused_in_one_line():
    mask = torch.empty(4, dtype=torch.bool, device="meta")
    with as_if_on_cuda(CudaLike()), pytest.raises(ModelError) as raised:
        mask.nonzero()
    assert "depends on the values of its input: Tensor.nonzero" in str(raised.value)
    with as_if_on_cuda(CudaLike()), pytest.raises(ModelError):
        mask.tolist()
