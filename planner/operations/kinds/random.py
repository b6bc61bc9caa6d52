"""Random numbers, dropout's among them."""

from __future__ import annotations

from collections.abc import Iterator

from planner.operations import streams
from planner.operations.bench import Bench, Run, Substitute
from planner.operations.call import Call, Cost, names
from planner.operations.cases import Case, case
from planner.operations.kind import OperationKind, SuiteDevice

_OPERATIONS = names(
    "native_dropout bernoulli rand randn randint rand_like randn_like randint_like randperm normal "
    "uniform exponential multinomial dropout"
)


def _drawn(call: Call) -> Cost:
    return Cost(4 * call.elements, call.read_all, call.write_all)


def _suite(device: SuiteDevice) -> Iterator[Case]:
    for dtype in device.plain_dtypes:
        for rows, width in device.sizes(*streams.PLANES):
            plane, mask = ((1, rows, width), dtype), ((1, rows, width), "bool")
            yield case("aten.native_dropout.default", [plane], [plane, mask], p=0.1, train=True)


def _dropout(bench: Bench) -> Run:
    """Off CUDA dropout is no single kernel: random numbers and two products."""
    import torch

    x, p = bench.named("x")["x"], float(bench.case.signature.attr("p", 0.1))
    return lambda: torch.dropout(x, p, True)


KIND = OperationKind(
    name="random",
    place=120,
    formulas=dict.fromkeys(_OPERATIONS, _drawn),
    price=streams.price,
    terms=streams.named_terms,
    suite=_suite,
    weights={"": 1.5},
    substitutes={"aten.native_dropout": Substitute(_dropout, on_host_only=True)},
    fusable=True,
)
