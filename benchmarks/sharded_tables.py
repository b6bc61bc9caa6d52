"""Public tables of sharded runs, asked as they ran: errors of time and memory by table.

    python benchmarks/sharded_tables.py --tables DIR [--limit 30]
    python benchmarks/sharded_tables.py --tables DIR --write docs/sharded_tables.md

Tables are read in place, and nothing is fitted to their rows. Rows that cannot be asked are counted
with their reasons.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.accuracy import choose, gather  # noqa: E402
from planner import units  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.errors import PlannerError  # noqa: E402
from planner.parallel.shared_time import COLLECTIVE  # noqa: E402
from planner.question.stack import Stack  # noqa: E402
from planner.validate.cases import Case, Refused  # noqa: E402
from planner.validate.judge import ask  # noqa: E402

TABLES = ("torchtitan", "llmfoundry", "litgpt")
#: An error within this share counts as near.
NEAR = 0.15
HEAD = """# Public tables of sharded runs

Written by `python benchmarks/sharded_tables.py --tables DIR --write docs/sharded_tables.md`, where
DIR holds the public tables, read in place; nothing is fitted to them. Every row ran with its state
in parts over its devices (FSDP), and is asked so: `parallel` fsdp on so many of its GPUs, on the
datasheet basis. Times are of a whole step, memory is what the source counts (allocated, reserved).
Errors are of the median estimate: above 0 ours is too much.

"""

#: What is known of each table's misses.
WHY = {
    "torchtitan": """
What ran is what is planned: FSDP2 of every block, parameters gathered in bfloat16, gradients
reduced in float32. The row of 70B with selective checkpointing ran, and is said not to fit by a
few per cent: which operations it keeps (every second product) is not what the planner keeps.
""",
    "llmfoundry": """
