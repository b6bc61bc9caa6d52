"""The tracer records what CUDA runs where the meta device would run something else."""

import importlib.util

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from planner.errors import ModelError, QuestionError
from planner.models.resolve import resolve
from planner.trace.recorder import cuda_attention
from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.regimes import record_regime, runner_for
from planner.trace.source import trace_for
from planner.training.optimizers import OPTIMIZERS
from planner.training.recipe import Recipe

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32


class Names(TorchDispatchMode):
    """The operations that run, by name, with the types of their results."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        first = out[0] if isinstance(out, (tuple, list)) else out
        self.seen.append((str(func), first.dtype if isinstance(first, torch.Tensor) else None))
        return out

    def names(self):
        return [name for name, _ in self.seen]


def on_meta(*shape, dtype=BF16, grad=True):
    return torch.empty(*shape, dtype=dtype, device="meta", requires_grad=grad)


def run(action, autocast=None):
    recorder = Names()
    with recorder, as_if_on_cuda(CudaLike(autocast)):
        action()
    return recorder


def heads(width=64, count=4, length=32, dtype=BF16):
    return on_meta(2, count, length, width, dtype=dtype)


# ---- attention


@pytest.mark.parametrize(
    "dtype, width, keys, masked, grouped, expected",
    [
        (BF16, 64, 4, False, False, "flash"),
        (FP16, 256, 4, False, False, "flash"),
        (BF16, 20, 4, False, False, "flash"),
        (BF16, 64, 2, False, True, "flash"),
        (BF16, 264, 4, False, False, "efficient"),
        (BF16, 64, 4, True, False, "efficient"),
        (FP32, 64, 4, False, False, "efficient"),
        (FP32, 64, 2, False, True, "math"),
        (BF16, 64, 2, True, True, "math"),
        (BF16, 20, 4, True, False, "math"),
        (FP32, 18, 4, False, False, "math"),
        (torch.float64, 64, 4, False, False, "math"),
    ],
)
def test_the_kernel_that_cuda_picks(dtype, width, keys, masked, grouped, expected):
    mask = on_meta(2, 1, 32, 32, dtype=dtype, grad=False) if masked else None
    assert (
        cuda_attention.backend(
            heads(width, dtype=dtype),
            heads(width, keys, dtype=dtype),
            heads(width, keys, dtype=dtype),
            mask,
            grouped,
        )
        == expected
    )


def test_queries_whose_elements_are_apart_run_as_plain_products():
    apart = on_meta(2, 4, 64, 32).transpose(-1, -2)
    assert cuda_attention.backend(apart, heads(), heads(), None, False) == "math"


def test_flash_attention_pads_odd_heads_and_cuts_its_output():
    q, k, v = heads(20), heads(20), heads(20)
    seen = run(lambda: functional.scaled_dot_product_attention(q, k, v).sum().backward())
    assert (
        seen.names().count("aten.constant_pad_nd.default") >= 3
        and "planner.attention.default" in seen.names()
    )
    assert q.grad.shape == q.shape


@pytest.mark.parametrize(
    "causal, masked, grouped, dtype",
    [
        (True, False, False, FP32),
        (False, True, False, FP32),
        (False, False, True, FP32),
        (True, False, True, BF16),
    ],
)
def test_the_plain_products_give_what_torch_gives(causal, masked, grouped, dtype):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(2, n, 12, 8, generator=generator).to(dtype)
        for n in (4, 2 if grouped else 4, 2 if grouped else 4)
    )
    mask = torch.randn(2, 1, 12, 12, generator=generator).to(dtype) if masked else None
    ours = cuda_attention.mathematics(q, k, v, mask, 0.0, causal, None, grouped)
    theirs = torch._scaled_dot_product_attention_math(
        q, k, v, mask, 0.0, causal, enable_gqa=grouped
    )[0]
    torch.testing.assert_close(ours, theirs)


def test_the_plain_products_are_torchs_operations():
    """All but the addition of the mask, which CUDA does in place, and dropout, which it fuses."""

    def products(action):
        compared = (
            "bmm",
            "_safe_softmax",
            "_softmax_backward_data",
            "mul",
            "clone",
            "_to_copy",
            "where",
        )
        return [base for n in run(action).names() if (base := n.split(".")[1]) in compared]

    def ours():
        cuda_attention.mathematics(
            heads(), heads(count=2), heads(count=2), None, 0.0, True, None, True
        ).sum().backward()

    def theirs():
        torch._scaled_dot_product_attention_math(
            heads(), heads(count=2), heads(count=2), None, 0.0, True, enable_gqa=True
        )[0].sum().backward()

    assert products(ours) == products(theirs)


def test_a_mask_of_the_models_own_size_is_copied_to_aligned_rows():
    mask = on_meta(1, 4, 49, 49, grad=False)
    for align in (False, True):
        recorder = Names()
        with recorder, as_if_on_cuda(CudaLike(align_masks=align)):
            functional.scaled_dot_product_attention(
                heads(length=49), heads(length=49), heads(length=49), mask
            )
        assert ("aten.constant_pad_nd.default" in recorder.names()) == align


# ---- types


def test_half_precision_softmax_needs_no_copy_and_bf16_does():
    half = run(
        lambda: functional.softmax(on_meta(4, 8, dtype=FP16), dim=-1, dtype=FP32).sum().backward()
    )
    assert (
        "aten._to_copy.default" not in half.names() and ("aten._softmax.default", FP32) in half.seen
    )
    assert ("aten._to_copy.default", FP32) in run(
        lambda: functional.softmax(on_meta(4, 8), dim=-1, dtype=FP32)
    ).seen


@pytest.mark.parametrize("autocast, copies", [(FP16, 0), (BF16, 1)])
def test_autocast_gives_the_softmax_its_type_by_argument(autocast, copies):
    seen = run(lambda: functional.softmax(on_meta(4, 8, dtype=autocast), dim=-1), autocast)
    assert ("aten._softmax.default", FP32) in seen.seen and seen.names().count(
        "aten._to_copy.default"
    ) == copies


def test_autocast_sums_in_float32_without_a_copy():
    seen = run(lambda: on_meta(4, 8).sum(-1), BF16)
    assert (
        "aten.sum.dim_IntList",
        FP32,
    ) in seen.seen and "aten._to_copy.default" not in seen.names()


@pytest.mark.parametrize(
    "function, result",
    [
        (lambda x: functional.linear(x, on_meta(8, 8, dtype=FP32)), BF16),
        (torch.exp, FP32),
        (lambda x: functional.layer_norm(x, (8,)), FP32),
        (functional.gelu, BF16),
        (lambda x: x**2, FP32),
    ],
)
def test_autocasts_lists(function, result):
    found = []
    run(lambda: found.append(function(on_meta(4, 8, grad=False)).dtype), BF16)
    assert found == [result]


def test_a_models_own_autocast_blocks_count():
    found, weight = [], on_meta(8, 8, dtype=FP32)

    def product():
        found.append(functional.linear(on_meta(4, 8, dtype=FP32), weight).dtype)

    def action():
        with torch.autocast("cuda", enabled=False):
            product()
            with torch.autocast("cuda", dtype=FP16):
                product()
        product()

    run(action, BF16)
    assert found == [FP32, FP16, BF16]
    assert torch.autocast("cpu").fast_dtype is not None, "torch's own class is as before"


def test_rms_norm_is_one_kernel_that_saves_its_input_and_a_number_a_row():
    x, weight, saved = on_meta(4, 16), on_meta(16), []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.append((tuple(t.shape), t.dtype)) or t, lambda t: t
    ):
        seen = run(lambda: functional.rms_norm(x, (16,), weight).sum().backward())
    assert {"planner.rms_norm.default", "planner.rms_norm_backward.default"} <= set(
        seen.names()
    ) and "aten.rsqrt.default" not in seen.names()
    assert ((4, 16), BF16) in saved and ((4, 1), FP32) in saved and ((4, 16), FP32) not in saved
    assert x.grad.shape == x.shape and weight.grad.dtype == BF16


def test_rms_norm_of_two_types_is_not_fused():
    assert (
        "planner.rms_norm.default"
        not in run(
            lambda: functional.rms_norm(on_meta(4, 16), (16,), on_meta(16, dtype=FP32))
        ).names()
    )


def test_dropout_keeps_a_byte_an_element_and_in_place_a_mask_of_its_type():
    assert (
        "aten.native_dropout.default" in run(lambda: functional.dropout(on_meta(4, 8), 0.1)).names()
    )
    assert (
        "aten.bernoulli_.float"
        in run(lambda: functional.dropout(on_meta(4, 8) * 2, 0.1, inplace=True)).names()
    )


def test_masks_are_full():
    mask = torch.ones(2, 8, dtype=torch.bool, device="meta")
    with as_if_on_cuda(CudaLike()):
        assert mask.all() and mask.sum() == mask.numel()
        assert not mask.isnan().any() and not mask.sum() == 3


# ---- whole steps

MODELS = """
import torch
from torch import nn

