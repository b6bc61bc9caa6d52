"""Published training bills beside ours: GPU hours of whole runs, error per row, and which rows
cannot be answered.

    python benchmarks/published_bills.py [--only ID ...] [--write docs/published_bills.md]

Ours is the planner's own step time of the real model on one device (or on one host, by its data
parallelism, where the run had at most eight), times the samples. The planner has no sharded, tensor
or pipeline parallelism, so memory is not judged, and what a cluster loses is a stated factor of
``profiles/claims/facts.csv``: scaling, and the share of time that trains. Nothing is fitted to
these bills. The rows are ``profiles/measured/published_totals.csv``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from planner import (  # noqa: E402
    estimate,
    tables,  # noqa: E402
)
from planner.cost.prices.offers import Offer, offers  # noqa: E402
from planner.errors import PlannerError, ProfileError  # noqa: E402
from planner.figures import Estimate  # noqa: E402
from planner.trace.source import cache_folder  # noqa: E402
from planner.units import SECONDS_PER_HOUR, format_count, format_usd  # noqa: E402
from planner.validate.architectures import resolvable  # noqa: E402

#: Devices of the largest host that data parallelism is planned for.
HOST_GPUS = 8
#: What the report calls the tasks; a factory has none.
KINDS = {"causal_lm": "language models", "masked_lm": "encoders", "contrastive": "image and text"}
#: Micro-batches of an optimizer step: a cluster shards the optimizer's work, here it is spread over
#: this many.
ACCUMULATION = 16


@dataclass(frozen=True)
class Bill:
    """A published run. ``gpu_hours`` over all devices; ``amount`` in ``unit`` (tokens or samples);
    None where not published."""

    id: str
    name: str
    gpu: str
    gpus: int | None
    gpu_hours: float | None
    usd: float | None
    parameters: float | None
    amount: float | None
    unit: str
    sequence_length: int | None
    refused: str
    row: dict[str, str]

    @property
    def samples(self) -> float:
        return self.amount / self.sequence_length if self.unit == "tokens" else self.amount

    @property
    def hosts_gpus(self) -> int:
        """Devices that are planned together: those of the run where one host holds them, else
        one."""
        return self.gpus if self.gpus and self.gpus <= HOST_GPUS else 1


@dataclass(frozen=True)
class Answered:
    """Our GPU hours beside the published ones. ``error``: ours over theirs, less one."""

    bill: Bill
    gpu_hours: Estimate
    mfu: float | None

    @property
    def error(self) -> float:
        return self.gpu_hours.p50 / self.bill.gpu_hours - 1

    @property
    def covered(self) -> bool:
        return self.gpu_hours.p10 <= self.bill.gpu_hours <= self.gpu_hours.p90


@cache
def fact(key: str) -> Estimate:
    """A row of ``profiles/claims/facts.csv``: low, middle, high. Raises ProfileError for a key that
    it lacks."""
    for row in tables.rows("claims", "facts.csv"):
        if row["key"] == key:
            return Estimate(float(row["low"]), float(row["middle"]), float(row["high"]))
    raise ProfileError(f"no fact {key!r}", where="profiles/claims/facts.csv")


def bills() -> list[Bill]:
    return [_bill(row) for row in tables.rows("measured", "published_totals.csv")]


def _bill(row: dict[str, str]) -> Bill:
    def whole(cell: str) -> int | None:
        return int(cell) if cell else None

    return Bill(
        row["id"],
        row["name"],
        row["gpu"],
        whole(row["gpus"]),
        tables.number(row["gpu_hours"]),
        tables.number(row["usd_stated"]),
        tables.number(row["params"]),
        tables.number(row["amount"]),
        row["unit"],
        whole(row["sequence_length"]),
        row["refused"],
        row,
    )


def question(bill: Bill) -> dict:
    """The fields of the planner's question for the step of this run."""
    row, micro = bill.row, int(bill.row["micro_batch"])
    model = resolvable(
        row["model"],
        json.loads(row["architecture"]) if row["architecture"] else None,
        cache_folder() / "published",
    )
    asked = {
        "question": model,
        "strategy": row["strategy"],
        "gpu": bill.gpu,
        "gpus": bill.hosts_gpus,
        "samples": math.ceil(bill.samples),
        "tokens_per_sample": bill.sequence_length,
        "max_length": bill.sequence_length,
        "padding": "max",
        "precision": row["precision"],
        "attention": row["attention"],
        "gradient_checkpointing": row["gradient_checkpointing"],
        "micro_batch": micro,
        "global_batch": micro * ACCUMULATION * bill.hosts_gpus,
        "epochs": 1,
        "price": 1.0,
        "offline": True,
    }
    return (
        asked
        | ({"task": row["task"]} if row["task"] else {})
        | ({"image_size": int(row["image_size"])} if row["image_size"] else {})
    )


