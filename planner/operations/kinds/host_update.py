"""What the processor does for the device between two steps: an optimizer whose states lie in the
host's memory updates the weights there, and they come back when it is done. The device waits."""

from __future__ import annotations

from planner.operations import streams
from planner.operations.call import Call, Cost, Number
from planner.operations.kind import Operation, OperationKind, Rates, Term
from planner.trace.table import ITEMSIZE


def _updated(call: Call) -> Cost:
    """``each``: bytes of the host's memory that are read and written for one element."""
    elements = call.read_all / ITEMSIZE[call.inputs[0].dtype]
    return Cost(0.0, elements * call.signature.attr("each"), 0.0)


def _uploaded(call: Call) -> Cost:
    return Cost(0.0, 0.0, call.read_all)


def _price(operation: Operation, device: Rates) -> Number:
    if operation.call.name == "upload":
        return operation.bytes / device.host_link_bytes_per_s
    return operation.bytes / device.host_bytes_per_s


def _terms(operation: Operation, _precision: str) -> list[Term]:
    return streams.term(operation, operation.call.name)


KIND = OperationKind(
    name="host_update",
    place=166,
    formulas={"planner.host_update": _updated, "planner.upload": _uploaded},
    price=_price,
    terms=_terms,
    suite=None,
    on_host=True,
)