class Keeps(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.table = nn.Linear(64, 64), None
    def forward(self, x):
        if self.table is None:
            self.table = torch.ones(64, device=x.device) * 2
        return self.linear(x) * self.table

class Reads(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)
    def forward(self, x):
        return self.linear(x)[: int(x.sum().item())]

def batch(width):
    return lambda B: {"x": torch.randn(B, width), "labels": torch.zeros(B, dtype=torch.long)}

def loss(module, batch):
    return nn.functional.cross_entropy(module(batch["x"]), batch["labels"])

def keeps():
    return Keeps(), batch(64), loss

def reads():
    return Reads(), batch(8), loss
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "models_of_cuda_test.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PLANNER_CACHE", str(tmp_path / "cache"))
    return "models_of_cuda_test"


def recipe(facts, **more):
    return Recipe(
        **{"strategy": "fine_tune", "task": facts.task, "precision": "fp32", "optimizer": "adamw"}
        | more
    )


@pytest.mark.slow
def test_a_model_that_keeps_a_table_of_its_first_step_is_traced_as_in_its_later_steps(own):
    facts = resolve(f"{own}:keeps")
    trace = trace_for(facts, recipe(facts)).at(B=4)
    again = runner_for(facts, recipe(facts)).record(B=4)
    assert trace.op_count == len(again.operations)


