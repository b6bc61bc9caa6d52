"""Published steps of today's stack (torch.compile, losses in chunks, updates inside the backward
pass, offloaded activations), beside the planner's.

    python benchmarks/stack_published.py --write docs/stack_published.md

The rows are ``profiles/measured/stack.csv``. Each is asked twice on the device's datasheet: as it
stands, and as a question that has no words for any of that had to ask it ("untold"). Nothing is
fitted to the rows, no profile and no correction enters. Memory is the peak of live tensors.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.published_rows import Row, ask_and_write, notes  # noqa: E402
from planner import tables  # noqa: E402
from planner.devices.lookup import find_device  # noqa: E402
from planner.figures import Estimate  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402
from planner.plan.steps.point import evaluate  # noqa: E402
from planner.training.recipe import Recipe, recipe_of  # noqa: E402
from planner.units import GIB  # noqa: E402

TABLE = ("measured", "stack.csv")
LIMIT = 300.0


@dataclass(frozen=True)
class Asked:
    """Bytes of the peak as the row stands and untold, and tokens a second."""

    peak: Estimate
    untold: float
    tokens: Estimate


def recipe_in(row: Row) -> Recipe:
    """As the row says it; torchtune's own loaders convert every linear layer to NF4, and its
    adapters have the weights' type."""
    qlora = row["strategy"] == "qlora"
    return recipe_of(
        Recipe(
            strategy=row["strategy"],
            task="causal_lm",
            precision=row["precision"],
            optimizer=row["optimizer"],
            gradient_checkpointing=row["gradient_checkpointing"],
            compile=bool(row["compile"]),
            loss=row["loss"] or None,
            optimizer_in_backward=bool(row["optimizer_in_backward"]) or None,
            offload=tuple(row["offload"].split()) or None,
            adapter_precision="weights" if row["lora_rank"] else None,
            lora_rank=int(row["lora_rank"]) if row["lora_rank"] else None,
            lora_targets=tuple(row["lora_targets"].split()) or None,
            kbit_preparation="none" if qlora else None,
            quantised_layers="all" if qlora else None,
        )
    )


def ask(row: Row) -> Asked:
    """Both ways. Raises the errors of tracing."""
    facts, spec = resolve(row["model"]), find_device(row["gpu"])
    batch, length = int(row["micro_batch"]), int(row["sequence_length"])
    recipe, point = recipe_in(row), {"micro_batch": batch, "sequence_length": length}
    plain = replace(recipe, loss=None, optimizer_in_backward=None, offload=None, compile=False)
    told = evaluate(facts, recipe, spec, **point)
    untold = evaluate(facts, plain, spec, **point)
    seconds = told.step_seconds
    rates = (batch * length / each for each in (seconds.p90, seconds.p50, seconds.p10))
    return Asked(told.allocated_bytes, untold.allocated_bytes.p50, Estimate(*rates))


def document(rows: list[Row], asked: dict[str, Asked | str]) -> str:
    """The page: the errors, then each row."""
    return (
        "\n".join(
            [*_beginning(rows, asked), *_table(rows, asked), "", *notes(rows, "the question")]
        )
        + "\n"
    )


def _beginning(rows: list[Row], asked: dict[str, Asked | str]) -> Iterator[str]:
    yield "# Published steps of today's stack, and what the planner says\n"
    yield (
        "Written by `python benchmarks/stack_published.py --write docs/stack_published.md`; every "
        "number of its table comes out of it.\n"
    )
    yield (
        "Each row of `profiles/measured/stack.csv` is asked as it stands, on the datasheet of its "
        "device; *untold* is the peak without the words for torch.compile, the loss, updates "
        "inside the backward pass and offloading. Nothing is fitted to these rows.\n"
    )
    pairs = [(row, found) for row in rows if isinstance(found := asked[row["id"]], Asked)]
    errors = {
        "memory": [f.peak.p50 / GIB / float(r["peak_gib"]) - 1 for r, f in pairs],
        "memory, untold": [f.untold / GIB / float(r["peak_gib"]) - 1 for r, f in pairs],
        "tokens a second": [f.tokens.p50 / float(r["tokens_per_second"]) - 1 for r, f in pairs],
    }
    yield "| quantity | rows | median error | bias | worst |\n| --- | --: | --: | --: | --: |"
    for name, values in errors.items():
        median = statistics.median(abs(value) for value in values)
        worst, bias = max(values, key=abs), statistics.median(values)
        yield f"| {name} | {len(values)} | {median:.0%} | {bias:+.0%} | {worst:+.0%} |"
    yield ""


def _table(rows: list[Row], asked: dict[str, Asked | str]) -> Iterator[str]:
    yield (
        "| row | measured GiB | ours | error | untold | measured tokens/s | ours | error |\n"
        "| --- | --: | --: | --: | --: | --: | --: | --: |"
    )
    for row in rows:
        found, peak = asked[row["id"]], float(row["peak_gib"])
        if isinstance(found, str):
            yield f"| {row['id']} | {peak} | refused: {found} | | | | | |"
            continue
        rate, own, tokens = float(row["tokens_per_second"]), found.peak.p50 / GIB, found.tokens
        yield (
            f"| {row['id']} | {peak} | {own:.1f} | {own / peak - 1:+.0%} | "
            f"{found.untold / GIB / peak - 1:+.0%} | {rate:,.0f} | {tokens.p50:,.0f} | "
            f"{tokens.p50 / rate - 1:+.0%} |"
        )


def main() -> int:
    return ask_and_write(__doc__, tables.rows(*TABLE), ask, document, LIMIT)


if __name__ == "__main__":
    sys.exit(main())
