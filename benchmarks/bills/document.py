"""The page of published bills: the table, what each answer assumes, the misses, what is not
answered."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.bills.asking import Answered
from benchmarks.bills.bill import Bill
from benchmarks.bills.prices import price_date, usd
from planner.units import format_count, format_usd

HEAD = """# Published training bills beside ours

Written by `python benchmarks/published_bills.py --write docs/published_bills.md`; every number
comes out of it.

Ours: the whole run as the planner answers it, with the layout that the authors published (devices,
ranks, stages, sharding, micro-batch, recomputation, the software of the day), from the datasheet:
steps, what long runs take beyond clean ones, waiting for the slowest, failures, checkpoints. "Steps
alone" is the error of clean steps, without any of that. Nothing is fitted to these bills; no
factor stands for a cluster. What a layout leaves open is filled in by one rule a kind, said at each
row, and memory that does not fit by ours is marked, not refused. Dollars: the cheapest list price
for eight GPUs of the kind on {date}, without storage, people and failed attempts.

The layouts were written down before they were answered. Changed after a first look, each for a
reason outside the planner: LLaMA's and Llama 2's gradients are summed by all-reduce, as LLaMA's
section 2.4 says (first asked as FSDP), Llama 3's small models share state as its paper says of the
large one (first as FSDP), and GPUs that are not published leave each 8,192 tokens of a step as
the rule says (first each group of ranks); Stable Diffusion's hours are of all versions whose cards
state them (first of one); GPT-2's vocabulary is padded and it has no dropout, as in llm.c; GPT-3's
weights are in 16 bits, as in the tables of Megatron-LM; OpenCLIP's loaders have the 8 workers of
its README; llm.c saves as often as its command says; rates that authors give as hours (LLaMA,
TinyLlama, GPT-3, OPT's steady days) are compared without what interrupts a run.
"""
COLUMNS = (
    "run",
    "GPUs",
    "layout",
    "amount",
    "published GPU h",
    "ours (p10 to p90)",
    "error",
    "steps alone",
    "inside",
    "our MFU",
    "our bill, cheapest list price",
    "stated",
)
NUMERIC = "-: "
TRUSTED = ("H", "M")


def document(
    answered: Sequence[Answered], refused: Sequence[tuple[Bill, str]], misses: str = ""
) -> str:
    """Markdown. ``misses``: what is known of them, a section of its own."""
    parts = [HEAD.format(date=price_date()), *_table(answered)]
    if answered:
        parts += ["", *_summary(answered)]
    if misses:
        parts += ["", misses.strip()]
    parts += ["", "## What each answer assumes", "", *map(_assumed, answered)]
    parts += ["", f"## Not answered ({len(refused)})", ""]
    parts += [f"- **{bill.name}** ({_hours(bill)}): {reason}." for bill, reason in refused]
    return "\n".join(parts) + "\n"


def _table(answered: Iterable[Answered]) -> Iterator[str]:
    yield "| " + " | ".join(COLUMNS) + " |"
    words = ("run", "GPUs", "layout", "ours (p10 to p90)", "inside")
    yield "| " + " | ".join("---" if name in words else "--:" for name in COLUMNS) + " |"
    yield from map(_line, answered)


def _summary(answered: Sequence[Answered]) -> Iterator[str]:
    inside = sum(one.covered for one in answered)
    yield (
        f"{len(answered)} runs: {_figures([one.error for one in answered])}; {inside} of "
        f"{len(answered)} inside p10 to p90. Of steps alone: "
        f"{_figures([one.clean_error for one in answered])}."
    )
    stated = [one for one in answered if one.bill.row["trust"] in TRUSTED]
    if len(stated) < len(answered):
        yield ""
        yield (
            f"Without runs whose time is rounded or second-hand (trust L), {len(stated)}: "
            f"{_figures([one.error for one in stated])}."
        )
    yield ""
    yield "| kind | runs | median error | median absolute error |"
    yield "| --- | --: | --: | --: |"
    kinds: dict[str, list[float]] = {}
    for one in answered:
        kinds.setdefault(one.bill.kind, []).append(one.error)
    for kind, errors in kinds.items():
        middle, absolute = statistics.median(errors), statistics.median(map(abs, errors))
        yield f"| {kind} | {len(errors)} | {middle:+.0%} | {absolute:.0%} |"


def _figures(errors: Sequence[float]) -> str:
    return (
        f"median error {statistics.median(errors):+.0%}, median absolute error "
        f"{statistics.median(map(abs, errors)):.0%}"
    )


def _line(one: Answered) -> str:
    bill, hours = one.bill, one.gpu_hours
    assert bill.amount is not None
    dollars = usd(bill.gpu, hours)
    count = f"{bill.gpus}" if bill.gpus else f"({bill.planned_gpus})"
    cells = (
        bill.name + ("" if one.fits else " (does not fit by ours)"),
        f"{count}× {bill.gpu}",
        bill.layout,
        f"{format_count(bill.amount)} {bill.unit}",
        _compact(bill.gpu_hours or 0.0),
        f"{_compact(hours.p50)} ({_compact(hours.p10)} to {_compact(hours.p90)})",
        f"{one.error:+.0%}",
        f"{one.clean_error:+.0%}",
        "yes" if one.covered else "no",
        "" if one.mfu is None else f"{one.mfu:.0%}",
        "" if dollars is None else format_usd(dollars.p50),
        "" if bill.usd is None else format_usd(bill.usd),
    )
    return "| " + " | ".join(cells) + " |"


def _assumed(one: Answered) -> str:
    row = one.bill.row
    layout = f" Layout: {row['layout_source']}." if row["layout_source"] else ""
    amount = f" Amount: {row['amount_source']}." if row["amount_source"] else ""
    return (
        f"- **{one.bill.name}**: {row['assumed']}. Published time: {row['gpu_hours_how']}; "
        f"{row['source']}.{layout}{amount}"
    )


def _compact(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _hours(bill: Bill) -> str:
    return "GPU hours not published" if bill.gpu_hours is None else f"{bill.gpu_hours:,.0f} GPU h"
