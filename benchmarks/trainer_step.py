"""Host seconds that trainers add to a step: transformers' Trainer, Lightning's and a plain loop on
the same small models on this processor, each against the bare step.

    python benchmarks/trainer_step.py                 # every trainer that is installed
    python benchmarks/trainer_step.py --steps 200 --repeats 7 --json out.json

The bare step is forward pass, backward pass, the optimizer's step and zero_grad over batches that
lie ready. What a trainer takes beyond it is fitted to micro-batches and updates of the same run:
``seconds = micro-batches × a + updates × b``, from runs with and without accumulation. Clipping is
off everywhere: it is priced apart, by its operations. The models are small on purpose, so that what
is measured is not lost in their own time; it does not grow with the model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # noqa: E402

from planner.calibrate.host.trainers import (  # noqa: E402
    ACCUMULATED,
    SMALL_MODELS,
    TRAINERS,
    Added,
    added_seconds,
)
from planner.errors import MissingExtraError  # noqa: E402


@dataclass(frozen=True)
class Row:
    """Of one trainer on one model: medians and extremes over repeats, in seconds."""

    trainer: str
    model: str
    micro_batch: float
    update: float
    micro_batch_range: tuple[float, float]
    update_range: tuple[float, float]


def measure(names: Sequence[str], steps: int, repeats: int) -> list[Row]:
    """A row a trainer and model. What is not installed is left out, and said."""
    rows = []
    for name in names:
        for model in SMALL_MODELS:
            try:
                found = [added_seconds(name, model, steps) for _ in range(repeats)]
            except MissingExtraError as error:
                print(f"trainer_step: {name} left out: {error}", file=sys.stderr)
                break
            rows.append(_row(name, model, found))
    return rows


def _row(name: str, model: str, found: Sequence[Added]) -> Row:
    def middle(of: Callable[[Added], float]) -> tuple[float, tuple[float, float]]:
        values = sorted(map(of, found))
        return statistics.median(values), (values[0], values[-1])

    micro, micro_range = middle(lambda added: added.micro_batch)
    update, update_range = middle(lambda added: added.update)
    return Row(name, model, micro, update, micro_range, update_range)


def table(rows: Sequence[Row]) -> str:
    lines = [
        "| trainer | model | ms a micro-batch | ms an update |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [
            f"{1e3 * middle:.2f} ({1e3 * low:.2f} to {1e3 * high:.2f})"
            for middle, (low, high) in (
                (row.micro_batch, row.micro_batch_range),
                (row.update, row.update_range),
            )
        ]
        lines.append(f"| {row.trainer} | {row.model} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainers", nargs="*", default=list(TRAINERS), choices=list(TRAINERS))
    parser.add_argument("--steps", type=int, default=120, help="micro-batches of a run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if options.steps < 2 * ACCUMULATED or options.repeats < 1:
        parser.error(f"--steps of at least {2 * ACCUMULATED}, --repeats of at least 1")
    torch.set_num_threads(1)
    rows = measure(options.trainers, options.steps, options.repeats)
    print(table(rows))
    if options.json:
        document: list[dict[str, Any]] = [asdict(row) for row in rows]
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
