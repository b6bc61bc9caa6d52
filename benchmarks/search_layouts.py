"""The search over devices, sharing, micro-batches and checkpointing beside looking at everything.

    python benchmarks/search_layouts.py [--questions 200] [--seed 1] [--write FILE]

Random small questions (shipped models, data, limits, devices, counts up to 64) are asked of the
survey, which looks closely only at what could be best, and of the same survey with every place
replayed and priced. The search is never worse: the cheapest way that keeps the limits is the same
or costs the same. Then the time of one question at up to 16,384 devices.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from planner.choose.decision import decide  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.errors import PlannerError  # noqa: E402
from planner.parallel.plan import counts_up_to  # noqa: E402
from planner.plan.inputs.problem import understand  # noqa: E402
from planner.plan.limits import Allowed  # noqa: E402
from planner.plan.survey.candidate import Candidate  # noqa: E402
from planner.plan.survey.survey import survey  # noqa: E402
from planner.question import Question  # noqa: E402

MODELS = {
    "gpt2": ("fine_tune", "lora", "scratch"),
    "bert-base-uncased": ("fine_tune", "lora"),
    "Llama-3.2-1B": ("fine_tune", "lora", "scratch"),
    "Llama-3.1-8B": ("lora", "fine_tune"),
}
GPUS = ("l4", "a100-80gb-sxm", "h100-sxm", "rtx-4090", "a10g", "t4")
#: What a cheaper way of the search or of looking at all would be by: figures are floats.
ALIKE = 1e-9
LARGE = {"gpu": "h100-sxm", "global_batch": 1024, "epochs": 1, "samples": 10_000_000}
MOST = 16_384


@dataclass(frozen=True)
class Asked:
    """A question with its limits and its largest count of devices."""

    question: Question
    strategy: str
    allowed: Allowed
    most: int


@dataclass(frozen=True)
class Compared:
    """USD of the search and of looking at everything (None: nothing keeps the limits), and how many
    places were replayed by each."""

    asked: Asked
    found: float | None
    best: float | None
    looked: int
    places: int

    @property
    def is_worse(self) -> bool:
        if self.found is None or self.best is None:
            return self.found != self.best
        return self.found > self.best * (1 + ALIKE)


def drawn(chance: random.Random) -> Asked:
    model = chance.choice(sorted(MODELS))
    strategy = chance.choice(MODELS[model])
    fields = {
        "model": model,
        "strategy": [strategy],
        "samples": chance.choice([500, 5_000, 50_000]),
        "tokens_per_sample": float(chance.choice([64, 200, 900])),
        "epochs": chance.choice([1, 3]),
        "offline": True,
    }
    if chance.random() < 0.9:
        fields["gpu"] = chance.choice(GPUS)
    if chance.random() < 0.5:
        fields["global_batch"] = chance.choice([8, 32, 128])
    limits = {}
    if chance.random() < 0.6:
        limits["hours"] = 10 ** chance.uniform(-1.5, 1.5)
    if chance.random() < 0.3:
        limits["usd"] = 10 ** chance.uniform(-1, 2.5)
    return Asked(Question(**fields), strategy, Allowed(**limits), chance.choice([1, 2, 8, 16, 64]))


def compared(asked: Asked) -> Compared:
    counts = counts_up_to(asked.most)
    quick = survey(understand(asked.question), counts=counts, apart=True)
    found = quick.cheapest(asked.strategy, asked.allowed)
    whole = survey(understand(asked.question), counts=counts, apart=True)
    whole.prove_all()
    able = [one for one in whole.of(asked.strategy) if one.keeps(asked.allowed)]
    return Compared(
        asked,
        _usd(found),
        _usd(min(able, key=lambda one: one.order, default=None)),
        sum(place.is_proven for place in quick.places()),
        len(quick.places()),
    )


def _usd(one: Candidate | None) -> float | None:
    return None if one is None else one.usd


def asked_and_compared(count: int, seed: int) -> list[Compared]:
    chance, made = random.Random(seed), []
    while len(made) < count:
        try:
            made.append(compared(drawn(chance)))
            print(f"{len(made)}/{count}", file=sys.stderr)
        except PlannerError as error:
            print(f"not asked: {error}", file=sys.stderr)
    return made


def seconds_at(most: int, model: str = "Llama-3.1-8B") -> float:
    """Of one whole ``planner choose --up-to``, in a warm process."""
    question = Question(
        model=model, strategy=["scratch"], tokens_per_sample=4096.0, offline=True, **LARGE
    )
    began = time.perf_counter()
    decide(question, up_to=most)
    return time.perf_counter() - began


def page(rows: list[Compared], seconds: dict[int, float], count: int, seed: int) -> str:
    worse = [row for row in rows if row.is_worse]
    nothing = sum(row.best is None for row in rows)
    replayed = sum(row.looked for row in rows) / max(1, sum(row.places for row in rows))
    lines = [
        "# The search over devices beside looking at everything",
        "",
        f"Written by `python benchmarks/search_layouts.py --questions {count} --seed {seed}",
        f"--write docs/search_layouts.md`, on {platform.machine()} with {os.cpu_count()} cores; "
        "nothing is edited by hand.",
        "",
        f"- {len(rows)} random questions: the search is worse in {len(worse)}; in {nothing} of "
        "them nothing keeps the limits, by both.",
        f"- It replays {replayed:.0%} of the places (strategy, device, count, sharing) that "
        "looking at everything replays.",
        "",
        "| devices up to | seconds of `planner choose --up-to` |",
        "| --: | --: |",
        *(f"| {most:,} | {value:.1f} |" for most, value in seconds.items()),
        "",
        "Llama-3.1-8B from scratch on H100, 41 billion tokens, 1,024 samples a step, every "
        "provider; copies, FSDP over all devices, and FSDP inside each node.",
    ]
    lines += ["", *(f"- worse: {row}" for row in worse)] if worse else []
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there")
    options = parser.parse_args(arguments)
    rows = asked_and_compared(options.questions, options.seed)
    seconds = {most: seconds_at(most) for most in (8, 1024, MOST)}
    made = page(rows, seconds, options.questions, options.seed)
    if options.write:
        write(options.write, made)
    print(made)
    return int(any(row.is_worse for row in rows))


if __name__ == "__main__":
    sys.exit(main())
