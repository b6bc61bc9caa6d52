"""Of which catalogue models and strategies a step's equal blocks are repeated instead of recorded,
and that the repeated step is the whole one, operation by operation and tensor by tensor.

    python benchmarks/repeated_traces.py [--models gpt2 ...] [--strategies lora ...]

One line a model and strategy: ``equal``, ``whole`` with the reason why it is recorded whole,
``refused`` with what the model cannot do, or ``DIFFERS``; then the sums. Leaves with 1 where a
repeated step is not the whole one.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from planner.errors import PlannerError  # noqa: E402
from planner.models.facts import ModelFacts  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402
from planner.tables import rows  # noqa: E402
from planner.training.recipe import Recipe  # noqa: E402

POINT = {"B": 3, "S": 48, "T": 24}
STRATEGIES = {
    "fine_tune": {},
    "partial_fine_tune": {"unfrozen_blocks": 2},
    "feature_extraction": {},
    "lora": {"lora_rank": 8, "lora_dropout": 0.05},
    "qlora": {"lora_rank": 8, "lora_dropout": 0.05, "precision": "amp_bf16"},
}


def recipe(facts: ModelFacts, strategy: str, checkpointing: str) -> Recipe:
    sound = {"audio_samples": 16_000} if facts.task == "audio_classification" else {}
    plain = {
        "strategy": strategy,
        "task": facts.task,
        "precision": "bf16",
        "optimizer": "adamw",
        "gradient_checkpointing": checkpointing,
    }
    return Recipe(**plain | STRATEGIES[strategy] | sound)


def verdict(name: str, strategy: str, checkpointing: str) -> tuple[str, str]:
    """(equal, whole, refused or DIFFERS; how many blocks of how many, or why)."""
    from planner.trace.recorder.dispatch_mode import quiet
    from planner.trace.recorder.regimes import build_for
    from planner.trace.recorder.step_runner import StepRunner

    try:
        facts = resolve(name)
        chosen = recipe(facts, strategy, checkpointing)
        runner = StepRunner(lambda: build_for(facts, chosen), chosen)
        point = {symbol: POINT[symbol] for symbol in runner.built.symbols}
        step = runner.record(**point)
    except PlannerError as error:
        return "refused", str(error)[:100]
    if runner.repeated.why is not None:
        return "whole", runner.repeated.why
    with quiet():
        whole = runner.record_whole(point)
    return ("equal" if written(step) == written(whole) else "DIFFERS"), str(runner.repeated.cut)


def written(raw) -> tuple:
    """By names and values, but for the optimizer's numbers that change from step to step."""
    from planner.trace.recorder.repeat.flat import flattened, written_out
    from planner.trace.table import PHASES

    updates = {s for s, phase, _ in raw.operations if PHASES[phase] == "optimizer"}
    raw.signatures = [
        (*s[:3], ()) if number in updates else s for number, s in enumerate(raw.signatures)
    ]
    return written_out(flattened(raw, []))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [row["name"] for row in rows("models", "catalogue.csv")]
    parser.add_argument("--models", nargs="+", default=names)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=STRATEGIES)
    parser.add_argument("--checkpointing", default="none", choices=("none", "full", "selective"))
    asked = parser.parse_args()
    found: Counter[str] = Counter()
    for name in asked.models:
        for strategy in asked.strategies:
            answer, detail = verdict(name, strategy, asked.checkpointing)
            found[answer] += 1
            print(f"{answer:8} {name:32} {strategy:20} {detail}", flush=True)
    print(", ".join(f"{count} {answer}" for answer, count in found.most_common()))
    return 1 if found["DIFFERS"] else 0


if __name__ == "__main__":
    sys.exit(main())