def answer(bill: Bill, *, ask=estimate) -> Answered:
    """Raises PlannerError where the planner cannot answer."""
    steps = [(stage, ask(**question(stage))["options"][0]["step"]) for stage in stages(bill)]
    hours = [_device_hours(stage, step) for stage, step in steps]
    # The stages share the errors of one device and one kind of model, so their ranges add and do
    # not cancel.
    total = Estimate(
        sum(h.p10 for h in hours), sum(h.p50 for h in hours), sum(h.p90 for h in hours)
    )
    if bill.hosts_gpus == 1 and bill.gpus != 1:
        total = total * inverse(fact("cluster_scaling")) * inverse(fact("effective_time"))
    return Answered(bill, total, steps[-1][1]["mfu"])


def _device_hours(stage: Bill, step: dict) -> Estimate:
    samples = step["micro_batch_size"] * step["gradient_accumulation"] * stage.hosts_gpus
    seconds = Estimate(*(step["seconds"][key] for key in ("p10", "p50", "p90")))
    return seconds.scale(stage.hosts_gpus / samples / SECONDS_PER_HOUR * stage.samples)


def stages(bill: Bill) -> list[Bill]:
    """The run, or the runs one after another that it was made of, each with its own model and
    amount."""
    parts = json.loads(bill.row["parts"]) if bill.row["parts"] else []
    return [
        replace(bill, amount=float(part["amount"]), row={**bill.row, "model": part["model"]})
        for part in parts
    ] or [bill]


def inverse(figure: Estimate) -> Estimate:
    return Estimate(1 / figure.p90, 1 / figure.p50, 1 / figure.p10)


@cache
def price_date() -> date:
    """The day whose prices are taken, a row of ``facts.csv``: price rows are dated and stay, so
    that bills can be made again."""
    row = next(row for row in tables.rows("claims", "facts.csv") if row["key"] == "price_day")
    return date.fromisoformat(row["date"])


@cache
def list_prices(gpu: str, gpus: int = 1) -> tuple[Offer, Offer] | None:
    """(cheapest, dearest) on-demand offer of firm prices on ``price_date``, by USD per device-hour
    with whole instances."""
    found = [
        offer for offer in offers(gpu, gpus=gpus, on_date=price_date()) if not offer.is_marketplace
    ]
    by_provider: dict[str, Offer] = {}
    for offer in found:
        by_provider.setdefault(offer.provider, offer)
    return (
        (found[0], max(by_provider.values(), key=lambda o: o.usd_per_hour_for(gpus)))
        if found
        else None
    )


def usd(gpu: str, gpu_hours: Estimate) -> Estimate | None:
    """Dollars from the cheapest provider at p10 and p50 to the dearest at p90; None where nobody
    lists the device."""
    found = list_prices(gpu, HOST_GPUS)
    if found is None:
        return None
    low, high = (offer.usd_per_hour_for(HOST_GPUS) / HOST_GPUS for offer in found)
    return Estimate(gpu_hours.p10 * low, gpu_hours.p50 * low, gpu_hours.p90 * high)


