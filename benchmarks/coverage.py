"""Which families of models are answered, with every strategy: one table, no cell blank.

    python benchmarks/coverage.py                            # print it
    python benchmarks/coverage.py --write docs/coverage.md
    python benchmarks/coverage.py --only DETR LSTM           # families with these words
    python benchmarks/coverage.py --strategy lora
    python benchmarks/coverage.py --cells cells.jsonl        # kept, and not asked again

The families are rows of ``profiles/models/families_covered.csv``. Each is asked with each strategy
as ``planner estimate`` asks it, on one GPU, in a process beside this one: a crash or a question
that takes longer than ``--limit`` seconds is a cell of the table. A cell says what is measured of
this family under this strategy in ``profiles/measured/published.csv`` (steps) and
``profiles/accuracy/whole_runs.csv`` (runs). Leaves with 1 where a question crashed, hung or ended
in a traceback. With ``--cells`` every cell is kept as it is answered, so that a stop loses none:
what is there of the same row is not asked again, unless it was trouble.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.isolated import each  # noqa: E402
from benchmarks.kept import Kept  # noqa: E402
from planner import tables  # noqa: E402
from planner.errors import PlannerError  # noqa: E402

GPU = "h100-sxm"
GIB = 2**30
NOT_ASKED = "not asked yet: the command goes on where it was stopped"
TROUBLE = ("TRACEBACK", "CRASH", "not done")


@dataclass(frozen=True)
class Asked:
    """A family (its row of the table) with a strategy."""

    row: dict[str, str]
    strategy: str


@dataclass(frozen=True)
class Cell:
    """One answer: peak bytes a device and seconds a step, or ``refusal``. ``fits`` on the GPU;
    ``waited`` seconds for it."""

    peak_bytes: float = 0.0
    step_seconds: float = 0.0
    micro_batch: int = 0
    fits: bool = True
    refusal: str | None = None
    waited: float = 0.0

    @property
    def is_trouble(self) -> bool:
        return (self.refusal or "").startswith(TROUBLE)


def fields_of(row: dict[str, str]) -> dict[str, str]:
    """The question's fields that a row states, as texts."""
    given = dict(part.split("=", 1) for part in row["fields"].split())
    return given | ({"task": row["task"]} if row["task"] else {})


def kept_cells(file: Path | None) -> Kept:
    """Cells by their row as it was asked; trouble is asked again."""
    return Kept(file, lambda plain: Cell(**plain), lambda cell: cell.is_trouble)


def _key(asked: Asked) -> str:
    return json.dumps([*asked.row.values(), asked.strategy])


def ask(asked: Asked) -> Cell:
    """The recommended option of one question; runs in a process of its own."""
    begun = time.monotonic()
    return replace(_answer(asked), waited=round(time.monotonic() - begun, 1))


def _answer(asked: Asked) -> Cell:
    from planner import estimate

    os.chdir(ROOT)  # a row may name a file of the repository
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        answer = estimate(
            asked.row["model"],
            strategy=[asked.strategy],
            gpu=GPU,
            offline=True,
            **fields_of(asked.row),  # pyright: ignore[reportArgumentType]  # texts are read
        )
    except PlannerError as error:
        return Cell(refusal=" ".join(str(error).split()))
    except Exception as error:  # what no user may see: shown as such
        words = " ".join(str(error).split())[:200]
        return Cell(refusal=f"TRACEBACK {type(error).__name__}: {words}")
    return _cell(answer["options"])


def _cell(options: Sequence[dict[str, Any]]) -> Cell:
    """Of several variants the first that fits."""
    option = next((o for o in options if o["fits"]), options[0])
    return Cell(
        peak_bytes=option["memory"]["device_used_bytes"]["p50"],
        step_seconds=option["step"]["seconds"]["p50"],
        micro_batch=option["step"]["micro_batch_size"],
        fits=option["fits"],
    )


# ---- what was measured


@cache
def kind_of(model: str, architecture: str = "") -> str | None:
    """transformers' model type, or the family that a vision model's name begins with; None where
    the name resolves to nothing."""
    from planner.models.resolve import resolve
    from planner.validate.cases import family_of

    if architecture:
        return json.loads(architecture)["kind"]
    try:
        facts = resolve(model, offline=True)
    except PlannerError:
        return None
    return (facts.config or {}).get("model_type") or family_of(facts.architecture or facts.name)


@cache
def measured_steps() -> Counter[tuple[str | None, str, str]]:
    """(kind, task, strategy) → rows of published steps and peaks."""
    return Counter(
        (kind_of(row["model"], row["architecture"]), row["task"], row["strategy"])
        for table in ("published.csv", "families.csv")
        for row in tables.rows("measured", table)
    )


@cache
def measured_runs() -> Counter[tuple[str | None, str]]:
    """(kind, strategy) → whole runs that are set beside a plan."""
    return Counter(
        (kind_of(row["model"]), row["strategy"])
        for row in tables.rows("accuracy", "whole_runs.csv")
    )


def measured(row: dict[str, str], strategy: str) -> str:
    """In words: how often this family was measured under the strategy. Whole runs count where the
    family's table holds one task of that model type only, as their task is not a column."""
    kind = kind_of(row["model"])
    steps = measured_steps()[kind, row["task"], strategy] if kind else 0
    runs = measured_runs()[kind, strategy] if kind and row["model"] in _first_of_kind() else 0
    words = [f"{steps} steps"] if steps else []
    return ", ".join(words + ([f"{runs} runs"] if runs else [])) or "not measured"


