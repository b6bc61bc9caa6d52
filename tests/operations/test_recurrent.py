"""Recurrent layers as one call: work, time and what is recorded."""

import numpy as np
import pytest
import torch

from planner.devices.lookup import resolve_device
from planner.operations.kind import Operation
from planner.operations.kinds.recurrent import KIND, _pair
from planner.operations.registry import kind_of
from planner.step_time.roofline import Efficiency
from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.dispatch_mode import Recorder


def operation(one):
    name = one.signature.op.rsplit(".", 1)[0]
    cost = KIND.formulas[name](one.call)
    return Operation(KIND, one.call, cost.flops, cost.read_bytes + cost.write_bytes)


def test_the_work_of_a_layer_by_hand():
    """5 steps × 3 samples × (4·7·2 + 4·7·7) weights, a multiply-add each; back twice that."""
    for one, times in zip(_pair("lstm", (5, 3, 2, 7, 1), "float32"), (1, 2)):
        assert kind_of(one.signature.op) is KIND
        made = operation(one)
        assert float(made.flops) == times * 2 * 5 * 3 * (4 * 7 * 2 + 4 * 7 * 7)


def test_bytes_of_the_forward_pass_by_hand():
    """x, h, c, weights and biases read; what comes out, the states and what is kept written."""
    forward, _ = _pair("lstm", (5, 3, 2, 7, 1), "float32")
    cost = KIND.formulas["planner.rnn"](forward.call)
    weights = 28 * 2 + 28 * 7 + 28 + 28
    assert float(cost.read_bytes) == 4 * (5 * 3 * 2 + 2 * 3 * 7 + weights)
    assert float(cost.write_bytes) == 4 * (5 * 3 * 7 + 2 * 3 * 7 + 5 * 3 * 6 * 7)


def test_time_steps_follow_each_other_and_samples_do_not():
    """Twice the steps take about twice as long; twice the samples of a small cell hardly longer."""
    device = Efficiency(resolve_device("a100-sxm-80").spec, "fp32", False)

    def seconds(sizes):
        return float(
            np.asarray(KIND.price(operation(next(_pair("lstm", sizes, "float32"))), device))
        )

    base = seconds((100, 8, 64, 64, 1))
    assert seconds((200, 8, 64, 64, 1)) == pytest.approx(2 * base, rel=0.1)
    assert seconds((100, 16, 64, 64, 1)) < 1.3 * base
    assert seconds((100, 8, 64, 64, 2)) < 1.5 * base  # layers run side by side


def recorded(module, x, autocast=None):
    recorder = Recorder(module)
    with recorder, as_if_on_cuda(CudaLike(autocast)):
        out, _ = module(x)
        recorder.phase = "backward"
        torch.autograd.backward(out.sum())
    return out, recorder.raw


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_a_module_is_one_call_in_either_pass_and_its_gradients_fit(kind, autocast):
    with torch.device("meta"):
        module = kind(16, 32, 2, batch_first=True, bidirectional=True, dropout=0.1)
        x = torch.empty(3, 7, 16, requires_grad=True)
    out, raw = recorded(module, x, autocast)
    names = [raw.signatures[index][0] for index, _, _ in raw.operations]
    assert names.count("planner.rnn.default") == names.count("planner.rnn_backward.default") == 1
    assert out.shape == (3, 7, 64) and x.grad is not None and x.grad.shape == x.shape
    assert all(p.grad is not None and p.grad.shape == p.shape for p in module.parameters())
    assert out.dtype == (autocast or torch.float32)
    # nothing else as large as what the kernel keeps is made
    kept = max(np.prod(s[0]) * s[1] for s in raw.storages)
    assert sum(np.prod(s[0]) * s[1] == kept for s in raw.storages) == 1
