"""Public tables of today's and yesterday's stacks, asked with and without the words that say what
ran: errors of memory and of time by table.

    python benchmarks/stack_tables.py --tables DIR [--table litgpt ...] [--limit 24]
    python benchmarks/stack_tables.py --tables DIR --write docs/stack_tables.md

*Told* is asked with the loss, updates inside the backward pass, the adapters' number format and the
optimizer by its own name; *untold* without them, as before there were such words. Tables are read
in place. Rows that cannot be asked are counted with their reasons.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.accuracy import choose, gather, run  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.validate.cases import Case, Refused  # noqa: E402
from planner.validate.judge import Outcome  # noqa: E402

#: What is known of a table's misses.
WHY = """
litgpt's rows stay too low: of its own layer for queries, keys and values in one, autograd keeps
the result whole beside its three parts (the values are a view of it) and the adapters' result
before it is padded (`index_copy` keeps its source), about three tensors as wide as the model a
layer and token. Its code is not transformers', which is what is planned. NF4 without double
quantisation, which its `bnb.nf4` rows are, is asked as with it.
"""
TABLES = ("torchtune", "litgpt", "hf_docs", "torchtitan", "llmfoundry")
#: Words that are taken back, and the optimizer that a word meant before.
NEW = (
    "loss",
    "adapter_precision",
    "optimizer_in_backward",
    "offload",
    "kernels",
    "quantised_inputs",
)
OPTIMIZERS = {"adafactor": "adafactor_torch"}
HEAD = """# Public tables, told and untold

Written by `python benchmarks/stack_tables.py --tables DIR --write docs/stack_tables.md`, where DIR
holds the public tables, read in place; nothing is fitted to them here. *Told* is asked with the
words for what ran (the loss, updates inside the backward pass, the adapters' number format, the
optimizer by its own name, what 4-bit layers of their day keep); *untold* without them. Errors are
of the median estimate.

"""


def untold(case: Case) -> Case:
    """Without the words."""
    optimizer = OPTIMIZERS.get(case.optimizer, case.optimizer)
    return replace(case, optimizer=optimizer, **dict.fromkeys(NEW))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, required=True, help="a folder of public tables")
    parser.add_argument("--table", action="append", help="only this table; repeatable")
    parser.add_argument("--limit", type=int, help="at most this many cases of each table")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", type=Path, help="write the page to this file")
    asked = parser.parse_args()
    items = list(gather(asked.tables, asked.table or TABLES))
    cases, refused = choose(items, "all", asked.limit, 0)
    changed = [case for case in cases if untold(case) != case]
    with tempfile.TemporaryDirectory() as folder:
        told = run(cases, Path(folder), asked.workers)
        before = run([untold(case) for case in changed], Path(folder), asked.workers)
    page = HEAD + "\n".join(_page(cases, changed, told, before, refused)) + "\n"
    print(page)
    if asked.write:
        write(asked.write, page)
    return 0


def _page(
    cases: Sequence[Case],
    changed: Sequence[Case],
    told: Sequence[Outcome],
    before: Sequence[Outcome],
    refused: Sequence[Refused],
) -> Iterator[str]:
    own = {case.id for case in changed}
    plain = {c.case_id: c for o in told for c in o.comparisons if c.case_id not in own}
    yield "| table | quantity | rows | untold, median | told, median | told, bias | worst | row |"
    yield "| --- | --- | --: | --: | --: | --: | --: | --- |"
    for table in dict.fromkeys(case.table for case in cases):
        after = _errors(told, table)
        earlier = _errors(before, table)
        for quantity, errors in after.items():
            was = dict(errors) | earlier.get(quantity, {})
            worst = max(errors, key=lambda name: abs(errors[name]))
            yield (
                f"| {table} | {quantity} | {len(errors)} | {_median(was):.1%} | "
                f"{_median(errors):.1%} | {statistics.median(errors.values()):+.1%} | "
                f"{errors[worst]:+.1%} | {worst} |"
            )
    yield ""
    yield (
        f"{len(changed)} of {len(cases)} rows are told more than before; the others' figures stand "
        f"in both columns ({len(plain)} with a figure)."
    )
    yield WHY
    reasons = Counter(
        (r.table, r.reason) for r in (*refused, *(o.refused for o in told if o.refused))
    )
    yield "\nNot asked:\n"
    yield from (f"- {table}, {count} rows: {reason}" for (table, reason), count in reasons.items())


def _errors(outcomes: Sequence[Outcome], table: str) -> dict[str, dict[str, float]]:
    """quantity → case → relative error of the median estimate."""
    found: dict[str, dict[str, float]] = {}
    for outcome in outcomes:
        for one in outcome.comparisons:
            if one.table == table:
                error = one.p50 / one.measured - 1
                found.setdefault(one.quantity, {})[one.case_id] = error
    return found


def _median(errors: dict[str, float]) -> float:
    return statistics.median(abs(error) for error in errors.values())


if __name__ == "__main__":
    raise SystemExit(main())
