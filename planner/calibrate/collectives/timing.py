"""Seconds of one collective: all ranks begin together, and the last one to end counts."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

#: A round runs the operation so often that it takes this long: below it clocks and barriers show.
ROUND_SECONDS = 2e-3
MOST_A_ROUND, LEAST_ROUNDS, MOST_ROUNDS = 200, 5, 100
WARM_UP = 3


def seconds_of(
    run: Callable[[], object],
    synchronise: Callable[[], object],
    control: Any,
    budget_seconds: float,
) -> tuple[float, float]:
    """(median of the quieter half of the rounds, least of all) of the slowest rank's seconds of one
    run: what other programs disturb lies in the other half. ``control``: a group of the same ranks
    on the host, by which they agree. Every rank has to call it."""
    for _ in range(WARM_UP):
        run()
    synchronise()
    once = _agreed([_round(run, synchronise, control, 1)], control)[0]
    repeats = min(MOST_A_ROUND, max(1, math.ceil(ROUND_SECONDS / once)))
    rounds = min(MOST_ROUNDS, max(LEAST_ROUNDS, int(budget_seconds / (once * repeats))))
    own = [_round(run, synchronise, control, repeats) for _ in range(rounds)]
    slowest = sorted(_agreed(own, control))
    return statistics.median(slowest[: -(-rounds // 2)]), slowest[0]


def _round(
    run: Callable[[], object], synchronise: Callable[[], object], control: Any, repeats: int
) -> float:
    import torch.distributed as dist

    dist.barrier(group=control)
    began = time.perf_counter()
    for _ in range(repeats):
        run()
    synchronise()
    return (time.perf_counter() - began) / repeats


def _agreed(own: list[float], control: Any) -> list[float]:
    """Each number's largest among the ranks."""
    import torch
    import torch.distributed as dist

    numbers = torch.tensor(own, dtype=torch.float64)
    dist.all_reduce(numbers, op=dist.ReduceOp.MAX, group=control)
    return numbers.tolist()