def test_what_fails_in_a_step_that_is_run_with_values_is_one_line_with_its_place(own):
    facts = resolve(f"{own}:reads")
    with pytest.raises(ModelError) as caught:
        trace_for(facts, recipe(facts)).at(B=4)
    line = str(caught.value)
    assert "\n" not in line and "Expected input batch_size" in line and ".py, line" in line


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_records(own, name):
    facts = resolve(f"{own}:keeps")
    trace = trace_for(facts, recipe(facts, optimizer=name, precision="amp_fp16")).at(B=4)
    assert trace.counts[:, 4].sum() > 0, "no operation of an optimizer"


needs_libraries = pytest.mark.skipif(
    not all(importlib.util.find_spec(n) for n in ("transformers", "peft", "timm")),
    reason="needs the extras hf and vision",
)


@pytest.fixture
def t5(tmp_path):
    import json

    folder = tmp_path / "t5"
    folder.mkdir()
    config = {
        "model_type": "t5",
        "d_model": 64,
        "d_ff": 128,
        "d_kv": 16,
        "num_layers": 1,
        "num_heads": 4,
        "vocab_size": 97,
        "is_encoder_decoder": True,
        "architectures": ["T5ForConditionalGeneration"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    return resolve(str(folder))


@pytest.mark.slow
@needs_libraries
def test_four_bit_loading_spares_what_transformers_keeps_in_float32(t5):
    chosen = recipe(t5, strategy="qlora", precision="bf16", lora_rank=4, lora_dropout=0.0)
    runner = runner_for(t5, chosen)
    kinds = {
        name.rpartition(".")[2]: type(m).__name__
        for name, m in runner.prepared.module.named_modules()
        if name.endswith(("wo", "wi"))
    }
    assert record_regime(t5, chosen, None, "b2", 32, None)[0].traces[0].op_count > 0
    assert kinds["wi"] != kinds["wo"], kinds


@needs_libraries
def test_a_model_without_linear_layers_has_no_place_for_adapters():
    facts = resolve("timm:resnet18")
    with pytest.raises(QuestionError, match="no linear layer"):
        trace_for(facts, recipe(facts, strategy="lora", lora_rank=4, lora_dropout=0.0)).at(B=2)


@needs_libraries
def test_two_heads_side_by_side_are_each_fed_their_own_features():
    facts = resolve("timm:deit_tiny_distilled_patch16_224")
    trace = trace_for(
        facts, recipe(facts, strategy="feature_extraction", variant="cached", precision="amp_bf16")
    ).at(B=4)
    products = [
        s
        for s, times in zip(trace.signatures, trace.counts[:, 0])
        if s.op == "aten.addmm.default"
        for _ in range(times)
    ]
    assert len(products) == 2


@needs_libraries
def test_a_model_that_reads_the_weights_of_its_layers_is_refused_for_four_bits():
    facts = resolve("timm:beit_base_patch16_224")
    with pytest.raises(ModelError, match="4-bit"):
        trace_for(
            facts, recipe(facts, strategy="qlora", precision="bf16", lora_rank=4, lora_dropout=0.0)
        ).at(B=2)


def test_rows_written_by_a_mask_have_a_backward_pass():
    """As models do that treat some tokens otherwise: ``states[mask] += part(states[mask])``."""
    states, mask = on_meta(2, 5, 8), torch.empty(2, 5, dtype=torch.bool, device="meta")
    asked = []
    mode = CudaLike()
    mode.on_answer = lambda: asked.append(1)
    with as_if_on_cuda(mode):
        copied = states * 1
        copied[mask] += functional.relu(copied[mask])
        copied[mask] = 0.0
        torch.autograd.backward(copied.float().sum())
    assert states.grad is not None and states.grad.shape == states.shape
    assert asked  # the host waits to learn how many
