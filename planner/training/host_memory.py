"""What can wait in the host's memory, by the words of a question and of a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from planner import tables
from planner.errors import ProfileError

ACTIVATIONS, OPTIMIZER, GRADIENTS, WEIGHTS = "activations", "optimizer", "gradients", "weights"
#: A recipe's word for an optimizer whose float32 weights lie with it, those of the device being of
#: 16 bits.
FLOAT32 = "float32"
#: Mixed precision → the number format of the device where the float32 weights are the host's.
NARROW = {"amp_bf16": "bf16", "amp_fp16": "fp16"}
WIDE = 4  # bytes of float32


def together(words: Iterable[str]) -> tuple[str, ...]:
    """With what comes with it: weights that are not on the device are not updated there."""
    found = list(dict.fromkeys(words))
    if WEIGHTS in found:
        found += [word for word in (OPTIMIZER, GRADIENTS) if word not in found]
    return tuple(found)


def offloading_fact(key: str) -> float:
    """A row of ``profiles/stacks/offloading.csv``, in its unit. Raises ProfileError."""
    for row in tables.rows("stacks", "offloading.csv"):
        if row["key"] == key:
            return float(row["value"])
    raise ProfileError(f"no row of {key}", where="stacks/offloading.csv")


@dataclass(frozen=True)
class HostBytes:
    """Bytes of the host's memory for each element that trains: ``held``, of them the optimizer's
    ``states``, and ``moved`` (read and written) at every update."""

    held: float
    moved: int
    states: float


def host_bytes(states: float, itemsize: int, *, wide: bool) -> HostBytes:
    """``states``: bytes of the optimizer's for an element; ``itemsize``: of the weights on the
    device; ``wide``: the host has float32 weights, as DeepSpeed's."""
    if not wide:
        # gradient read, weight and states read and written
        return HostBytes(2 * itemsize + states, round(3 * itemsize + 2 * states), states)
    scaled = 2 * WIDE  # the gradient times its scale, in place
    converted = WIDE + itemsize  # the weight made of 16 bits
    moved = round(scaled + 3 * WIDE + 2 * states + converted)
    return HostBytes(2 * WIDE + itemsize + states, moved, states)
