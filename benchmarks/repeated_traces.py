"""Of which catalogue models and strategies a step's equal blocks are repeated instead of recorded,
and that the repeated step is the whole one, operation by operation and tensor by tensor.

    python benchmarks/repeated_traces.py [--models gpt2 ...] [--strategies lora ...]
    python benchmarks/repeated_traces.py --results FOLDER    # kept there, and not done again

One line a model, strategy and policy of gradient checkpointing: ``equal``, ``whole`` with the
reason why it is recorded whole, ``refused`` with what the model cannot do, ``failed`` where it
crashed or took longer than ``--limit`` seconds, or ``DIFFERS``; then the sums. The smallest model
of each family comes first, then the second smallest of each. Leaves with 1 where a repeated step
is not the whole one.
"""

from __future__ import annotations

import argparse
import csv
import gc
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.isolated import each  # noqa: E402
from planner.errors import ModelError, PlannerError  # noqa: E402
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
    "distillation": {},
    "scratch": {},
}
POLICIES = ("none", "full", "selective")
DIFFERS, FAILED = "DIFFERS", "failed"


@dataclass(frozen=True)
class Case:
    model: str
    strategy: str
    checkpointing: str

    def __str__(self) -> str:
        return f"{self.model}-{self.strategy}-{self.checkpointing}"


@dataclass(frozen=True)
class Verdict:
    """``verdict``: equal, whole, refused, failed or DIFFERS; ``detail``: how many blocks of how
    many, or why; ``seconds`` that it took."""

    model: str
    strategy: str
    checkpointing: str
    verdict: str
    detail: str
    seconds: float


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


def verdict(case: Case) -> Verdict:
    begun = time.monotonic()
    try:
        answer, detail = _compared(case)
    except Exception as error:  # one model's failure stops no other
        words = " ".join(str(error).split())[:200]
        answer, detail = FAILED, f"{type(error).__name__}: {words}"
    seconds = round(time.monotonic() - begun, 1)
    return Verdict(case.model, case.strategy, case.checkpointing, answer, detail, seconds)


def _compared(case: Case) -> tuple[str, str]:
    from planner.trace.recorder.dispatch_mode import quiet
    from planner.trace.recorder.regimes import runner_for

    try:
        facts, teacher = _models(case)
        runner = runner_for(facts, recipe(facts, case.strategy, case.checkpointing), teacher)
        point = {symbol: POINT[symbol] for symbol in runner.built.symbols}
        step = runner.record(**point)
    except PlannerError as error:
        return "refused", " ".join(str(error).split())
    if runner.prepared.after_update is not None:
        return "whole", "an average of all weights follows the update"
    if runner.beside.values is not None:
        return "whole", "it asks its data, and is run with values beside"
    if runner.repeated.why is not None:
        return "whole", runner.repeated.why
    gc.disable()  # a cycle collected in the middle would end lifetimes at arbitrary operations
    try:
        with quiet():
            whole = runner.record_whole(point)
    finally:
        gc.enable()
    return ("equal" if written(step) == written(whole) else DIFFERS), str(runner.repeated.cut)


def _models(case: Case) -> tuple[ModelFacts, ModelFacts | None]:
    """(what trains, its teacher): a distillation teaches the usual student of the model."""
    from planner.models.students import default_student

    facts = resolve(case.model, offline=True)
    return (default_student(facts), facts) if case.strategy == "distillation" else (facts, None)


def written(raw) -> tuple:
    """By names and values, but for the optimizer's numbers that change from step to step."""
    from planner.trace.recorder.repeat.flat import flattened, written_out
    from planner.trace.table import PHASES

    updates = {s for s, phase, _ in raw.operations if PHASES[phase] == "optimizer"}
    raw.signatures = [
        (*s[:3], ()) if number in updates else s for number, s in enumerate(raw.signatures)
    ]
    return written_out(flattened(raw, []))


# ---- which, and in which order