def report(answered: list[Answered], refused: list[tuple[Bill, str]]) -> str:
    """Markdown: the table, the median error, and what was not answered."""
    lines = [
        _HEAD.format(
            date=price_date(),
            scaling=fact("cluster_scaling").p50,
            effective=fact("effective_time").p50,
            accumulation=ACCUMULATION,
        ),
        "| run | GPU | amount | published GPU h | ours (p10 to p90) | error | inside | our MFU "
        "| our bill, cheapest list price | stated |",
        "| --- | --- | --: | --: | --- | --: | --- | --: | --: | --: |",
    ]
    lines += [_line(one) for one in answered]
    if answered:
        errors = [one.error for one in answered]
        inside = sum(one.covered for one in answered)
        lines += [
            "",
            f"{len(answered)} runs: median error {statistics.median(errors):+.0%}, median "
            "absolute error "
            f"{statistics.median(abs(e) for e in errors):.0%}; {inside} of {len(answered)} "
            "inside p10 to p90. "
            "Runs whose published time is rounded or second-hand (trust L) are counted. By "
            f"kind, median error: {_by_kind(answered)}.",
        ]
    lines += ["", "## What each answer assumes", ""] + [
        f"- **{one.bill.name}**: {one.bill.row['assumed']}. Published time: "
        f"{one.bill.row['gpu_hours_how']}; "
        f"{one.bill.row['source']}."
        for one in answered
    ]
    lines += ["", f"## Not answered ({len(refused)})", ""] + [
        f"- **{bill.name}** ({_hours(bill)}): {reason}." for bill, reason in refused
    ]
    return "\n".join(lines) + "\n"


def _by_kind(answered: list[Answered]) -> str:
    groups: dict[str, list[float]] = {}
    for one in answered:
        groups.setdefault(KINDS.get(one.bill.row["task"], "diffusion"), []).append(one.error)
    return ", ".join(
        f"{kind} {statistics.median(errors):+.0%} ({len(errors)})"
        for kind, errors in groups.items()
    )


def _line(one: Answered) -> str:
    bill, hours = one.bill, one.gpu_hours
    dollars = usd(bill.gpu, hours)
    return (
        f"| {bill.name} | {'' if bill.gpus is None else f'{bill.gpus}× '}{bill.gpu} | "
        f"{format_count(bill.amount)} {bill.unit} | {bill.gpu_hours:,.0f} | "
        f"{_compact(hours.p50)} ({_compact(hours.p10)} to {_compact(hours.p90)}) | "
        f"{one.error:+.0%} | {'yes' if one.covered else 'no'} | "
        f"{'' if one.mfu is None else f'{one.mfu:.0%}'} | "
        f"{'' if dollars is None else format_usd(dollars.p50)} | "
        f"{'' if bill.usd is None else format_usd(bill.usd)} |"
    )


def _compact(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _hours(bill: Bill) -> str:
    return "GPU hours not published" if bill.gpu_hours is None else f"{bill.gpu_hours:,.0f} GPU h"


_HEAD = """# Published training bills beside ours

Written by `python benchmarks/published_bills.py --write docs/published_bills.md`; every number
comes out of it.

Ours: the step time of the real model, from its trace and the GPU's datasheet, times the samples.
Runs on at most eight GPUs are planned on such a host with data parallelism. The planner has no
sharded, tensor or pipeline parallelism: for larger runs it is the step of a single device, whose
memory is not judged, with the optimizer's work spread over {accumulation} micro-batches, divided
by what a cluster keeps of a host's speed ({scaling:.2f}) and by the share of the time that trains
({effective:.2f}); both are rows of `profiles/claims/facts.csv` with their sources, and neither is
fitted to these bills. Which rows can be asked, and how, was written down before they were
answered; afterwards only two things changed: Falcon 7B's row says why it is far off, and the two
Stable Diffusion runs, refused at first, got a factory. Dollars: the cheapest list price for eight
GPUs of the kind on {date}, without storage, people and failed attempts.
"""


def isolated() -> None:
    """Without this machine's own calibrations, corrections and ledger: the answer is the same
    everywhere."""
    os.environ["PLANNER_DEVICES"] = tempfile.mkdtemp(prefix="planner-devices-")


def collect(wanted: list[Bill]) -> tuple[list[Answered], list[tuple[Bill, str]]]:
    answered, refused = [], [(bill, bill.refused) for bill in wanted if bill.refused]
    for bill in wanted:
        if not bill.refused:
            try:
                answered.append(answer(bill))
            except PlannerError as error:
                refused.append((bill, f"the planner refuses: {error}"))
    return answered, refused


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", help="ids of rows")
    parser.add_argument(
        "--write", type=Path, help="write the Markdown there instead of printing it"
    )
    options = parser.parse_args(arguments)
    isolated()
    text = report(
        *collect([bill for bill in bills() if not options.only or bill.id in options.only])
    )
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
