"""Zero-bubble schedules of a pipeline (Qi et al. 2023, arXiv 2401.10241): the backward pass in two
parts, that of the input, which the stage before waits for, and that of the weights, which fills
what would be a bubble.

In the orders of torch 2.13 ``torch/distributed/pipelining/schedules.py``:
``ScheduleInterleavedZeroBubble`` (with one chunk a stage the paper's ZB-H1) and
``ScheduleZBVZeroBubble``, whose two chunks a rank lie like a V: the first rank has the first and
the last of all. Actions are played one after another: one begins when its rank is free and what it
needs has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

#: Parts of a micro-batch on a stage: forward, backward for the input, backward for the weights.
F, I, W = "F", "I", "W"  # noqa: E741
ZB_H1, ZBV = "zb_h1", "zbv"
SCHEDULES = (ZB_H1, ZBV)
#: Chunks a rank of the V.
V_CHUNKS = 2


class Action(NamedTuple):
    """``stage``: of all ranks' chunks, in the order of the layers."""

    stage: int
    part: str
    micro_batch: int


def order(
    schedule: str, rank: int, ranks: int, micro_batches: int, chunks: int = 1
) -> list[Action]:
    """What a rank runs one after another. ``micro_batches``: a multiple of ``ranks`` where
    ``zb_h1`` has several chunks."""
    if schedule == ZBV:
        return _of_v(rank, ranks, micro_batches)
    return _interleaved(rank, ranks, micro_batches, chunks)


def rank_of(schedule: str, stage: int, ranks: int) -> int:
    """Whose a stage is."""
    if schedule == ZBV:
        return min(stage, V_CHUNKS * ranks - 1 - stage)
    return stage % ranks


def _interleaved(rank: int, ranks: int, micro_batches: int, chunks: int) -> list[Action]:
    count = micro_batches * chunks
    warm = min((chunks - 1) * ranks + ranks - 1 - rank, count)
    a_round = ranks if chunks > 1 else micro_batches

    def action(part: str, number: int) -> Action:
        turn, within = divmod(number, a_round * chunks)
        chunk, place = divmod(within, a_round)
        chunk = chunk if part == F else chunks - 1 - chunk
        return Action(chunk * ranks + rank, part, turn * a_round + place)

    found = [action(F, number) for number in range(warm)]
    done = 0
    for number in range(count):
        if warm + number < count:
            found.append(action(F, warm + number))
        found.append(action(I, number))
        if number >= rank:  # as many inputs' gradients ahead as there are ranks before
            found.append(action(W, done))
            done += 1
    return found + [action(W, number) for number in range(done, count)]


def _of_v(rank: int, ranks: int, micro_batches: int) -> list[Action]:
    """Of as many micro-batches as fill the pipeline at least, what the step has of them."""
    most, down, up = max(2 * ranks - 1, micro_batches), rank, V_CHUNKS * ranks - 1 - rank
    found: list[Action] = []
    counts: dict[tuple[int, str], int] = {}

    def run(stage: int, *parts: str) -> None:
        for part in parts:
            number = counts.get((stage, part), 0)
            counts[stage, part] = number + 1
            found.append(Action(stage, part, number))

    def ran(stage: int, part: str) -> int:
        return counts.get((stage, part), 0)

    for _ in range(2 * (ranks - rank) - 1):
        run(down, F)
    for _ in range(rank):
        run(up, F)
        run(down, F)
    for _ in range(ranks - rank):
        run(up, F, I, W)
    while ran(up, F) < ran(down, F) or ran(down, F) < most:
        if ran(down, F) < most:
            run(down, F)
        run(down, I, W)
        run(up, F, I, W)
    for _ in range(rank):
        run(down, I)
        run(up, I)
    for _ in range(ranks - rank):
        run(down, I, W)
    for stage in (up, down):
        while ran(stage, W) < ran(stage, I):
            run(stage, W)
    return [one for one in found if one.micro_batch < micro_batches]


def held(schedule: str, rank: int, ranks: int, micro_batches: int, chunks: int = 1) -> float:
    """Micro-batches whose activations a rank holds at most, in parts of its layers: from the
    forward pass to the gradients of the weights."""
    most = now = 0
    for one in order(schedule, rank, ranks, micro_batches, chunks):
        now += (one.part == F) - (one.part == W)
        most = max(most, now)
    return most / chunks


@lru_cache(maxsize=4096)
def played(
    schedule: str,
    forward: tuple[float, ...],
    backward: tuple[float, ...],
    weight: tuple[float, ...],
    micro_batches: int,
    chunks: int,
    send: float,
) -> float:
    """Seconds from the first action to the last. ``forward``, ``backward`` (whole) and of it
    ``weight``: of one micro-batch on each rank, over its chunks, which are taken as equal;
    ``send``: from a stage to the next on another rank."""
    ranks = len(forward)
    stages = ranks * chunks
    seconds = [
        {F: f / chunks, I: max(0.0, b - w) / chunks, W: w / chunks}
        for f, b, w in zip(forward, backward, weight, strict=True)
    ]
    orders = [order(schedule, rank, ranks, micro_batches, chunks) for rank in range(ranks)]
    done: dict[Action, float] = {}
    free, at = [0.0] * ranks, [0] * ranks
    moved = True
    while moved:
        moved = False
        for rank, mine in enumerate(orders):
            while at[rank] < len(mine):
                ready = _ready(schedule, mine[at[rank]], stages, ranks, done, send)
                if ready is None:
                    break
                one = mine[at[rank]]
                free[rank] = max(free[rank], ready) + seconds[rank][one.part]
                done[one] = free[rank]
                at[rank] += 1
                moved = True
    if any(place < len(mine) for place, mine in zip(at, orders, strict=True)):
        raise RuntimeError("the order of a pipeline waits for itself")
    return max(free)


def _ready(
    schedule: str,
    one: Action,
    stages: int,
    ranks: int,
    done: dict[Action, float],
    send: float,
) -> float | None:
    """When what an action needs has come; None before it is known."""
    needed = _needed(one, stages)
    if needed is None:
        return 0.0
    if needed not in done:
        return None
    near = rank_of(schedule, needed.stage, ranks) == rank_of(schedule, one.stage, ranks)
    return done[needed] + (0.0 if near else send)


def _needed(one: Action, stages: int) -> Action | None:
    if one.part == F:
        return one._replace(stage=one.stage - 1) if one.stage else None
    if one.part == W:
        return one._replace(part=I)
    last = one.stage == stages - 1
    return one._replace(part=F) if last else one._replace(stage=one.stage + 1)


def slowest(forward: Sequence[float], backward: Sequence[float]) -> float:
    """Seconds of a micro-batch on the rank that takes longest."""
    return max(f + b for f, b in zip(forward, backward, strict=True))
