"""What a substitute may ask of the bench that runs it: tensors of a case's shapes, and the
operator's own call.

A trace names some operations otherwise than a device runs them (fused attention, norms, dropout,
optimizers, 4-bit weights). A substitute makes one call over tensors of its own, through the public
function that a training program calls, so that torch picks the kernel it would pick there. A
backward pass is timed alone: the forward pass runs while building, and its autograd node is called.
Substitutes import torch inside: nothing here does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from planner.operations.cases import Case
from planner.trace.table import Operand

if TYPE_CHECKING:
    import torch

Run = Callable[[], Any]


class CannotRun(Exception):
    """This case cannot be run here; the message is the reason, one line."""


@dataclass(frozen=True)
class Slot:
    """A tensor argument that is still to be made: the schema's argument ``name``, the trace's
    operand, and its real shape."""

    name: str
    operand: Operand
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """What a tensor holds. ``values``: ``normal``, ``positive`` (0.5 to 1.5), ``ones``, ``large``
    (around 32, where the in-place activations of networks leave a value as it is), ``constant``
    (``high``), or ``integers`` below ``high``. ``written``: the operation writes to it, so that it
    shares its memory with nothing."""

    values: str = "normal"
    high: int = 8
    written: bool = False


ANY_VALUES = Contents()


class BoundCall(Protocol):
    """The operator of a case with its arguments by name, ``Slot`` where a tensor belongs."""

    overload: Any

    @property
    def named(self) -> Mapping[str, Any]: ...


class Bench(Protocol):
    """One case on one device."""

    case: Case
    device: torch.device

    @property
    def slots(self) -> list[Slot]:
        """Every input tensor, those counted together one by one."""
        ...

    def bind(self) -> BoundCall:
        """The operator itself. Raises CannotRun."""
        ...

    def make(self, slot: Slot, contents: Contents = ANY_VALUES) -> torch.Tensor: ...

    def named(self, names: str, **contents: Contents) -> dict[str, torch.Tensor]:
        """The input tensors under these names, in order. Raises CannotRun for too few."""
        ...

    def equal_lists(self, there: Sequence[Slot], count: int) -> list[list[Slot]]:
        """Tensors that were counted together, dealt to ``count`` lists. Raises CannotRun."""
        ...

    def backward_call(
        self, out: torch.Tensor, wanted: Sequence[torch.Tensor], grad: torch.Tensor
    ) -> Run:
        """Calls the backward pass that made ``out``, and nothing else."""
        ...

    def dtype(self, name: str) -> torch.dtype: ...


class Substitute(NamedTuple):
    """``build`` makes one call ready to be run; ``on_host_only``: other devices run the operator
    itself."""

    build: Callable[[Bench], Run]
    on_host_only: bool = False


def bitsandbytes() -> Any:
    """The library, loaded. Raises CannotRun where it is not there or does not load."""
    try:
        for part in ("bitsandbytes.functional", "bitsandbytes.optim"):
            importlib.import_module(part)
        return importlib.import_module("bitsandbytes")
    except Exception as error:  # its import probes drivers and fails in many ways
        raise CannotRun(
            "bitsandbytes is not installed"
            if isinstance(error, ImportError)
            else f"bitsandbytes does not load: {error}"
        ) from None
