"""Public tables of tensor- and pipeline-parallel runs, asked as they ran: errors of a step's
time by table.

    python benchmarks/parallel_tables.py --tables DIR [--limit 60]
    python benchmarks/parallel_tables.py --tables DIR --write docs/parallel_tables.md

Tables are read in place, and nothing is fitted to their rows.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.tables.common import gpu_key, read_rows  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.devices.lookup import find_device  # noqa: E402
from planner.errors import PlannerError  # noqa: E402
from planner.models.facts import ModelFacts  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402
from planner.parallel.pipelined import WAITS, bubble_seconds  # noqa: E402
from planner.parallel.plan import ParallelPlan  # noqa: E402
from planner.parallel.ranks import rank_facts, rank_source  # noqa: E402
from planner.parallel.source import recorded_as, shared_source  # noqa: E402
from planner.plan.steps.point import PointResult, evaluate  # noqa: E402
from planner.trace.source import TraceSource, trace_for  # noqa: E402
from planner.training.recipe import Recipe  # noqa: E402
from planner.validate.architectures import resolvable  # noqa: E402

#: An error within this share counts as near.
NEAR = 0.15
VOCABULARY = 51200
SEED = 18
#: Micro-batches of which the fastest that fits is taken where a source does not say it.
MICRO_BATCHES = (1, 2, 4, 8)
HEAD = """# Public tables of tensor- and pipeline-parallel runs

Written by `python benchmarks/parallel_tables.py --tables DIR --write docs/parallel_tables.md`;
DIR holds the public tables, read in place; nothing is fitted to them. Every row is asked with the
tensor-parallel ranks, stages and copies that it ran on, on the datasheet basis. GPTs are asked as
Starcoder 2's architecture at their sizes (layer norms, biases, GELU; its rotary positions in place
of learned ones), tied head, without dropout. Errors are of the median estimate of a whole step:
above 0 ours is too slow.

Megatron-Bridge's rows, with context and expert parallelism and 8-bit floats, are in
`docs/bridge_tables.md`; torchtitan's performance notes hold FSDP alone.

"""


@dataclass(frozen=True)
class Run:
    """One row: what ran, and the seconds of its step. ``micro_batch`` None: not stated."""

    name: str
    table: str
    model: str
    architecture: dict[str, Any] | None
    recipe: Recipe
    gpu: str
    plan: ParallelPlan
    global_batch: int
    length: int
    micro_batch: int | None
    seconds: float


@dataclass(frozen=True)
class Row:
    run: Run
    ours: float
    waits: float
    bubble: float
    micro_batch: int
    fits: bool

    @property
    def off(self) -> float:
        return self.ours / self.run.seconds - 1


def gpt(hidden: int, heads: int, layers: int, length: int) -> dict[str, Any]:
    """A GPT of these sizes in the one architecture of its kind whose ranks can be built."""
    return {
        "kind": "starcoder2",
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": layers,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": length,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "residual_dropout": 0.0,
        "embedding_dropout": 0.0,
        "attention_dropout": 0.0,
    }


def recipe(precision: str, attention: str, checkpointing: str, **more: Any) -> Recipe:
    return Recipe(
        task="causal_lm",
        strategy="scratch",
        optimizer="adamw_fused",
        precision=precision,
        attention=attention,
        gradient_checkpointing=checkpointing,
        **more,
    )


# ---- the tables


def vtrain(rows: list[dict[str, str]], limit: int) -> Iterator[Run]:
    """A drawn sample, in the order of what ran."""
    names = ("tensor_parallel", "pipeline_parallel", "data_parallel", "micro_batch_size")
    names += ("global_batch_size", "hidden_size", "n_layers")
    drawn = random.Random(SEED).sample(rows, min(limit, len(rows)))
    for row in sorted(drawn, key=lambda row: [int(row[name]) for name in names]):
        hidden, heads, layers, length = (
            int(row[c]) for c in ("hidden_size", "n_heads", "n_layers", "sequence_length")
        )
        tp, pp, dp, batch, whole = (int(row[name]) for name in names[:5])
        yield Run(
            f"h{hidden} l{layers} b{batch} g{whole} tp{tp} pp{pp} dp{dp}",
            "vtrain",
            f"gpt-h{hidden}-l{layers}",
            gpt(hidden, heads, layers, length),
            recipe("fp16", "eager", "none"),
            gpu_key(row["gpu"]) or row["gpu"],
            ParallelPlan(dp_replicate=dp, tp=tp, pp=pp),
            whole,
            length,
            batch,
            float(row["iteration_ms"]) / 1e3,
        )


def megatron(rows: list[dict[str, str]], limit: int) -> Iterator[Run]:
    """The degrees and heads are those of the paper's Table 1, which the source's picture leaves
    out; the seconds follow from its equation 3."""
    paper = {row["model"]: row for row in read_rows(ROOT / "benchmarks/parallel_published.csv")}
    for row in rows[:limit]:
        known = paper[row["model"]]
        tp, pp, heads = (int(known[name]) for name in ("tp", "pp", "heads"))
        hidden, layers, length, whole, devices = (
            int(row[c]) for c in ("hidden", "layers", "seq_len", "global_batch", "n_gpus")
        )
        vocabulary = int(row["vocab"])
        flops = 96 * whole * length * layers * hidden**2
        flops *= 1 + length / (6 * hidden) + vocabulary / (16 * layers * hidden)
        rate = float(row["tflops_per_gpu"]) * 1e12
        yield Run(
            f"{row['model']} x{devices} tp{tp} pp{pp}",
            "megatron",
            row["model"].lower().replace(" ", "-"),
            gpt(hidden, heads, layers, length),
            recipe("fp16", "eager", "full"),
            "a100-80gb-sxm",
            ParallelPlan(dp_replicate=devices // (tp * pp), tp=tp, pp=pp),
            whole,
            length,
            None,
            flops / (devices * rate),
        )


TABLES = {
    "vtrain": (vtrain, "vtrain_single_node_a100.csv.gz"),
    "megatron": (megatron, "megatron_lm_throughput.csv"),
}
#: What is known of each table's misses.
WHY = {
    "vtrain": f"""
