"""When collectives hold a step up: the step's own operations on one clock, what is sent between the
devices on another, and the waits of either for the other.

A collective starts when the operation that it follows has ended and the link is free, collectives
using it one after another; the operation that needs its result waits for it, the optimizer for all.
While a collective runs the step's kernels are slower by the prior's share, which is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.parallel.sharded import Collective


@dataclass(frozen=True)
class Exposed:
    """What collectives add to one micro-batch and to an update, seconds [n_points]: ``forward``,
    ``backward`` with what the optimizer waits for, ``update``."""

    forward: np.ndarray
    backward: np.ndarray
    update: np.ndarray


def exposed(
    ends: np.ndarray,
    collectives: Sequence[Collective],
    seconds: Sequence[float],
    *,
    forward_end: int,
    slowdown: float,
    update: float = 0.0,
) -> Exposed:
    """``ends``: when each operation of forward and backward pass ends where nothing is waited for
    [n_ops, n_points]; ``seconds`` of each collective; ``forward_end``: operations of the forward
    pass."""
    points = ends.shape[1]
    begins = np.concatenate([np.zeros((1, points)), ends])
    delay, free = np.zeros(points), np.zeros(points)
    forward_delay: np.ndarray | None = None
    done: dict[int, np.ndarray] = {}
    for is_wait, at, number in _in_order(collectives, len(ends)):
        if forward_delay is None and at >= forward_end:
            forward_delay = delay.copy()
        if is_wait:
            delay = delay + np.maximum(0.0, done[number] - begins[at] - delay)
        else:
            free = np.maximum(free, begins[at] + delay) + seconds[number]
            done[number] = free
    first = delay if forward_delay is None else forward_delay
    whole = [0.0, 0.0]
    for one, taken in zip(collectives, seconds, strict=True):
        whole[one.backward] += taken
    slowed = [
        held + slowdown * np.maximum(0.0, taken - held)
        for held, taken in zip((first, delay - first), whole, strict=True)
    ]
    return Exposed(slowed[0], slowed[1], np.full(points, update))


def _in_order(collectives: Sequence[Collective], count: int) -> list[tuple[bool, int, int]]:
    """(whether it is a wait, the operation before which it happens, which collective): what starts
    at a place comes before what waits there."""
    found = []
    for number, one in enumerate(collectives):
        # it starts when the operation has ended: before the one that follows
        found.append((False, one.after + 1, number))
        found.append((True, min(one.until, count), number))
    return sorted(found, key=lambda event: (event[1], event[0], event[2]))
