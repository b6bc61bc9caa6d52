"""In which order cases are timed, so that a calibration that stops early has learnt the most.

Within a family the case in the middle comes first, then always the one that lies farthest, in the
logarithms of its sizes, from all that came before: corners first, then the gaps (farthest-point
design: Gonzalez 1985). Between families time is shared by weight: each family's cases are stamped
with the time that its own cases will have taken by their end, divided by its weight, and the lowest
stamp comes first (weighted fair queueing: Demers, Keshav and Shenker 1989). Later cases of a family
tell less than its first, and count for longer.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from planner.calibrate.suites.tier import Tier
from planner.devices.cases import Case
from planner.devices.families import terms
from planner.trace.operations import cost

#: How much of a family's share of the time its part in training steps is worth; the longest prefix
#: holds.
_WEIGHTS = {
    "matmul": 30.0,
    "attention": 6.0,
    "attention.backward.masked": 2.0,
    "attention.forward.masked": 2.0,
    **{
        f"attention.{way}.{how}_dropout": value
        for way in ("forward", "backward")
        for how, value in (("full", 3.0), ("causal", 1.5), ("masked", 0.7))
    },
    "convolution": 3.0,
    "normalization": 4.0,
    "normalization.rms": 0.7,
    "normalization.group": 0.5,
    "normalization.batch_frozen": 0.7,
    "softmax": 6.0,
    "loss": 1.0,
    "embedding": 2.0,
    "elementwise": 4.0,
    "elementwise.light.dense": 6.0,
    "copy": 4.0,
    "reduction": 1.5,
    "random": 1.5,
    "gather": 0.5,
    "fill": 0.7,
    "optimizer": 4.0,
    "optimizer.foreach_new": 1.5,
    "optimizer.blockwise": 1.0,
    "dequantize": 1.0,
}
_WHOLE_NUMBERS = 0.15
_LESS_NEWS = 0.5  # the power of its rank by which a case counts for longer
#: Of the types: what a recipe computes in on such a device.
_TYPES = {
    "cuda": {"bfloat16": 1.0, "float32": 1.0, "tf32": 0.4, "float16": 0.15},
    "mps": {"float32": 1.0, "float16": 0.4, "bfloat16": 0.3},
    "cpu": {"float32": 1.0, "bfloat16": 0.2, "float16": 0.1},
}
_PRODUCTS = ("matmul", "attention", "convolution")
_WIDE_PRODUCTS = 0.3  # of float32 on a GPU with tensor cores: adapters, and what autocast leaves
#: Of convolutions: grouped ones are rare, and each kind of device has an order of dimensions that
#: its recipes use.
# traces of image models are channels-last
_GROUPED, _UNUSUAL_LAYOUT, _USUAL_LAYOUT = 0.3, 0.4, {"cuda": "cl", "mps": "c", "cpu": "cl"}


def ordered(cases: Iterable[Case], tier: Tier) -> list[Case]:
    """The cases that fit the device, each once, most telling first."""
    families: dict[str, dict[str, tuple[Case, tuple]]] = {}
    for one in cases:
        if tier.fits(one):
            family, features = described(one)
            families.setdefault(family, {}).setdefault(one.key, (one, features))
    stamped = []
    for family, members in families.items():
        chosen, clock = [*members.values()], 0.0
        for rank, index in enumerate(
            spread(np.array([features for _, features in chosen], dtype=float)), start=1
        ):
            clock += (
                rank**_LESS_NEWS
                * tier.measuring_seconds(chosen[index][0])
                / weight(family, tier.kind)
            )
            stamped.append((clock, family, chosen[index][0]))
    return [one for _, _, one in sorted(stamped, key=lambda item: item[:2])]


def described(one: Case) -> tuple[str, tuple[float, ...]]:
    """The family of a case's first term, and its features with what it computes and moves."""
    done = cost(one.signature, one.dims)
    term = terms(one.call, done.flops, done.read_bytes + done.write_bytes, one.precision)[0]
    return term.family, tuple(float(x) for x in (*term.features, term.bytes))


def weight(family: str, kind: str) -> float:
    """A family's share of the time: of its kind, times that of its type on this kind of device."""
    parts, dtype = family.split("."), family.rpartition(".")[2]
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    base = next((_WEIGHTS[prefix] for prefix in prefixes if prefix in _WEIGHTS), 1.0)
    share = _TYPES[kind].get(dtype, _WHOLE_NUMBERS)
    if kind == "cuda" and dtype == "float32" and parts[0] in _PRODUCTS:
        share *= _WIDE_PRODUCTS
    if parts[0] == "convolution":
        share *= (_GROUPED if parts[2] == "grouped" else 1.0) * (
            1.0 if parts[3] == _USUAL_LAYOUT[kind] else _UNUSUAL_LAYOUT
        )
    return base * share


def spread(features: np.ndarray) -> list[int]:
    """Indices of the rows of ``features`` [n, f]: the middle one, then each time the one farthest
    from those before."""
    points = np.log(np.maximum(features, 1.0))
    order = [int(np.argmin(np.abs(points - np.median(points, axis=0)).sum(axis=1)))]
    distance = np.abs(points - points[order[0]]).max(axis=1)
    left = np.ones(len(points), dtype=bool)
    left[order[0]] = False
    while left.any():
        index = int(np.argmax(np.where(left, distance, -1.0)))
        order.append(index)
        left[index] = False
        distance = np.minimum(distance, np.abs(points - points[index]).max(axis=1))
    return order
