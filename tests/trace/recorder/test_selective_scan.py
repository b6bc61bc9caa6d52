"""State-space layers with mamba-ssm's kernels: what is recorded, what is kept, what is said."""

import importlib.util
import json

import pytest

from planner.models.resolve import resolve
from planner.operations.registry import kind_of, work
from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.kernels.selective_scan import CHUNKED, FUSED
from planner.trace.recorder.regimes import build_for
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

if importlib.util.find_spec("transformers") is None:
    pytest.skip("needs transformers", allow_module_level=True)

WIDTH, STATES, BLOCKS = 64, 16, 2
PLAIN = {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "vocab_size": 1000}


def facts(tmp_path, model_type, **more):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, **PLAIN, **more}))
    return resolve(str(tmp_path), task="causal_lm", offline=True)


def recipe_of(**choices):
    return Recipe(
        **{"task": "causal_lm", "strategy": "fine_tune", "precision": "bf16", "optimizer": "adamw"}
        | choices
    )


def recorded(found, **choices):
    source = trace_for(found, recipe_of(**choices))
    source.keep = False
    return source._record("b2", 64).traces[0]


def calls(trace, name):
    return sum(int(trace.counts[i].sum()) for i, s in enumerate(trace.signatures) if name in s.op)


def test_a_layer_is_one_scan_forward_and_one_back_not_a_loop(tmp_path):
    trace = recorded(facts(tmp_path, "mamba"))
    assert calls(trace, "planner.selective_scan.default") == BLOCKS
    assert calls(trace, "planner.selective_scan_backward.default") == BLOCKS
    # the convolution is made again on the way back instead of being kept
    assert calls(trace, "planner.causal_conv1d.default") == 2 * BLOCKS
    assert trace.op_count < 1000
    assert trace.covers(B=4, S=1500)


def test_flops_of_a_scan_by_hand(tmp_path):
    trace = recorded(facts(tmp_path, "mamba"))
    done = work(trace, trace.dims(B=4, S=100)[:, None])
    inner = 2 * WIDTH
    for i, signature in enumerate(trace.signatures):
        if signature.op == "planner.selective_scan.default":
            assert kind_of(signature.op).name == "scan"
            assert done.flops[i, 0] == 9 * 4 * 100 * inner * STATES
            # u, the step sizes and the gate once, in two bytes each, and what is smaller
            assert done.read_bytes[i, 0] > 3 * 2 * 4 * 100 * inner


@pytest.mark.parametrize("precision", ["fp32", "amp_bf16"])
def test_gradients_reach_every_weight(tmp_path, precision):
    built = build_for(facts(tmp_path, "mamba"), recipe_of(precision="fp32"))
    batch = built.batch(2, 16)
    with as_if_on_cuda(CudaLike()):
        built.loss(built.module, batch).backward()
    for name, parameter in built.module.named_parameters():
        assert parameter.grad is not None and parameter.grad.shape == parameter.shape, name
    assert recorded(built.facts, precision=precision).op_count


@pytest.mark.parametrize(
    ("model_type", "more", "said"),
    [
        ("mamba", {}, FUSED),
        ("falcon_mamba", {}, FUSED),
        ("mamba2", {"num_heads": 8, "head_dim": 16, "n_groups": 2}, CHUNKED),
    ],
)
def test_what_has_to_be_installed_is_said(tmp_path, model_type, more, said):
    built = build_for(facts(tmp_path, model_type, **more), recipe_of())
    assert said in built.assumptions


def test_layers_with_norms_run_the_scan_alone(tmp_path):
    trace = recorded(facts(tmp_path, "falcon_mamba"))
    assert calls(trace, "planner.selective_scan.default") == BLOCKS
    assert calls(trace, "planner.causal_conv1d.default") == BLOCKS
