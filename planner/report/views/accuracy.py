"""Accuracy as text: terminal lines, Markdown and JSON from the same summaries. No arithmetic on
cases here."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from planner.validate.cases import Refused
from planner.validate.summaries import (
    Comparison,
    ErrorSummary,
    Verdict,
    VerdictSummary,
    by,
    count_by,
    judge,
)

GROUPS = (("table",), ("basis",), ("strategy",), ("gpu",), ("table", "gpu", "strategy"))
MOST_ASSUMPTIONS = 6  # a source
LIBRARIES = ("torch", "transformers", "peft", "timm", "torchvision", "numpy")


def machine() -> dict[str, str]:
    """What the figures were made on: the machine and the versions, without importing any of the
    libraries."""
    return {
        "machine": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("planner", *LIBRARIES)},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def document(
    comparisons: Sequence[Comparison],
    verdicts: Sequence[Verdict],
    refused: Sequence[Refused],
    asked: dict,
) -> dict:
    """Everything as one JSON document: the request, the machine, summaries by every grouping,
    verdicts, what was not asked."""
    return {
        "asked": asked,
        "machine": machine(),
        "summaries": {
            "+".join(group): [
                {**dict(zip(("quantity", *group), key)), **dataclasses.asdict(s)}
                for key, s in by(comparisons, "quantity", *group).items()
            ]
            for group in ((), *GROUPS)
        },
        "verdicts": {
            "all": dataclasses.asdict(judge(verdicts)),
            **{
                t: dataclasses.asdict(judge(v for v in verdicts if v.table == t))
                for t in sorted({v.table for v in verdicts})
            },
        },
        "not_asked": [
            {"table": t, "reason": reason, "count": n}
            for (t, reason), n in count_by(refused, lambda r: (r.table, r.reason))
        ],
        "worst": [
            dataclasses.asdict(c) for c in sorted(comparisons, key=lambda c: -c.relative_error)[:20]
        ],
    }


def markdown(
    comparisons: Sequence[Comparison],
    verdicts: Sequence[Verdict],
    refused: Sequence[Refused],
    asked: dict,
) -> str:
    """The report as Markdown, which reads well in a terminal too."""
    facts = "; ".join(f"{name} {value}" for name, value in machine().items())
    parts = [
        f"Cases: {asked['cases']} of {asked['rows']} rows asked ({asked['description']}).",
        f"Made on: {facts}.",
        "",
        _table("All", by(comparisons, "quantity"), ()),
    ]
    parts += [
        _table(f"By {' and '.join(group)}", by(comparisons, "quantity", *group), group)
        for group in GROUPS
    ]
    parts += [
        _left_open(comparisons),
        _verdicts(judge(verdicts)),
        _refusals(refused),
        _worst(comparisons),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _table(
    title: str, summaries: dict[tuple[str, ...], ErrorSummary], group: tuple[str, ...]
) -> str:
    head = [
        "quantity",
        *group,
        "n",
        "median error",
        "p90 error",
        "worst",
        "bias",
        "80 % interval covers",
        "worst case",
    ]
    lines = [
        f"### {title}",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "|".join(" --- " if i <= len(group) else " --: " for i in range(len(head))) + "|",
    ]
    for key, s in summaries.items():
        cells = [
            *key,
            str(s.count),
            _percent(s.median),
            _percent(s.p90),
            _percent(s.worst),
            f"{s.bias_percent:+.1f} %",
            _percent(s.coverage),
            s.worst_case,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""]) if summaries else f"### {title}\n\nNothing to compare.\n"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _left_open(comparisons: Sequence[Comparison]) -> str:
    """What each source leaves open, as it was assumed to ask the question at all, and of how many
    runs."""
    runs = {(c.table, c.assumed, c.case_id) for c in comparisons if c.assumed}
    lines = ["### What the sources leave open, and what was assumed", ""]
    for table in sorted({table for table, _, _ in runs}):
        found = count_by((entry for entry in runs if entry[0] == table), lambda entry: entry[1])
        lines += [
            f"- {table}, {count} run{'' if count == 1 else 's'}: {assumed}"
            for assumed, count in found[:MOST_ASSUMPTIONS]
        ]
        rest = found[MOST_ASSUMPTIONS:]
        lines += (
            [
                f"- {table}: {len(rest)} more, on {sum(count for _, count in rest)} runs, in "
                "the column `assumed` of its table"
            ]
            if rest
            else []
        )
    stated = sorted({c.table for c in comparisons} - {table for table, _, _ in runs})
    return "\n".join([*lines, *([f"- Nothing: {', '.join(stated)}"] if stated else []), ""])


def _verdicts(summary: VerdictSummary) -> str:
    share = summary.false_refusal_share
    lines = [
        "### Fits or not",
        "",
        f"- Ran out of memory: {summary.ran_out} runs; called fitting by the planner: "
        f"{len(summary.false_fits)} (must be 0).",
        f"- Ran: {summary.ran} runs; called not fitting: {len(summary.false_refusals)}"
        + (f" ({_percent(share)})." if share is not None else "."),
        f"- No verdict: {summary.no_verdict}.",
    ]
    lines += [f"- Called fitting but ran out: `{name}`" for name in summary.false_fits]
    lines += [f"- Called not fitting but ran: `{name}`" for name in summary.false_refusals[:30]]
    return "\n".join([*lines, ""])


def _refusals(refused: Sequence[Refused]) -> str:
    lines = [f"### Not asked: {len(refused)} rows", ""]
    lines += [
        f"- {table}: {reason}: {n}"
        for (table, reason), n in count_by(refused, lambda r: (r.table, r.reason))[:80]
    ]
    return "\n".join([*lines, ""])


def _worst(comparisons: Sequence[Comparison]) -> str:
    lines = [
        "### The ten worst",
        "",
        "| case | quantity | measured | predicted |",
        "| --- | --- | --: | --: |",
    ]
    lines += [
        f"| {c.case_id} | {c.quantity} | {c.measured:.4g} | {c.p50:.4g} |"
        for c in sorted(comparisons, key=lambda c: -c.relative_error)[:10]
    ]
    return "\n".join([*lines, ""])
