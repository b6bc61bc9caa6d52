"""Kernels that a compiler, or somebody's hand, made of element-wise operations and reductions: what
they read and write goes by once."""

from __future__ import annotations

from planner.operations import streams
from planner.operations.call import Call, Cost
from planner.operations.kind import OperationKind


def _once(call: Call) -> Cost:
    return Cost(
        call.elements * float(call.signature.attr("operations", 1)), call.read_all, call.write_all
    )


def _norm_backward(call: Call) -> Cost:
    """The gradient of the input is written in the place of that of the output."""
    gradient, rows = call.inputs[0], call.inputs[1]
    return Cost(8 * call.numel(rows), call.read_all, call.write_all + call.read(gradient))


def _gate_backward(call: Call) -> Cost:
    """Both gradients are written in the place of what the gate had read."""
    _, gate, up = call.inputs[:3]
    return Cost(10 * call.numel(gate), call.read_all, call.read(gate) + call.read(up))


def _gate_again(call: Call) -> Cost:
    """What the gate made is written in the place of its gradient, too."""
    return Cost(12 * call.numel(call.inputs[0]), call.read_all, sum(map(call.read, call.inputs)))


def _rotation(call: Call) -> Cost:
    q, k = call.inputs[:2]
    turned = call.read(q) + call.read(k)
    return Cost(3 * (call.numel(q) + call.numel(k)), call.read_all, turned)


def _norm(call: Call) -> Cost:
    return Cost(4 * call.numel(call.inputs[0]), call.read_all, call.write_all)


def _gate(call: Call) -> Cost:
    return Cost(6 * call.numel(call.inputs[0]), call.read_all, call.write_all)


KIND = OperationKind(
    name="fused",
    place=45,
    formulas={
        "planner.fused": _once,
        "planner.kernel_norm": _norm,
        "planner.kernel_norm_backward": _norm_backward,
        "planner.kernel_norm_frozen": _norm_backward,
        "planner.kernel_gate": _gate,
        "planner.kernel_gate_backward": _gate_backward,
        "planner.kernel_gate_again": _gate_again,
        "planner.kernel_rotation": _rotation,
    },
    price=streams.price,
    terms=streams.plain_terms,
    suite=None,
)
