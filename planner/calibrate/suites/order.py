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
from planner.operations.cases import Case
from planner.operations.registry import cost, family_kind, terms

_WHOLE_NUMBERS = 0.15
_LESS_NEWS = 0.5  # the power of its rank by which a case counts for longer
#: Of the types: what a recipe computes in on such a device.
_TYPES = {
    "cuda": {"bfloat16": 1.0, "float32": 1.0, "tf32": 0.4, "float16": 0.15},
    "mps": {"float32": 1.0, "float16": 0.4, "bfloat16": 0.3},
    "cpu": {"float32": 1.0, "bfloat16": 0.2, "float16": 0.1},
}
_WIDE_PRODUCTS = 0.3  # of float32 on a GPU with tensor cores: adapters, and what autocast leaves


def ordered(cases: Iterable[Case], tier: Tier) -> list[Case]:
    """The cases that fit the device, each once, most telling first."""
    families: dict[str, dict[str, tuple[Case, tuple[float, ...]]]] = {}
    for case in cases:
        if tier.fits(case):
            family, features = described(case)
            families.setdefault(family, {}).setdefault(case.key, (case, features))
    stamped = []
    for family, members in families.items():
        chosen, clock = [*members.values()], 0.0
        for rank, index in enumerate(
            spread(np.array([features for _, features in chosen], dtype=float)), start=1
        ):
            clock += (
                rank**_LESS_NEWS
                * tier.measuring_seconds(chosen[index][0])
                / weight(family, tier.device_type)
            )
            stamped.append((clock, family, chosen[index][0]))
    return [case for _, _, case in sorted(stamped, key=lambda item: item[:2])]


def described(case: Case) -> tuple[str, tuple[float, ...]]:
    """The family of a case's first term, and its features with what it computes and moves."""
    done = cost(case.signature, case.dims)
    term = terms(case.call, done.flops, done.read_bytes + done.write_bytes, case.precision)[0]
    return term.family, tuple(float(x) for x in (*term.features, term.bytes))


def weight(family: str, device_type: str) -> float:
    """A family's share of the time: of its kind, times that of its type on this type of device."""
    kind, (_, *parts) = family_kind(family), family.split(".")
    dtype = parts[-1]
    share = _TYPES[device_type].get(dtype, _WHOLE_NUMBERS)
    if device_type == "cuda" and dtype == "float32" and kind.model_work:
        share *= _WIDE_PRODUCTS
    if kind.emphasis is not None:
        share *= kind.emphasis(tuple(parts), device_type)
    return kind.weight(tuple(parts)) * share


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
