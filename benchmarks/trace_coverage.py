"""Which models and strategies the step tracer records, which it refuses and why, and which
operations it cannot price.

    python benchmarks/trace_coverage.py --quick  # one recipe for each family
    python benchmarks/trace_coverage.py          # every strategy
    python benchmarks/trace_coverage.py --sweep  # full tuning: precisions, attention, checkpointing
    python benchmarks/trace_coverage.py --only gpt2 timm:resnet18

Families, not names: a family's smallest member runs the code path of the large ones, and its blocks
are cut to a few. Nothing is read from shipped traces or the cache. The share of unmodelled
operations is of the step's time as priced by the datasheet.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.coverage_models import families  # noqa: E402
from planner.datasets.profile import from_counts  # noqa: E402
from planner.devices.lookup import resolve_device  # noqa: E402
from planner.errors import PlannerError  # noqa: E402
from planner.models.facts import ModelFacts  # noqa: E402
from planner.operations.registry import kind_of  # noqa: E402
from planner.plan.inputs.defaults import choose  # noqa: E402
from planner.question import TRAINING_STRATEGIES, Question  # noqa: E402
from planner.trace.source import TraceSource, trace_for  # noqa: E402
from planner.trace.table import StepTrace  # noqa: E402
from planner.training.recipe import Recipe  # noqa: E402

DEVICE = "h100-sxm"
POINTS = {"B": 3, "S": 80, "T": 32}

SWEEP = (
    [{"precision": p} for p in ("fp32", "bf16", "amp_fp16")]
    + [{"attention": "eager"}]
    + [{"gradient_checkpointing": g} for g in ("full", "selective")]
    + [{"gradient_checkpointing": "full", "strategy": "lora"}]
)


@dataclass(frozen=True)
class Outcome:
    """``failure`` is None where it worked; ``unmodelled`` operation → share of the step's time."""

    label: str
    failure: str | None
    operations: int = 0
    unmodelled: tuple[tuple[str, float], ...] = ()
    seconds: float = 0.0


def recipes(
    facts: ModelFacts, quick: bool, sweep: bool
) -> Iterator[tuple[str, Recipe, ModelFacts, ModelFacts | None]]:
    """(label, recipe, what trains, teacher) as a question without choices of its own leads to."""
    question = Question(
        model=facts.name, samples=10_000, tokens_per_sample=64, target_tokens_per_sample=32
    )
    lengths = (
        64 if facts.modality == "text" else 16_000 if facts.task == "audio_classification" else None
    )
    data = from_counts(
        10_000, lengths, 32 if facts.task == "seq2seq_lm" else None, modality=facts.modality
    )
    spec = resolve_device(DEVICE).spec
    for strategy in ("fine_tune",) if quick or sweep else TRAINING_STRATEGIES:
        if strategy == "scratch":  # recorded as fine_tune
            continue
        for variant in (
            (None, "features", "cached") if strategy == "feature_extraction" else (None,)
        ):
            trains, teacher = facts, None
            if strategy == "distillation":
                from planner.models.students import default_student

                try:
                    trains, teacher = default_student(facts), facts
                except PlannerError:
                    continue
            recipe = choose(question, trains, data, strategy, spec, variant).recipe
            yield f"{strategy}{'/' + variant if variant else ''}", recipe, trains, teacher
            if sweep:
                for choices in SWEEP:
                    more = {"lora_rank": 8, "lora_dropout": 0.05} if "strategy" in choices else {}
                    yield (
                        " ".join(map(str, choices.values())),
                        replace(recipe, **choices, **more),
                        trains,
                        None,
                    )


def record(label: str, source: TraceSource, regime: str) -> Outcome:
    started = time.perf_counter()
    source.keep = False
    try:
        family = source.bound(source._record(regime, POINTS["S"]))
    except PlannerError as error:
        return Outcome(label, " ".join(str(error).split()), seconds=time.perf_counter() - started)
    except Exception as error:  # not the promise that the tracer makes: shown as such
        return Outcome(
            label,
            f"TRACEBACK {type(error).__name__}: {' '.join(str(error).split())[:200]}",
            seconds=time.perf_counter() - started,
        )
    trace = family.traces[0]
    seconds = time.perf_counter() - started
    return Outcome(
        label, None, trace.op_count, unmodelled(trace, regime, source.recipe.precision), seconds
    )


def unmodelled(trace: StepTrace, regime: str, precision: str) -> tuple[tuple[str, float], ...]:
    """Operations without a formula with their share of the priced time, the largest first."""
    names = {s.op for s in trace.signatures if kind_of(s.op).name == "unmodelled"}
    if not names:
        return ()
    dims = trace.dims(**(POINTS | {"B": 1 if regime.startswith("b1") else POINTS["B"]}))
    spec = resolve_device(DEVICE).spec
    from planner.operations.registry import work
    from planner.step_time.roofline import Efficiency

    each = Efficiency(spec, precision, False).seconds(
        trace, dims[:, None], work(trace, dims[:, None])
    )[:, 0] * trace.counts.sum(axis=1)
    shares = {
        name: float(sum(t for s, t in zip(trace.signatures, each) if s.op == name) / each.sum())
        for name in names
    }
    return tuple(sorted(shares.items(), key=lambda pair: -pair[1]))


def show(outcome: Outcome) -> str:
    if outcome.failure:
        return f"FAIL  {outcome.label:70} {outcome.seconds:5.1f} s  {outcome.failure}"
    rest = ", ".join(f"{name} {share:.1%}" for name, share in outcome.unmodelled)
    return (
        f"ok    {outcome.label:70} {outcome.seconds:5.1f} s  {outcome.operations:6d} "
        f"operations{'  unmodelled: ' + rest if rest else ''}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="*", metavar="NAME", help="names that start with one of these"
    )
    parser.add_argument(
        "--quick", action="store_true", help="full fine-tuning only, batches of more than one only"
    )
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="full fine-tuning under other precisions, attentions, checkpointing",
    )
    parser.add_argument(
        "--every", action="store_true", help="every name of the catalogue instead of one a family"
    )
    parser.add_argument(
        "--failures", action="store_true", help="print only what fails or is not modelled"
    )
    args = parser.parse_args()
    outcomes = []
    for name, facts in families(args.every):
        if args.only and not name.startswith(tuple(args.only)):
            continue
        for label, recipe, trains, teacher in recipes(facts, args.quick, args.sweep):
            for regime in ("b2",) if args.quick or args.sweep else ("b2", "b1"):
                outcome = record(
                    f"{name} {label} {regime}", trace_for(trains, recipe, teacher=teacher), regime
                )
                outcomes.append(outcome)
                if not args.failures or outcome.failure or outcome.unmodelled:
                    print(show(outcome), flush=True)
    failed = sum(o.failure is not None for o in outcomes)
    seconds = np.array([o.seconds for o in outcomes] or [0.0])
    print(
        f"{len(outcomes)} recordings, {failed} fail, "
        f"{sum(bool(o.unmodelled) for o in outcomes)} with unmodelled operations; "
        f"{seconds.sum():.0f} s, median {np.median(seconds):.1f} s"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
