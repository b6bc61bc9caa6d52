"""Questions to the device's data: the host waits for the device."""

from __future__ import annotations

from planner.operations.bench import Bench, Run, Substitute
from planner.operations.call import Call, Cost, names
from planner.operations.kind import OperationKind


def _nothing(_call: Call) -> Cost:
    return Cost(0.0, 0.0, 0.0)


def _scalar(bench: Bench) -> Run:
    import torch

    return torch.ones((), device=bench.device).item


KIND = OperationKind(
    name="synchronise",
    place=170,
    formulas=dict.fromkeys(names("_local_scalar_dense item is_nonzero equal"), _nothing),
    price=None,
    terms=None,
    suite=None,
    substitutes={"aten._local_scalar_dense": Substitute(_scalar)},
    runs_kernel=False,
    host_waits=True,
)