def smallest_of_each_family_first(names: list[str]) -> list[str]:
    """In rounds: the smallest of every family, the second smallest of every family, ..."""
    known = {}
    for name in names:
        try:
            known[name] = resolve(name, offline=True)
        except ModelError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    sizes = {name: facts.parameters or 0 for name, facts in known.items()}
    place: dict[str, int] = {}
    seen: Counter[str] = Counter()
    for name in sorted(known, key=lambda name: sizes[name]):
        family = (known[name].config or {}).get("model_type") or known[name].library
        place[name] = seen[f"{family} {known[name].task}"]
        seen[f"{family} {known[name].task}"] += 1
    return sorted(known, key=lambda name: (place[name], sizes[name]))


def cases(names: list[str], strategies: list[str], policies: list[str]) -> Iterator[Case]:
    for name in names:
        for strategy in strategies:
            for policy in policies:
                # nothing is recomputed where no block is trained
                if strategy != "feature_extraction" or policy == "none":
                    yield Case(name, strategy, policy)


# ---- what is kept


class Results:
    """``repeated_traces.csv`` of a folder, a row a verdict; None: nothing is kept."""

    def __init__(self, folder: Path | None):
        self._file = folder / "repeated_traces.csv" if folder is not None else None
        self.found: dict[Case, Verdict] = {}
        if self._file is not None and self._file.exists():
            with self._file.open(newline="") as lines:
                for row in csv.DictReader(lines):
                    known = Verdict(**row | {"seconds": float(row["seconds"])})
                    self.found[_case(known)] = known

    def add(self, verdict: Verdict) -> None:
        self.found[_case(verdict)] = verdict
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        begins = not self._file.exists()
        with self._file.open("a", newline="") as lines:
            writer = csv.writer(lines)
            if begins:
                writer.writerow([field.name for field in fields(Verdict)])
            writer.writerow(astuple(verdict))


def _case(verdict: Verdict) -> Case:
    return Case(verdict.model, verdict.strategy, verdict.checkpointing)


def summary(found: list[Verdict]) -> str:
    """Counts by strategy and policy, and the reasons of those recorded whole or refused."""
    counts = Counter(one.verdict for one in found)
    lines = [", ".join(f"{count} {answer}" for answer, count in counts.most_common())]
    for place in sorted({(one.strategy, one.checkpointing) for one in found}):
        here = Counter(o.verdict for o in found if (o.strategy, o.checkpointing) == place)
        lines.append(f"{' '.join(place):32} {', '.join(f'{n} {a}' for a, n in here.items())}")
    reasons = Counter(
        (one.verdict, one.detail.removeprefix(f"{one.model}: "))
        for one in found
        if one.verdict != "equal"
    )
    lines += [f"{count:5} {answer:8} {why[:150]}" for (answer, why), count in reasons.most_common()]
    return "\n".join(lines)


def main() -> int:
    asked = _arguments()
    results = Results(asked.results)
    wanted = list(
        cases(smallest_of_each_family_first(asked.models), asked.strategies, asked.checkpointing)
    )
    open_ones = [case for case in wanted if case not in results.found]
    for case, answer, failure in each(verdict, open_ones, asked.limit):
        found = answer or Verdict(
            case.model, case.strategy, case.checkpointing, FAILED, failure or "", asked.limit
        )
        results.add(found)
        said = f"{case.model:32} {case.strategy:20} {case.checkpointing:10} {found.detail[:120]}"
        print(f"{found.verdict:8} {said}", flush=True)
    known = [results.found[case] for case in wanted if case in results.found]
    print(summary(known))
    return 1 if any(one.verdict == DIFFERS for one in known) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [row["name"] for row in rows("models", "catalogue.csv")]
    parser.add_argument("--models", nargs="+", default=names)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=STRATEGIES)
    parser.add_argument("--checkpointing", nargs="+", default=list(POLICIES), choices=POLICIES)
    parser.add_argument("--results", type=Path, metavar="FOLDER")
    parser.add_argument("--limit", type=float, default=300.0, metavar="SECONDS")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
