"""What may be asked next: the same question with one slider moved. Prices of steps and replays of
memory are kept with the trace, so that a question that was priced ahead is arithmetic alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from planner.question.what import TRAINING_STRATEGIES
from planner.serve.work.job import Job

#: The positions of the sliders whose every position is another point of the trace; those of the
#: others (epochs, price, budget) are arithmetic wherever they stand.
POSITIONS: dict[str, tuple[int, ...]] = {
    "global_batch": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    "max_length": (128, 256, 512, 1024, 2048, 4096, 8192),
    "gpus": (1, 2, 4, 8),
}


def neighbours(job: Job) -> Iterator[Job]:
    """One slider moved, nearest positions first; a strategy a job, so that each takes little time.
    Without a GPU every device would be priced: nothing is done ahead."""
    if not job.fields.get("gpu"):
        return
    strategies = job.fields.get("strategy") or TRAINING_STRATEGIES
    wanted = [strategies] if isinstance(strategies, str) else list(strategies)
    for name, value in _moves(job.fields):
        for strategy in wanted:
            fields = {**job.fields, name: value, "strategy": [strategy]}
            yield replace(job, fields=fields)


def _moves(fields: Any) -> Iterator[tuple[str, int]]:
    ordered = {name: _by_distance(name, fields.get(name)) for name in POSITIONS}
    for place in range(max(map(len, ordered.values()))):
        for name, values in ordered.items():
            if place < len(values):
                yield name, values[place]


def _by_distance(name: str, value: Any) -> list[int]:
    """The positions by how far they are; where none is set, from the middle."""
    places = POSITIONS[name]
    try:
        now = float(value)
    except (TypeError, ValueError):
        now = float(places[len(places) // 2])
    return sorted((v for v in places if v != now), key=lambda v: max(v / now, now / v))
