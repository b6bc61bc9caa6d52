"""Selective scans of state-space models, and their short convolutions, as mamba-ssm's and
causal-conv1d's kernels run them.

FLOPs: 9 for each sample, token, channel and state (multiplications, additions and an exponential),
as state-spaces/mamba's authors count them (its issue 110); the way back makes the states again and
goes through them twice. Their libraries are not among ours, so that no calibration times them.
"""

from __future__ import annotations

from planner.operations import streams
from planner.operations.call import Call, Cost
from planner.operations.kind import OperationKind

FLOPS_A_STATE, PASSES_BACK = 9, 3


def _scan(call: Call) -> Cost:
    u, _delta, decay = call.inputs[:3]
    return _of_states(call, call.numel(u) * call.shape(decay)[1], 1)


def _scan_backward(call: Call) -> Cost:
    _grad, u, _delta, decay = call.inputs[:4]
    return _of_states(call, call.numel(u) * call.shape(decay)[1], PASSES_BACK)


def _of_states(call: Call, states, passes: int) -> Cost:
    return Cost(FLOPS_A_STATE * passes * states, call.read_all, call.write_all)


def _convolution(call: Call) -> Cost:
    x, weight = call.inputs[:2]
    return Cost(2 * call.numel(x) * call.shape(weight)[1], call.read_all, call.write_all)


def _convolution_backward(call: Call) -> Cost:
    _grad, x, weight = call.inputs[:3]
    return Cost(6 * call.numel(x) * call.shape(weight)[1], call.read_all, call.write_all)


KIND = OperationKind(
    name="scan",
    place=55,
    formulas={
        "planner.selective_scan": _scan,
        "planner.selective_scan_backward": _scan_backward,
        "planner.causal_conv1d": _convolution,
        "planner.causal_conv1d_backward": _convolution_backward,
    },
    price=streams.price,
    terms=streams.plain_terms,
    suite=None,
)
