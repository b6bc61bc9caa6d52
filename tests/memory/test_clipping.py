"""Clipping as torch runs it, and what it holds for a moment."""

from unittest.mock import patch

import numpy as np
import pytest
import torch

from planner.memory.clipping import clipped
from planner.memory.peak import replay
from planner.models.resolve import resolve
from planner.operations.clipping import clipping, held_bytes, update_at
from planner.operations.registry import kind_of
from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.dispatch_mode import Recorder
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

POINT = {"B": 2, "S": 64}


def source(**changed):
    facts = resolve("gpt2", offline=True)
    recipe = {"strategy": "fine_tune", "task": "causal_lm", "precision": "bf16"}
    return trace_for(facts, Recipe(**recipe | {"optimizer": "adamw_fused"} | changed))


def recorded(gradients):
    """What ``clip_grad_norm_`` itself runs over such gradients, on meta as on CUDA."""
    parameters = [torch.nn.Parameter(torch.empty_like(g)) for g in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    recorder = Recorder(torch.nn.Module())
    recorder.mark(gradients, "gradients")
    lists = patch("torch.nn.utils.clip_grad._has_foreach_support", lambda *_: True)
    with lists, recorder, as_if_on_cuda(CudaLike()):
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    raw = recorder.finish()
    return [raw.signatures[index] for index, *_ in raw.operations]


def gradients_of(trace):
    there = (trace.category == 1) & (trace.death >= update_at(trace))
    made = []
    for index in trace.size[there].tolist():
        shape, itemsize = trace.sizes[index]
        sizes = trace.forms[list(shape), trace.monomials.index("1")].tolist()
        dtype = torch.bfloat16 if itemsize == 2 else torch.float32
        made.append(torch.empty(sizes, dtype=dtype, device="meta"))
    return made


@pytest.mark.parametrize(
    "changed", [{}, {"strategy": "lora", "lora_rank": 8}, {"precision": "amp_bf16"}]
)
def test_the_operations_are_those_of_torch_itself(changed):
    trace = source(**changed).at(**POINT)
    real, ours = recorded(gradients_of(trace)), clipping(trace)
    names = [name.replace("_foreach_mul_.Tensor", "_foreach_mul_.Scalar") for name, *_ in real]
    assert [signature.op for signature in ours] == names
    elements = sum(int(np.prod(size)) * count for size, _, _, _, count in real[0][1])
    assert elements == sum(gradient.numel() for gradient in gradients_of(trace))
    assert all(kind_of(signature.op).runs_kernel for signature in ours)


def test_gradients_of_two_number_formats_are_scaled_one_by_one_where_the_factor_is_wider():
    """The scalar's type must be the list's for a kernel over the list."""
    sizes = [(8, 8), (8, 8), (4, 4)]
    formats = [torch.bfloat16, torch.bfloat16, torch.float32]
    made = [torch.empty(s, dtype=d, device="meta") for s, d in zip(sizes, formats, strict=True)]
    assert [n for n, *_ in recorded(made)].count("aten._foreach_norm.Scalar") == 2
    trace = source(strategy="lora", lora_rank=8, lora_modules_to_save=("wte",)).at(**POINT)
    formats = {gradient.dtype for gradient in gradients_of(trace)}
    assert len(formats) == 2
    assert "aten.mul_.Tensor" in [signature.op for signature in clipping(trace)]


def test_each_gradient_holds_as_many_numbers_as_the_longest_has_chunks():
    """gpt2: 148 gradients, the longest of 50,257 × 768 elements in chunks of 65,536."""
    trace = source().at(**POINT)
    partial, *norms = held_bytes(trace)
    assert len(norms) == 148 and set(norms) == {2}
    assert partial == 4 * 148 * -(-50257 * 768 // 65536)


def test_the_peak_grows_where_the_update_is_the_peak_and_nowhere_else():
    trace = source().at(**POINT)
    before, after = replay(trace, POINT), replay(clipped(trace), POINT)
    held = sum(-(-size // 512) * 512 for size in held_bytes(trace))
    assert 0 <= after.allocated_bytes - before.allocated_bytes <= held + 2**20
    heavy = source(optimizer="adamw").at(**POINT)
    lists = replay(heavy, POINT), replay(clipped(heavy), POINT)
    assert lists[0].phase == "optimizer" and lists[0].allocated_bytes == lists[1].allocated_bytes


def test_lifetimes_move_with_their_operations_and_nothing_else_changes():
    trace = source().at(**POINT)
    whole, at = clipped(trace), update_at(trace)
    count = len(trace.birth)
    assert whole.op_count == trace.op_count + 1
    assert (whole.birth[:count] - trace.birth == (trace.birth >= at)).all()
    assert (whole.death[:count] - trace.death == (trace.death >= at)).all()
    assert (whole.birth[count:] == at).all() and (whole.death[count:] == at).all()
    assert clipped(trace) is whole


def test_where_updates_run_inside_the_backward_pass_nothing_is_clipped():
    trace = source(optimizer_in_backward=True).at(**POINT)
    assert clipping(trace) == [] and clipped(trace) is trace
