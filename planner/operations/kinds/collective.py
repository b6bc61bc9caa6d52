"""What several devices send each other: no kernel of the step's own stream. Its time follows from
the network between the devices and from what runs beside it (``parallel/streams.py``)."""

from __future__ import annotations

from planner.operations.call import Call, Cost, Formula
from planner.operations.kind import OperationKind


def _sent(_call: Call) -> Cost:
    return Cost(0.0, 0.0, 0.0)


_FORMULAS: dict[str, Formula] = {
    "planner.all_gather": _sent,
    "planner.reduce_scatter": _sent,
    "planner.all_reduce": _sent,
    "planner.all_to_all": _sent,
}

KIND = OperationKind(
    name="collective",
    place=166,
    formulas=_FORMULAS,
    price=None,
    terms=None,
    suite=None,
    runs_kernel=False,
)
