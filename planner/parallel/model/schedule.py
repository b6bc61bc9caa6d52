"""The schedule of a pipeline: which stage runs which pass of which micro-batch when. 1F1B
(Narayanan et al. 2019, PipeDream-Flush) and interleaved 1F1B, where each stage has several chunks
of layers (Narayanan et al. 2021, arXiv 2104.04473), in the order of Megatron-LM's
``core/pipeline_parallel/schedules.py``.

Passes are played one after another: a pass begins when its stage is free and what it needs has
come. All stages know their order beforehand, so the times follow without a search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from planner.parallel.model.zero_bubble import ZBV, played

#: A pass: (whether it is forward, chunk, micro-batch).
Pass = tuple[bool, int, int]
#: Rounds of a pipeline that are played; more go on at the pace of the slowest stage.
ROUNDS = 4


def order(stage: int, stages: int, micro_batches: int, chunks: int = 1) -> list[Pass]:
    """What a stage runs one after another. ``micro_batches``: a multiple of ``stages`` where there
    are several chunks."""
    count = micro_batches * chunks
    if chunks == 1:
        warm = min(stages - stage - 1, count)
    else:
        warm = min(2 * (stages - stage - 1) + (chunks - 1) * stages, count)
        warm = count if micro_batches == stages else warm

    def forward(number: int) -> Pass:
        return (True, *_place(number, stages, chunks))

    def backward(number: int) -> Pass:
        chunk, micro_batch = _place(number, stages, chunks)
        return False, chunks - 1 - chunk, micro_batch

    found = [forward(n) for n in range(warm)]
    for number in range(count - warm):
        found += [forward(warm + number), backward(number)]
    return found + [backward(n) for n in range(count - warm, count)]


def _place(number: int, stages: int, chunks: int) -> tuple[int, int]:
    """(chunk, micro-batch) of a stage's pass: ``stages`` micro-batches go through a chunk, then
    through the next."""
    if chunks == 1:
        return 0, number
    turn, within = divmod(number, stages * chunks)
    chunk, micro_batch = divmod(within, stages)
    return chunk, turn * stages + micro_batch


@lru_cache(maxsize=4096)
def schedule_seconds(
    forward: tuple[float, ...],
    backward: tuple[float, ...],
    micro_batches: int,
    chunks: int = 1,
    send: float = 0.0,
    schedule: str = "",
    weight: tuple[float, ...] = (),
) -> float:
    """Seconds from the first pass to the last of a step. ``forward``, ``backward``: of one
    micro-batch on each stage, over all its chunks; ``send``: from a stage to the next;
    ``schedule``: blank or one of ``zero_bubble.py``, with what of ``backward`` makes gradients of
    weights. Micro-batches that no chunk divides are taken up to the next multiple of the stages."""
    stages = len(forward)
    slowest = max(f + b for f, b in zip(forward, backward, strict=True))
    if chunks > 1 and schedule != ZBV:
        micro_batches = -(-micro_batches // stages) * stages
    count = min(micro_batches, max(ROUNDS * stages, stages))

    def of(number: int) -> float:
        if schedule:
            return played(schedule, forward, backward, weight, number, chunks, send)
        return _played(forward, backward, number, chunks, send)

    return of(count) + (micro_batches - count) * _pace(of, slowest, stages, send, count)


def _pace(
    of: Callable[[int], float], slowest: float, stages: int, send: float, count: int
) -> float:
    """Seconds of one micro-batch more, once all stages are busy. ``of``: seconds of so many."""
    if not send or count <= 2 * stages:
        return slowest
    return (of(count) - of(count - stages)) / stages


def _played(
    forward: Sequence[float],
    backward: Sequence[float],
    micro_batches: int,
    chunks: int,
    send: float,
) -> float:
    stages = len(forward)
    orders = [order(stage, stages, micro_batches, chunks) for stage in range(stages)]
    done: dict[tuple[int, Pass], float] = {}
    free, at = [0.0] * stages, [0] * stages
    waiting = list(range(stages))
    while waiting:
        stage = waiting.pop()
        while at[stage] < len(orders[stage]):
            one = orders[stage][at[stage]]
            needed = _needed(stage, one, stages, chunks)
            if needed is not None and needed not in done:
                break
            is_far = needed is not None and needed[0] != stage
            ready = 0.0 if needed is None else done[needed] + (send if is_far else 0.0)
            seconds = (forward if one[0] else backward)[stage] / chunks
            free[stage] = max(free[stage], ready) + seconds
            done[stage, one] = free[stage]
            at[stage] += 1
        if not waiting and any(a < len(o) for a, o in zip(at, orders, strict=True)):
            waiting = [s for s in range(stages) if at[s] < len(orders[s])]
            if all(_blocked(s, orders[s][at[s]], stages, chunks, done) for s in waiting):
                raise RuntimeError("the order of a pipeline waits for itself")
    return max(free)


def _blocked(
    stage: int, one: Pass, stages: int, chunks: int, done: dict[tuple[int, Pass], float]
) -> bool:
    needed = _needed(stage, one, stages, chunks)
    return needed is not None and needed not in done


def _needed(stage: int, one: Pass, stages: int, chunks: int) -> tuple[int, Pass] | None:
    """The pass that has to be done before: a chunk's of the stage before (forward) or behind
    (backward), at a pipeline's end the neighbouring chunk's of its other end."""
    is_forward, chunk, micro_batch = one
    if is_forward:
        if stage:
            return stage - 1, one
        return (stages - 1, (True, chunk - 1, micro_batch)) if chunk else None
    if stage < stages - 1:
        return stage + 1, one
    if chunk < chunks - 1:
        return 0, (False, chunk + 1, micro_batch)
    return stage, (True, chunk, micro_batch)


def in_flight(stages: int, chunks: int = 1) -> float:
    """Micro-batches whose activations the first stage holds at most, in parts of its layers."""
    if chunks == 1:
        return float(stages)
    return (2 * (stages - 1) + (chunks - 1) * stages + 1) / chunks