Collectives show in a hundredth of these steps, so that the misses are those of one device's time.
From 8,192 tokens a sequence on ours is too fast by a third: most of such a step is attention, whose
kernels of 2023 (flash 1 and Triton's) reach less than those of today, which are planned. H100 rows
are too fast by a fifth at all lengths; they are of that card's first months of software. MPT is
asked as a GPT-2 of its sizes with its own activation, without dropout. Of the rows that ran and do
not fit by ours most have their peak in the loss: its logits, of which llm-foundry's fused
cross-entropy (flash-attn's) makes the gradients in their place and in 16 bits, are planned in
float32 and several times. Two have it in the update, which its own AdamW runs weight by weight.
""",
    "litgpt": """
Its peaks hardly grow with the batch, and are what FSDP1 holds of adapters over frozen weights: one
flat parameter a block has a gradient for all of it, frozen or not, and its scripts reduce nothing
until the last micro-batch (`no_backward_sync`), so that whole gradients of the model in 16 bits lie
on every device beside its part of the weights. Of 7B on two devices that is 12.6 and 6.3 GiB, with
what is planned for the rest about the 20.7 GiB that were measured. FSDP2, which is planned, makes
gradients for what trains alone.
""",
}


@dataclass(frozen=True)
class Row:
    """``seconds``, ``bytes``: (measured, ours). ``waits``: share of the step that collectives
    show. ``fits``: ours, where the source ran out of memory or says that it did not."""

    case: Case
    seconds: tuple[float, float] | None
    memory: tuple[str, float, float] | None
    waits: float
    fits: bool

    @property
    def slow(self) -> float | None:
        return None if self.seconds is None else self.seconds[1] / self.seconds[0] - 1

    @property
    def heavy(self) -> float | None:
        return None if self.memory is None else self.memory[2] / self.memory[1] - 1


def asked(case: Case, folder: Path) -> Row | Refused:
    """Gradients of mixed precision reduced in float32, as torchtitan and Composer's DEFAULT do."""
    try:
        result = ask(case, folder, stack=Stack("any"))
    except PlannerError as error:
        return Refused(case.id, case.table, f"{type(error).__name__}: {error}"[:120])
    peaks = dict(case.peaks)
    name = next(iter(peaks), None)
    ours = {"allocated": result.allocated_bytes, "reserved": result.reserved_bytes}
    memory = None
    if name in ours and not case.oom:
        memory = (name, float(peaks[name]), ours[name].p50)
    seconds = (case.step_seconds, result.step_seconds.p50) if case.step_seconds else None
    time = result.step.time
    waits = float(time.by_kind.get(COLLECTIVE, 0.0)) / float(time.seconds)
    return Row(case, seconds, memory, waits, result.fits)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=Path, required=True, help="a folder of public tables")
    parser.add_argument("--table", action="append", help="only this table; repeatable")
    parser.add_argument("--limit", type=int, default=30, help="at most so many rows of a table")
    parser.add_argument("--write", type=Path, help="write the page to this file")
    options = parser.parse_args()
    items = list(gather(options.tables, options.table or TABLES))
    cases, refused = choose(items, "all", None, 0)
    parts: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for table in options.table or TABLES:
            mine = [case for case in cases if case.table == table and case.parallel == "fsdp"]
            step = max(1, -(-len(mine) // options.limit))
            found = [_told(asked(case, Path(folder))) for case in mine[::step]]
            apart = [one for one in refused if one.table == table]
            parts += page(table, len(mine), found, apart)
    text = HEAD + "\n".join(parts) + "\n"
    if options.write:
        write(options.write, text)
    return 0


def _told(one: Row | Refused) -> Row | Refused:
    print(line(one) if isinstance(one, Row) else f"{one.id}: {one.reason}", flush=True)
    return one


# ---- the page


def page(
    table: str, rows: int, found: Sequence[Row | Refused], apart: Sequence[Refused]
) -> Iterator[str]:
    told = [one for one in found if isinstance(one, Row)]
    others = [one.reason for one in (*found, *apart) if isinstance(one, Refused)]
    yield f"## {table}\n"
    yield f"{rows} rows that ran in parts, {len(told)} asked.\n{WHY.get(table, '')}"
    yield from _summary("time", [one.slow for one in told])
    yield from _summary("memory", [one.heavy for one in told])
    yield from _summary("time, waits above a tenth", [one.slow for one in told if one.waits > 0.1])
    ran_out = [one for one in told if one.case.oom]
    if ran_out:
        right = sum(not one.fits for one in ran_out)
        yield f"- out of memory: {len(ran_out)} rows, {right} do not fit by ours either"
    wrong = sum(not one.fits for one in told if not one.case.oom)
    yield f"- ran and does not fit by ours: {wrong} of {len(told) - len(ran_out)}"
    for reason, count in Counter(others).most_common():
        yield f"- not asked: {count} × {reason}"
    yield "\n| row | step, measured | ours | off | waits | memory, measured | ours | off |"
    yield "| --- " * 8 + "|"
    yield from map(line, told)
    yield ""


def _summary(name: str, errors: Sequence[float | None]) -> Iterator[str]:
    known = [error for error in errors if error is not None]
    if known:
        median = statistics.median(map(abs, known))
        near = sum(abs(error) <= NEAR for error in known) / len(known)
        bias = statistics.median(known)
        yield (
            f"- {name}: {len(known)} rows, median error {median:.1%}, bias {bias:+.1%}, within "
            f"15 %: {near:.0%}"
        )


def line(one: Row) -> str:
    seconds = memory = ("", "", "")
    if one.seconds is not None and one.slow is not None:
        measured, ours = one.seconds
        seconds = (f"{measured:.3g} s", f"{ours:.3g} s", f"{one.slow:+.0%}")
    if one.memory is not None and one.heavy is not None:
        _, measured, ours = one.memory
        memory = (
            units.format_bytes(measured),
            units.format_bytes(ours),
            f"{one.heavy:+.0%}",
        )
    name = one.case.id + (" (ran out of memory)" if one.case.oom else "")
    cells = [name, *seconds, f"{one.waits:.0%}", *memory]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
