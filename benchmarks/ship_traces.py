"""Record the traces that ship with the planner: the default recipes of the catalogue's models.

    python benchmarks/ship_traces.py                    # what is missing
    python benchmarks/ship_traces.py --all              # and of the catalogue's other models
    python benchmarks/ship_traces.py --again gpt2       # one model anew
    python benchmarks/ship_traces.py --list

Each file is what the planner itself would record and keep when asked; a question about these models
needs no torch. Run it after changing anything under ``planner/trace`` or ``planner/strategies``,
and with new library versions.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import sys
import time
from dataclasses import replace

from planner import tables
from planner.devices.lookup import resolve_device
from planner.errors import PlannerError
from planner.models.facts import ModelFacts
from planner.models.resolve import resolve
from planner.plan.inputs.defaults import choose
from planner.plan.inputs.problem import understand
from planner.question import TRAINING_STRATEGIES, Question
from planner.trace import store
from planner.trace.recorder.fitting.fit import StructureChanges
from planner.trace.source import TraceSource, largest_of, trace_for
from planner.training.recipe import Recipe

#: Models from this many parameters on are trained in batches of one too.
TRAINED_SINGLY = 10**9
REFERENCE_GPU = "h100-sxm"  # only to choose the precision that devices with bf16 get


def listed() -> list[dict]:
    """Rows of ``profiles/traces/shipped.csv``: model, strategies, regimes."""
    return list(tables.rows("traces", "shipped.csv"))


def others() -> list[dict]:
    """Rows of the same sort of the catalogue's models that do not ship, the smallest first."""
    shipped = {row["model"] for row in listed()}
    names = [r["name"] for r in tables.rows("models", "catalogue.csv") if r["name"] not in shipped]
    found = [resolve(name, offline=True) for name in names]
    return [
        {
            "model": facts.name,
            "regimes": "b2 b1" if (facts.parameters or 0) >= TRAINED_SINGLY else "b2",
            "source": "recorded from the catalogue's config"
            if facts.library == "transformers"
            else f"recorded from {facts.library}",
            "date": datetime.date.today().isoformat(),
        }
        for facts in sorted(found, key=lambda facts: facts.parameters or 0)
    ]


def keep_listed(row: dict) -> None:
    """Add a model to ``profiles/traces/shipped.csv``."""
    with tables.path("traces", "shipped.csv").open("a", newline="", encoding="utf-8") as handle:
        fields = ["model", "regimes", "source", "date"]
        csv.DictWriter(handle, fields, lineterminator="\n").writerow(row)


def recipes(facts: ModelFacts) -> list[tuple[Recipe, ModelFacts, ModelFacts | None]]:
    """Everything that a question with no choices of its own may need for one model: (recipe, what
    trains, teacher). A trace is of any number of classes; a text's regression (one) is another."""
    question = Question(
        model=facts.name, samples=10_000, tokens_per_sample=256, target_tokens_per_sample=64
    )
    data = understand(question).data
    spec, found = resolve_device(REFERENCE_GPU).spec, {}
    for strategy in TRAINING_STRATEGIES:
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
            try:
                choices = choose(question, trains, data, strategy, spec, variant)
            except PlannerError:
                continue  # makes no sense for this model, as every answer says
            for policy in choices.checkpointing:
                recipe = choices.with_checkpointing(policy)
                for classes in (None, 1) if recipe.task == "text_classification" else (None,):
                    one = replace(recipe, classes=classes)
                    found[(one, trains.fingerprint)] = (one, trains, teacher)
    return list(found.values())


def ship(source: TraceSource, regime: str, again: bool) -> str | None:
    """Record one regime into ``profiles/traces``; None when it is there already."""
    files = [tables.path("traces", f"{source.stem}-{name}.trace") for name in source.names(regime)]
    if not again and any(file.exists() for file in files):
        return None
    source.keep = False
    started = time.perf_counter()
    family = source._record(regime, None)
    file = tables.path("traces", f"{source.stem}-{source.file_name(family, regime)}.trace")
    store.save(family, file)
    return (
        f"{file.stat().st_size / 1000:6.1f} kB  {time.perf_counter() - started:5.1f} s  {file.name}"
    )


def keep_refusals(found: dict[str, tuple[str, str]]) -> None:
    """Write ``profiles/traces/refused.csv``: stem, model, recipe, reason. What was known before and
    not tried now stays."""
    file = tables.path("traces", "refused.csv")
    kept = (
        {row["stem"]: row for row in csv.DictReader(file.open(newline="", encoding="utf-8"))}
        if file.is_file()
        else {}
    )
    kept |= {
        stem: {
            "stem": stem,
            "model": model,
            "reason": reason,
            "source": "benchmarks/ship_traces.py",
            "date": datetime.date.today().isoformat(),
        }
        for stem, (model, reason) in found.items()
    }
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(
            handle, ["stem", "model", "reason", "source", "date"], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(kept[stem] for stem in sorted(kept))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--again", nargs="*", metavar="MODEL", help="record these models (or all) again"
    )
    parser.add_argument("--only", nargs="*", metavar="MODEL")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--all", action="store_true", help="every model of the catalogue")
    args = parser.parse_args()
    known = listed()
    for row in known + (others() if args.all else []):
        name = row["model"]
        if args.only and name not in args.only:
            continue
        again = args.again is not None and (not args.again or name in args.again)
        recorded = ship_model(name, row["regimes"].split(), again, args.list)
        if row not in known and recorded:
            keep_listed(row)
    return 0


def ship_model(name: str, regimes: list[str], again: bool, only_listed: bool) -> int:
    """How many traces of one model were recorded; what cannot be is kept as refused."""
    refusals: dict[str, tuple[str, str]] = {}
    recorded = 0
    for recipe, trains, teacher in recipes(resolve(name, offline=True)):
        for regime in regimes:
            label = (
                f"{name} {recipe.strategy} {recipe.variant or ''} "
                f"{recipe.gradient_checkpointing} {regime}"
            )
            if only_listed:
                print(label)
                continue
            peak = largest_of(trains, recipe) if recipe.variant is None else None
            usual = trace_for(trains, recipe, teacher=teacher, peak=peak)
            try:
                sources = (usual,) if peak is None else (usual, usual.largest)
                found = [ship(source, regime, again) for source in sources]
            except StructureChanges as error:
                found = []  # of the asked length alone it may be recorded
                print(f"{label:70} left out: {error}", flush=True)
            except PlannerError as error:
                found, refusals[usual.refusal] = [], (name, str(error))
                print(f"{label:70} left out: {error}", flush=True)
            for done in found:
                if done:
                    recorded += 1
                    print(f"{label:70} {done}", flush=True)
    if refusals:
        keep_refusals(refusals)
    return recorded


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
