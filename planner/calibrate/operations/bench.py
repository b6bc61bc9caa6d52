"""The bench that substitutes run on: tensors of one case on one device.

Which operations have a substitute, and how it is built, their kinds declare
(``planner/operations/kinds``). Import this module only where torch is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from planner.calibrate.operations.binding import Bound, bind, equal_lists, slots
from planner.calibrate.operations.tensors import dtype_of, make
from planner.operations.bench import ANY_VALUES, CannotRun, Contents, Run, Slot
from planner.operations.cases import Case
from planner.operations.registry import kind_of


def substitute_call(case: Case, device: torch.device) -> Callable[[], Run] | None:
    """Makes one call of the case each time it is called, or None where the operator itself is what
    this device runs."""
    space, _, rest = case.signature.op.partition(".")
    found = kind_of(case.signature.op).substitutes.get(f"{space}.{rest.partition('.')[0]}")
    if found is None or (found.on_host_only and device.type != "cpu"):
        return None
    return lambda: found.build(TorchBench(case, device))


@dataclass
class TorchBench:
    """What ``planner.operations.bench.Bench`` promises to substitutes."""

    case: Case
    device: torch.device

    @property
    def slots(self) -> list[Slot]:
        return slots(self.case)

    def bind(self) -> Bound:
        return bind(self.case)

    def make(self, slot: Slot, contents: Contents = ANY_VALUES) -> torch.Tensor:
        return make(slot, contents, self.device)

    def named(self, names: str, **contents: Contents) -> dict[str, torch.Tensor]:
        there = self.slots
        if len(there) < len(names.split()):
            raise CannotRun(f"{self.case.signature.op} has {len(there)} tensors, not {names}")
        return {
            n: self.make(Slot(n, s.operand, s.shape), contents.get(n, ANY_VALUES))
            for n, s in zip(names.split(), there)
        }

    def equal_lists(self, there: Sequence[Slot], count: int) -> list[list[Slot]]:
        return equal_lists(there, count, self.case.signature.op)

    def backward_call(
        self, out: torch.Tensor, wanted: Sequence[torch.Tensor], grad: torch.Tensor
    ) -> Run:
        return backward_call(out, wanted, grad)

    def dtype(self, name: str) -> torch.dtype:
        return dtype_of(name)


def backward_call(out: torch.Tensor, wanted: Sequence[torch.Tensor], grad: torch.Tensor) -> Run:
    """Calls the backward pass that made ``out``, and nothing else: its node, or where it is
    several, autograd over them."""
    node = out.grad_fn
    if node is None or not wanted:
        raise CannotRun("nothing here has a gradient")
    leaves = all(n is None or type(n).__name__ == "AccumulateGrad" for n, _ in node.next_functions)
    if leaves and len(getattr(node, "_input_metadata", (grad,))) == 1:

        def call() -> Any:
            with torch.no_grad():
                return node(grad)  # pyright: ignore[reportCallIssue]: C++ nodes are callable

        return call
    return lambda: torch.autograd.grad(out, wanted, grad, retain_graph=True)
