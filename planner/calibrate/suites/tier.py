"""What a suite needs to know of the device: which sizes are worth timing on it, in which types, and
within what limits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from planner.operations.cases import Case
from planner.operations.registry import cost
from planner.trace.table import ITEMSIZE

#: A call that takes longer is left out: a suite has hundreds of cases and a minute.
LONGEST_CALL_SECONDS = 0.05
#: Of the free memory, what one set of operands may take: the executor rotates over several.
MEMORY_SHARE = 0.12
#: Scales, not facts of any device: (FLOP/s of 16-bit and of wider products, bytes/s, seconds of a
#: launch). They decide only which cases are too long and how the order weighs the length of a case;
#: no answer stands on them.
_ROUGH = {
    "cpu": (2.5e10, 5e10, 8e9, 1e-5),
    "mps": (4e12, 3e12, 1e11, 2e-5),
    "cuda": (1.5e14, 2e13, 8e11, 1e-5),
}
_SETTING_UP_SECONDS = 0.012  # of one case: its tensors, warm-up, the first rounds
_MEASURING_SECONDS = 0.1


@dataclass(frozen=True)
class Tier:
    """``device_type`` is cuda, mps or cpu; ``dtypes`` the float types to time, tf32 among them for
    products; ``free_bytes`` what operands may come from."""

    device_type: str
    dtypes: tuple[str, ...]
    free_bytes: int

    @property
    def plain_dtypes(self) -> tuple[str, ...]:
        """The types as tensors have them: TF32 is how float32 is multiplied, not a type."""
        return tuple(d for d in self.dtypes if d != "tf32")

    def sizes(self, small: Iterable[Any], large: Iterable[Any]) -> list[Any]:
        """``small`` on a processor, ``large`` on a data centre's GPU, both on a laptop's GPU."""
        chosen = {"cpu": [small], "mps": [small, large]}.get(self.device_type, [large])
        return list(dict.fromkeys(size for sizes in chosen for size in sizes))

    def call_seconds(self, case: Case) -> float:
        """A rough guess at one call's time."""
        low, high, bandwidth, launch = _ROUGH[self.device_type]
        done = cost(case.signature, case.dims)
        first = case.signature.inputs[0].dtype if case.signature.inputs else "float32"
        rate = low if ITEMSIZE[first] <= 2 or case.precision == "tf32" else high
        return (
            launch
            + float(done.flops) / rate
            + float(done.read_bytes + done.write_bytes) / bandwidth
        )

    def measuring_seconds(self, case: Case) -> float:
        """A rough guess at the time that measuring a case takes, its preparation included."""
        bandwidth = _ROUGH[self.device_type][2]
        once = self.call_seconds(case)
        return (
            _SETTING_UP_SECONDS
            + 3 * once
            + min(_MEASURING_SECONDS, 60 * once)
            + 3 * case.bytes / bandwidth
        )

    def fits(self, case: Case) -> bool:
        """Whether a case is short and small enough to be part of a suite."""
        return (
            case.bytes <= MEMORY_SHARE * self.free_bytes
            and self.call_seconds(case) <= LONGEST_CALL_SECONDS
        )
