"""FlexAttention: what it saves, what it does not lay out, and what it refuses."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from planner import estimate
from planner.errors import ModelError, QuestionError
from planner.models.resolve import resolve
from planner.trace.recorder import cuda_ops
from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.source import trace_for
from planner.training.recipe import Recipe


def heads(count=4, length=256, width=64):
    return torch.empty(
        2, count, length, width, dtype=torch.bfloat16, device="meta", requires_grad=True
    )


def saved(*, flex, keys=4):
    """Bytes of the storages that one attention saves, and its gradients' shapes."""
    seen = {}
    q, k, v = heads(), heads(keys), heads(keys)

    def pack(tensor):
        storage = tensor.untyped_storage()
        seen[storage._cdata] = storage.nbytes()
        return tensor

    with as_if_on_cuda(CudaLike(flex=flex)), saved_tensors_hooks(pack, lambda tensor: tensor):
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    out.sum().backward()
    assert k.grad is not None
    return sum(seen.values()), tuple(k.grad.shape)


@pytest.mark.parametrize("keys", [4, 1])
def test_it_saves_what_flash_attention_saves(keys):
    assert saved(flex=True, keys=keys) == saved(flex=False, keys=keys)
    own = 2 * 256 * 64 * 2  # a head of all samples
    assert saved(flex=True, keys=keys)[0] == own * (4 + 4 + 2 * keys) + 4 * 2 * 4 * 256


def test_its_backward_pass_holds_row_sums_and_no_accumulator():
    tensors = [heads() for _ in range(5)]
    assert cuda_ops.scratch("planner.flex_attention_backward.default", tensors) == [
        ((2, 4, 256), 4)
    ]
    flash = cuda_ops.scratch("planner.attention_backward.default", tensors)
    assert sum(size for _, size in flash) > 4


@pytest.mark.parametrize(
    ("width", "dropout", "reason"),
    [(64, 0.1, "drops attention's probabilities"), (8, 0.0, "heads of 8")],
)
def test_what_the_kernel_does_not_take_is_refused(width, dropout, reason):
    tensors = [heads(width=width) for _ in range(3)]
    with as_if_on_cuda(CudaLike(flex=True)), pytest.raises(ModelError, match=reason):
        functional.scaled_dot_product_attention(*tensors, dropout_p=dropout)


def _step(attention):
    facts = resolve("Llama-3.2-1B")
    recipe = Recipe(
        strategy="fine_tune",
        task="causal_lm",
        precision="bf16",
        optimizer="adamw",
        attention=attention,
        gradient_checkpointing="selective",
    )
    return trace_for(facts, recipe).at(B=1, S=1024)


def test_a_step_has_one_kernel_a_layer_and_selective_checkpointing_keeps_it():
    names = [_name(trace, "flex_attention") for trace in (_step("flex"), _step("sdpa"))]
    assert names[0] == (16, 16)
    assert names[1] == (0, 0)


def _name(trace, word):
    ops = [trace.signatures[index].op for index in trace.op_signature]
    forward = sum(op.startswith(f"planner.{word}.") for op in ops)
    return forward, sum(op.startswith(f"planner.{word}_backward.") for op in ops)


def test_an_answer_says_that_its_kernels_are_compiled_and_takes_longer_than_flash():
    def answer(attention):
        return estimate(
            "Llama-3.2-1B",
            samples=100,
            tokens_per_sample=4096,
            max_length=4096,
            length_spread=0,
            gpu="a100-sxm-80",
            micro_batch=1,
            strategy=["lora"],
            attention=attention,
            offline=True,
        )

    flex, flash = answer("flex"), answer("flash")
    assert any("compiled at the first step" in line["text"] for line in flex["first_lines"])
    assert not any("compiled at the first" in line["text"] for line in flash["first_lines"])
    times = [each["options"][0]["run"]["gpu_hours"]["p50"] for each in (flex, flash)]
    assert times[0] > times[1]


def test_it_is_asked_of_transformers_models_alone():
    with pytest.raises(QuestionError, match="flex attention is asked for by transformers"):
        estimate("timm:resnet18", samples=100, gpu="t4", strategy=["fine_tune"], attention="flex")
