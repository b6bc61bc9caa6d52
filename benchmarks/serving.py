"""Published measurements of serving beside the planner's: ``profiles/measured/serving.csv``.

python benchmarks/serving.py            # a table in Markdown
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from planner import tables
from planner.devices.lookup import find_device
from planner.plan.inputs.defaults import choose
from planner.plan.inputs.problem import understand
from planner.plan.serving import Serving, serve
from planner.question import Question

#: What the model was tuned by before it is served, and how many prompts are read together: neither
#: changes what is compared much.
STRATEGY, PROMPTS_AT_ONCE = "lora", 8


@dataclass(frozen=True)
class Compared:
    case: str
    quantity: str
    measured: float
    ours: float
    source: str

    @property
    def slower(self) -> float:
        """The planner's time over the measured time, as a logarithm: positive is cautious."""
        ratio = self.ours / self.measured
        return math.log(ratio if self.quantity == "token_seconds" else 1 / ratio)


def served(row: Mapping[str, str]) -> Serving:
    """The planner's serving of one row's case."""
    question = Question(
        model=row["model"],
        samples=1000,
        tokens_per_sample=300,
        gpu=row["gpu_key"],
        requests_per_month=1.0,
        output_tokens=float(row["output_tokens"]),
        prompt_tokens=float(row["prompt_tokens"]),
        concurrent_requests=int(row["at_once"]),
    )
    asked, spec = understand(question), find_device(row["gpu_key"])
    choices = choose(question, asked.facts, asked.data, STRATEGY, spec)
    return serve(
        question,
        asked.source(choices.with_checkpointing("none"), asked.facts),
        spec,
        offer=None,
        prices=None,
        mean_tokens=None,
        micro_batch=PROMPTS_AT_ONCE,
    )


def compared() -> Iterator[Compared]:
    for row in tables.rows("measured", "serving.csv"):
        found, at_once = served(row), int(row["at_once"])
        request_seconds = (
            found.prompt_seconds.p50
            + float(row["output_tokens"]) * found.token_seconds.p50 / at_once
        )
        ours = (
            found.token_seconds.p50 if row["quantity"] == "token_seconds" else 1 / request_seconds
        )
        yield Compared(
            f"{row['model']} on {row['gpu_key']}, {at_once} at once, {row['prompt_tokens']} "
            f"read, {row['output_tokens']} written",
            row["quantity"],
            float(row["value"]),
            ours,
            row["source"],
        )


def markdown(found: list[Compared]) -> str:
    lines = [
        "| case | quantity | measured | ours | our time over the measured | source |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {c.case} | {c.quantity} | {c.measured:.4g} | {c.ours:.4g} | "
        f"{math.exp(c.slower):.2f} | {c.source} |"
        for c in found
    ]
    off = statistics.median(abs(math.expm1(abs(c.slower))) for c in found)
    return "\n".join(
        [*lines, "", f"{len(found)} published measurements; the median error is {off:.0%}."]
    )


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    sys.stdout.write(markdown(list(compared())) + "\n")
