"""Copies between the device and the host's memory, on a stream of their own: activations that are
offloaded and fetched, gradients that leave, weights that come for a while or come back updated."""

from __future__ import annotations

from planner.operations import streams
from planner.operations.call import Call, Cost, Number
from planner.operations.kind import Operation, OperationKind, Rates, Term


def _offloaded(call: Call) -> Cost:
    return Cost(0.0, call.read_all, 0.0)


def _fetched(call: Call) -> Cost:
    return Cost(0.0, 0.0, call.write_all)


def _restored(call: Call) -> Cost:
    return Cost(0.0, 0.0, call.read_all)


def _price(operation: Operation, device: Rates) -> Number:
    return operation.bytes / device.host_link_bytes_per_s


def _terms(operation: Operation, _precision: str) -> list[Term]:
    return streams.term(operation, operation.call.name)


KIND = OperationKind(
    name="transfer",
    place=165,
    formulas={
        "planner.offload": _offloaded,
        "planner.fetch": _fetched,
        "planner.restore": _restored,
    },
    price=_price,
    terms=_terms,
    suite=None,
    beside=True,
)
