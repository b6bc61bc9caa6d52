"""Kernels written by hand: a step with them computes what the plain one does, and the recorded one
holds what it holds."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from benchmarks.alive import Alive
from planner.errors import PlannerError

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("transformers", "peft")),
    reason="needs the extra hf",
)
EPS = 1e-6
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 128,
    "rms_norm_eps": EPS,
    "torch_dtype": "float32",
}
POINT = {"B": 2, "S": 48}


def resolved(folder, **more):
    from planner.models.resolve import resolve

    (folder / "config.json").write_text(json.dumps(CONFIG | more))
    return resolve(str(folder))


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    return resolved(tmp_path_factory.mktemp("tiny"))


def recipe(strategy="lora", **more):
    from planner.training.recipe import Recipe

    lora = {"lora_rank": 4, "lora_dropout": 0.0} if strategy == "lora" else {}
    return Recipe(
        strategy=strategy,
        task="causal_lm",
        precision="fp32",
        optimizer="adamw_fused",
        attention="eager",
        **lora,
        **more,
    )


def norm(x, weight):
    scale = torch.rsqrt(x.float().pow(2).mean(-1) + EPS)
    return (x.float() * scale[:, None]).to(x.dtype) * weight, scale


def norm_backward(gradient, x, weight, scale):
    normal = x * scale[:, None]
    of_weight = (gradient * normal).sum(0)
    inner = gradient * weight
    gradient.copy_(scale[:, None] * (inner - normal * (inner * normal).mean(-1, keepdim=True)))
    return of_weight


def norm_frozen(gradient, x, weight, scale):
    norm_backward(gradient, x, weight, scale)


def gate_backward(gradient, gate, up):
    sigmoid = torch.sigmoid(gate)
    of_gate = gradient * up * (sigmoid * (1 + gate * (1 - sigmoid)))
    up.copy_(gradient * gate * sigmoid)
    gate.copy_(of_gate)


def gate_again(gradient, gate, up):
    made = functional.silu(gate) * up
    gate_backward(gradient, gate, up)
    gradient.copy_(made)


def rotation(q, k, cos, sin, back):
    sign = -1.0 if back else 1.0
    for tensor in (q, k):
        first, second = tensor.chunk(2, -1)
        turned = torch.cat((-second, first), -1)
        tensor.copy_(tensor * cos[:, :, None] + sign * turned * sin[:, :, None])


@pytest.fixture(scope="module", autouse=True)
def computed():
    """What the kernels compute, on this processor."""
    import planner.training.savings.block_kernels  # noqa: F401

    library = torch.library.Library("planner", "IMPL")
    for name, function in {
        "kernel_norm": norm,
        "kernel_norm_backward": norm_backward,
        "kernel_norm_frozen": norm_frozen,
        "kernel_gate": lambda gate, up: functional.silu(gate) * up,
        "kernel_gate_backward": gate_backward,
        "kernel_gate_again": gate_again,
        "kernel_rotation": rotation,
    }.items():
        library.impl(name, function, "CPU")
    yield
    library._destroy()


def prepared(facts, made):
    """The step's own model on this processor, always with the same numbers."""
    from planner.trace.recorder.regimes import build_for
    from planner.training.registry import strategy_of

    built = build_for(facts, replace(made, kernels=None), device="cpu")
    torch.manual_seed(0)
    for parameter in built.module.parameters():
        parameter.data.normal_(0, 0.05)
    if made.kernels is not None:
        from planner.training.savings.replaced import replace_parts

        replace_parts(built, made.kernels)
    found = strategy_of(made).apply(built, made, None)
    torch.manual_seed(1)
    for parameter in found.trainable:
        parameter.data.normal_(0, 0.05)
    return found


def stepped(facts, made):
    """(loss, gradients by the order of what trains, most bytes alive)."""
    one = prepared(facts, made)
    ids = torch.arange(POINT["B"] * POINT["S"]).reshape(POINT["B"], POINT["S"]) * 7 % 512
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    one.forward(batch).backward()  # tables that a model makes in its first step
    for parameter in one.trainable:
        parameter.grad = None
    with Alive() as alive:
        loss = one.forward(batch)
        torch.autograd.backward(loss)
        loss = float(loss.detach())
    return loss, [p.grad.clone() for p in one.trainable], alive.peak


@pytest.mark.parametrize("kernels", ["liger", "unsloth"])
@pytest.mark.parametrize("strategy", ["fine_tune", "lora"])
def test_a_step_with_the_kernels_computes_what_the_plain_one_does(facts, kernels, strategy):
    plain, own = (stepped(facts, recipe(strategy, kernels=name)) for name in (None, kernels))
    assert own[0] == pytest.approx(plain[0], rel=1e-4)
    assert len(own[1]) == len(plain[1])
    for found, wanted in zip(own[1], plain[1], strict=True):
        assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("kernels", "share"), [("liger", 0.9), ("unsloth", 0.8)])
def test_the_recorded_step_keeps_less_than_the_plain_one(facts, kernels, share):
    from planner.trace.recorder.regimes import runner_for

    def kept(made):
        """Bytes that are there when the backward pass begins."""
        from planner.trace.table import PHASES

        raw = runner_for(facts, made).record_whole(POINT)
        begins = min(n for n, (_, p, _) in enumerate(raw.operations) if PHASES[p] == "backward")
        alive = [s for s in raw.storages if 0 <= s[2] < begins <= s[3]]
        return sum(torch.Size(shape).numel() * size for shape, size, *_ in alive)

    assert kept(recipe(kernels=kernels)) < share * kept(recipe())


def test_unsloths_feed_forward_layer_keeps_its_input_and_the_halves_of_its_gate(facts):
    one = prepared(facts, recipe(kernels="unsloth"))
    layer = next(m for n, m in one.module.named_modules() if n.endswith("layers.0.mlp"))
    x = torch.randn(3, 8, 64, requires_grad=True)
    saved: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.append(tuple(t.shape)) or t, lambda t: t
    ):
        layer(x * 1.0)
    wide = [shape for shape in saved if shape[0] == 24]
    assert sorted(wide) == [(24, 64), (24, 176), (24, 176)]


def test_an_adapter_with_dropout_runs_as_pefts(facts):
    from planner.training.savings.lora_kernels import adapted

    one = prepared(facts, replace(recipe(kernels="unsloth"), lora_dropout=0.1))
    layers = [m for n, m in one.module.named_modules() if n.endswith("q_proj")]
    assert layers and all(adapted(layer) is None for layer in layers)


def test_a_model_without_kernels_is_refused(tmp_path):
    from planner.training.savings.replaced import replace_parts

    gpt = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": 32,
        "n_layer": 1,
        "n_head": 2,
        "vocab_size": 64,
    }
    (tmp_path / "config.json").write_text(json.dumps(gpt))
    from planner.models.resolve import resolve
    from planner.trace.recorder.regimes import build_for

    found = resolve(str(tmp_path))
    with pytest.raises(PlannerError, match="liger has no kernels for models of the type gpt2"):
        replace_parts(build_for(found, recipe("fine_tune"), device="meta"), "liger")


def test_every_row_names_parts_that_can_be_replaced():
    from planner.tables import rows
    from planner.training.kernel_families import families

    known = {"norm", "norm_apart", "gate", "rotation", "loss"}
    for row in rows("models", "kernels.csv"):
        assert set(row["parts"].split()) <= known and row["parts"]
    assert set(families("liger")) > {"llama", "qwen3"} and set(families("unsloth")) > {"llama"}