A sample drawn with seed {SEED}. Megatron-DeepSpeed in fp16, asked without recomputation, with eager
attention, as its rows without tensor or pipeline parallelism are in the accuracy tables. Those say
how far a device's own time is off here. Steps of one or two samples a micro-batch wait for the host
in every plan (measured times hardly fall with the ranks), and ours comes out fast: of the host's
time for asking for a collective what torch's fake process group takes is planned, on today's torch
and another processor, not NCCL's own enqueueing. From four samples on the
device is what counts, and eager attention, with its softmax in float32, takes longer by ours than
Megatron's fused softmax did. Both are likely causes, not measured ones.
""",
    "megatron": """
The degrees, heads and the vocabulary's size are the paper's; its micro-batches are not stated: the
fastest of 1, 2, 4 and 8 that fits by ours. Full recomputation, fp16, eager attention. The small
models are likely too slow by ours because Megatron-LM fuses bias and GELU, bias, dropout and
addition, scale, mask and softmax, which weigh most where layers are narrow; operations one by one
are planned. Of the wide ones, with 8 ranks and 2 to 64 stages, products are most of the step. The
runs had no sequence parallelism yet (its traffic is that of all-reduces, its norms are whole).
""",
}


# ---- asking


@cache
def source_of(name: str, config: str, asked: Recipe) -> TraceSource:
    return trace_for(_FACTS[name, config], asked)


_FACTS: dict[tuple[str, str], ModelFacts] = {}


def _kept(facts: ModelFacts, asked: Recipe) -> TraceSource:
    key = facts.name, facts.fingerprint
    _FACTS[key] = facts
    return source_of(*key, asked)


def answer(run: Run, batch: int, facts: ModelFacts) -> PointResult:
    plan = run.plan
    recorded = recorded_as(run.recipe) if plan.sharding else run.recipe
    source = _kept(facts, recorded)
    if plan.is_split:
        source = rank_source(source, _kept(rank_facts(facts, plan), recorded), plan)
    if plan.sharding:
        source = shared_source(source, run.recipe, plan, "float32")
    return evaluate(
        facts,
        run.recipe,
        find_device(run.gpu),
        micro_batch=batch,
        sequence_length=run.length,
        accumulation=run.global_batch // (batch * plan.data_parallel),
        parallel=plan,
        source=source,
    )


def asked(run: Run, folder: Path) -> Row | str:
    """The row beside our answer, or why there is none."""
    share = run.global_batch // run.plan.data_parallel
    sizes = [run.micro_batch] if run.micro_batch else [b for b in MICRO_BATCHES if share % b == 0]
    found: list[Row] = []
    try:
        facts = resolve(
            resolvable(run.model, run.architecture, folder), task="causal_lm", offline=True
        )
        for batch in sizes:
            result = answer(run, batch, facts)
            step = result.step
            seconds = float(result.step_seconds.p50)
            waits = step.accumulation * float(step.time.by_kind.get(WAITS, 0.0)) / seconds
            bubble = bubble_seconds(step.time, step.accumulation, run.plan) / seconds
            found.append(Row(run, seconds, waits, bubble, batch, result.fits))
    except PlannerError as error:
        if not found:
            return f"{run.name}: {type(error).__name__}: {error}"[:160]
    fitting = [row for row in found if row.fits] or found[:1]
    return min(fitting, key=lambda row: row.ours)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=Path, required=True, help="a folder of public tables")
    parser.add_argument("--table", action="append", choices=list(TABLES), help="only this one")
    parser.add_argument("--limit", type=int, default=60, help="at most so many rows of a table")
    parser.add_argument("--write", type=Path, help="write the page to this file")
    options = parser.parse_args()
    parts: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for table in options.table or TABLES:
            make, file = TABLES[table]
            rows = read_rows(options.tables / file)
            found = [_told(asked(run, Path(folder))) for run in make(rows, options.limit)]
            parts += page(table, len(rows), found)
    if options.write:
        write(options.write, HEAD + "\n".join(parts) + "\n")
    else:
        print("\n".join(parts))
    return 0


def _told(one: Row | str) -> Row | str:
    print(one if isinstance(one, str) else line(one), file=sys.stderr, flush=True)
    return one


# ---- the page


def page(table: str, rows: int, found: Sequence[Row | str]) -> Iterator[str]:
    told = [one for one in found if isinstance(one, Row)]
    yield f"## {table}\n"
    yield f"{rows} rows, {len(told)} asked.\n{WHY.get(table, '')}"
    yield from _summary("all", told)
    split = [one for one in told if one.run.plan.is_split]
    yield from _summary("tensor or pipeline parallel", split)
    for name, which in (
        ("neither (copies or one device)", lambda plan: not plan.is_split),
        ("tensor parallel alone", lambda plan: plan.tp > 1 and plan.pp == 1),
        ("pipeline alone", lambda plan: plan.pp > 1 and plan.tp == 1),
        ("both", lambda plan: plan.pp > 1 and plan.tp > 1),
    ):
        yield from _summary(name, [one for one in told if which(one.run.plan)])
    wrong = sum(not one.fits for one in told)
    yield f"- ran and does not fit by ours: {wrong} of {len(told)}"
    for reason, count in Counter(one for one in found if isinstance(one, str)).items():
        yield f"- not asked: {count} × {reason}"
    yield "\n| row | micro-batch | step, measured | ours | off | waits of tp | bubble |"
    yield "| --- " * 7 + "|"
    yield from map(line, told)
    yield ""


def _summary(name: str, rows: Sequence[Row]) -> Iterator[str]:
    errors = [row.off for row in rows]
    if errors:
        near = sum(abs(error) <= NEAR for error in errors) / len(errors)
        yield (
            f"- {name}: {len(errors)} rows, median error "
            f"{statistics.median(map(abs, errors)):.1%}, bias {statistics.median(errors):+.1%}, "
            f"within 15 %: {near:.0%}"
        )


def line(one: Row) -> str:
    cells = [
        one.run.name + ("" if one.fits else " (does not fit by ours)"),
        str(one.micro_batch),
        f"{one.run.seconds:.3g} s",
        f"{one.ours:.3g} s",
        f"{one.off:+.0%}",
        f"{one.waits:.0%}",
        f"{one.bubble:.0%}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