@cache
def _first_of_kind() -> frozenset[str]:
    """Names of the first row of each kind: whole runs are shown once."""
    first: dict[str | None, str] = {}
    for row in rows():
        first.setdefault(kind_of(row["model"]), row["model"])
    return frozenset(first.values())


# ---- the document


def rows() -> list[dict[str, str]]:
    return list(tables.rows("models", "families_covered.csv"))


def questions(chosen: Sequence[dict[str, str]], strategies: Sequence[str]) -> Iterator[Asked]:
    for row in chosen:
        for strategy in strategies:
            yield Asked(row, strategy)


def document(cells: dict[tuple[str, str], Cell], strategies: Sequence[str]) -> str:
    """The table, the refusals that its cells number, and the sums."""
    reasons: dict[str, int] = {}
    families = {name for name, _ in cells}
    chosen = [row for row in rows() if row["family"] in families]
    lines = [_line(row, cells, strategies, reasons) for row in chosen]
    answered = sum(cell.refusal is None for cell in cells.values())
    whole = sum(all(cells[row["family"], s].refusal is None for s in strategies) for row in chosen)
    some = sum(any(cells[row["family"], s].refusal is None for s in strategies) for row in chosen)
    listed = "\n".join(f"{number}. {reason}" for reason, number in reasons.items())
    head = ["family", "model", "task", "data", *strategies, "second size"]
    open_ones = sum(cell.refusal == NOT_ASKED for cell in cells.values())
    left = f" {open_ones} were not asked yet." if open_ones else ""
    return f"""# What is answered

Written by `python benchmarks/coverage.py --write docs/coverage.md`; nothing is edited by hand.
A cell is one question on one {GPU}: ✓, the peak of device memory of the micro-batch that was
chosen, the seconds of one optimizer step (all its micro-batches) × the samples of that
micro-batch, and how often the family was measured under that strategy (published steps, whole
runs). A number in brackets is a refusal, spelt out below the table.

{answered} of {len(cells)} cells are answered; {some} of {len(chosen)} families with at least one
strategy, {whole} with all {len(strategies)}.{left}

| {" | ".join(head)} |
| {" | ".join("---" for _ in head)} |
{chr(10).join(lines)}

## Refusals

{listed or "None."}
"""


def _line(
    row: dict[str, str],
    cells: dict[tuple[str, str], Cell],
    strategies: Sequence[str],
    reasons: dict[str, int],
) -> str:
    shown = [_shown(row, name, cells[row["family"], name], reasons) for name in strategies]
    parts = [row["family"], row["model"], row["task"], row["data"], *shown, _second(row)]
    return f"| {' | '.join(part.replace('|', '/') for part in parts)} |"


def _shown(row: dict[str, str], strategy: str, cell: Cell, reasons: dict[str, int]) -> str:
    if cell.refusal is not None:
        refusal = cell.refusal.replace(str(Path.home()), "~")
        number = reasons.setdefault(refusal, len(reasons) + 1)
        return f"no [{number}]"
    where = "" if cell.fits else ", does not fit"
    figures = f"{cell.peak_bytes / GIB:.1f} GiB, {cell.step_seconds:.3g} s × {cell.micro_batch}"
    return f"✓ {figures}{where}; {measured(row, strategy)}"


def _second(row: dict[str, str]) -> str:
    """Whether a second size of the family is known by name."""
    if not row["second"]:
        return "none named"
    known = kind_of(row["second"]) is not None
    return row["second"] if known else f"{row['second']} is not known"


def main() -> int:
    options = _arguments()
    from planner.question import TRAINING_STRATEGIES

    strategies = options.strategy or list(TRAINING_STRATEGIES)
    wanted = [
        row
        for row in rows()
        if not options.only or any(part.lower() in row["family"].lower() for part in options.only)
    ]
    cells = answers(list(questions(wanted, strategies)), kept_cells(options.cells), options.limit)
    text = document(cells, strategies)
    if options.write:
        from planner.cli.writing import write

        write(options.write, text)
    else:
        print(text)
    return 1 if any(cell.is_trouble for cell in cells.values()) else 0


def answers(asked: Sequence[Asked], kept: Kept, limit: float) -> dict[tuple[str, str], Cell]:
    """(family, strategy) → its cell, kept or asked now."""
    cells = {_place(each_one): kept.get(_key(each_one)) for each_one in asked}
    open_ones = [each_one for each_one in asked if cells[_place(each_one)] is None]
    if limit <= 0:
        cells |= {_place(one): Cell(refusal=NOT_ASKED) for one in open_ones}
        open_ones = []
    for one, cell, failure in each(ask, open_ones, limit):
        found = cell if failure is None else Cell(refusal=failure)
        cells[_place(one)] = found
        kept.put(_key(one), found)
        print(f"{', '.join(_place(one))}: {found}", file=sys.stderr, flush=True)
    return {place: cell for place, cell in cells.items() if cell is not None}


def _place(asked: Asked) -> tuple[str, str]:
    return asked.row["family"], asked.strategy


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--only", nargs="*", metavar="WORD")
    parser.add_argument("--strategy", nargs="*", metavar="NAME")
    parser.add_argument("--cells", type=Path, metavar="FILE")
    parser.add_argument(
        "--limit", type=float, default=240.0, metavar="SECONDS", help="0 asks nothing anew"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
