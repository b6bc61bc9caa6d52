"""What a validation found, as a terminal's sections, Markdown and JSON. The arithmetic is the
ledger's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from planner.report.views import accuracy as accuracy_view
from planner.report.views.device import Section
from planner.report.views.table import Table
from planner.report.words import bytes_text, clean, seconds_text
from planner.validate.cases import LEDGER, Refused
from planner.validate.summaries import Comparison, ErrorSummary, by, count_by, judge
from planner.validate.validate import ACCOUNTS, Validation

#: What errors are broken down by, and the heading.
GROUPS = {"gpu": "device", "family": "family", "strategy": "strategy", "basis": "basis"}
BROKEN_DOWN = ("time", "allocated", "reserved", "device", "hours", "usd")
MOST_ROWS, WORST, REASONS, LONGEST = 24, 10, 12, 160
NAMES = {
    "time": "step time",
    "forward": "forward pass",
    "allocated": "memory, allocated",
    "reserved": "memory, reserved",
    "device": "memory, whole device",
    "context": "memory, context",
    "hours": "hours of the run",
    "usd": "cost",
}


def sections(v: Validation, problems: Sequence[str] = (), left_out_rows: int = 0) -> list[Section]:
    """The three accounts, today's errors broken down, verdicts, the worst runs with why, and what
    was not judged."""
    today = getattr(v, v.today)
    found = [Section("How far estimates are off", table=_accounts(v))]
    for name, heading in GROUPS.items():
        rows = by((c for c in today if c.quantity in BROKEN_DOWN), "quantity", name)
        if len({key[1] for key in rows}) > 1:
            most = sorted(rows.items(), key=lambda item: -item[1].count)[:MOST_ROWS]
            more = (
                f" (the {MOST_ROWS} with most runs of {len(rows)})" if len(rows) > MOST_ROWS else ""
            )
            shown = sorted(
                most, key=lambda item: (list(NAMES).index(item[0][0]), -item[1].count, item[0])
            )
            found.append(
                Section(
                    f"By {heading}{more}",
                    table=_table(
                        [
                            (f"{NAMES[q]}, {clean(group).replace('_', ' ')}", s)
                            for (q, group), s in shown
                        ]
                    ),
                )
            )
    found += [
        _verdicts(v),
        Section(
            "The worst, and what they rest on",
            lines=_worst([c for c in today if c.quantity in BROKEN_DOWN]),
        ),
    ]
    return [s for s in found if s.pairs or s.lines or (s.table and s.table.rows)] + _left(
        v.refused, problems, left_out_rows
    )


def _accounts(v: Validation) -> Table:
    accounts = (
        ("plain", ""),
        ("left_out", ", corrected by other runs"),
        ("in_force", ", with your corrections"),
    )
    several = len({c.basis for c in v.plain}) > 1
    keys = ("quantity", "basis") if several else ("quantity",)
    rows = [
        ((list(NAMES).index(key[0]), *key[1:]), f"{', '.join((NAMES[key[0]], *key[1:]))}{text}", s)
        for account, text in accounts
        for key, s in by(getattr(v, account), *keys).items()
    ]
    return _table([(what, s) for _, what, s in sorted(rows, key=lambda row: row[0])])


def _table(rows: Sequence[tuple[str, ErrorSummary]]) -> Table:
    head = ("", "runs", "median error", "p90", "worst", "bias", "covered")
    return Table(
        head,
        tuple(
            (
                what,
                f"{s.count:,}",
                _share(s.median),
                _share(s.p90),
                _share(s.worst),
                f"{s.bias_percent:+.1f} %",
                _share(s.coverage),
            )
            for what, s in rows
        ),
    )


def _share(value: float) -> str:
    return f"{100 * value:,.1f} %" if value < 10 else f"{100 * value:,.0f} %"


def _verdicts(v: Validation) -> Section:
    s = judge(v.verdicts)
    if not s.ran_out and not s.false_refusals:
        return Section("")
    pairs = [
        ("ran out of memory", f"{s.ran_out}, of which called fitting: {len(s.false_fits)}"),
        ("ran", f"{s.ran}, of which called not fitting: {len(s.false_refusals)}"),
    ]
    pairs += (
        [("called fitting, ran out", clean(", ".join(s.false_fits[:6])))] if s.false_fits else []
    )
    pairs += (
        [("called not fitting, ran", clean(", ".join(s.false_refusals[:6])))]
        if s.false_refusals
        else []
    )
    return Section("Fits or not", tuple(pairs))


def _worst(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    found = sorted(comparisons, key=lambda c: -abs(c.log_ratio))[:WORST]
    return tuple(
        f"{_run(c)} on {clean(c.gpu)}, {NAMES[c.quantity]}: "
        f"{figure_text(c.quantity, c.measured)} measured, {figure_text(c.quantity, c.p50)} "
        "estimated"
        f" ({'inside' if c.covered else 'outside'} its interval)"
        + "".join(f". {part}" for part in (_sentence(c.why), _assumed(c)) if part)
        for c in found
    )


def _run(c: Comparison) -> str:
    """A table's own name of the run; of the ledger's, what it was."""
    return (
        f"{clean(c.model).rpartition('/')[2]} {c.strategy.replace('_', ' ')} ({c.case_id[:6]})"
        if c.table == LEDGER
        else clean(c.case_id)
    )


def _sentence(text: str) -> str:
    return clean(text[:1].upper() + text[1:])


def _assumed(c: Comparison) -> str:
    """What the run leaves open, cut at a word."""
    text = clean(c.assumed)
    return (
        f"Left open: {text if len(text) <= LONGEST else text[:LONGEST].rpartition(' ')[0] + ' …'}"
        if text
        else ""
    )


def figure_text(quantity: str, value: float) -> str:
    if quantity in ("time", "forward"):
        return seconds_text(value)
    return (
        f"{value:,.2f} h"
        if quantity == "hours"
        else f"${value:,.2f}"
        if quantity == "usd"
        else bytes_text(value)
    )


def _left(refused: Sequence[Refused], problems: Sequence[str], rows: int) -> list[Section]:
    found = []
    if problems:
        title = "What could not be read" + (
            f": {rows:,} row{'' if rows == 1 else 's'}" if rows else ""
        )
        found.append(Section(title, lines=tuple(clean(line) for line in problems)))
    if refused:
        reasons = count_by(refused, lambda r: r.reason)
        lines = [f"{count:,} × {clean(reason)}" for reason, count in reasons[:REASONS]]
        lines += [f"… and {len(reasons) - REASONS} other reasons"] if len(reasons) > REASONS else []
        found.append(Section(f"Not judged: {len(refused):,}", lines=tuple(lines)))
    return found


def document(
    v: Validation, asked: dict[str, Any], broken: Sequence[str], problems: Sequence[str] = ()
) -> dict[str, Any]:
    """One JSON document: each account's errors over all and by every grouping, verdicts, the worst,
    what was not judged."""
    accounts = {
        account: {
            "+".join(group) or "all": [
                {**dict(zip(("quantity", *group), key)), **dataclasses.asdict(s)}
                for key, s in by(getattr(v, account), "quantity", *group).items()
            ]
            for group in ((), *((g,) for g in GROUPS))
        }
        for account in ACCOUNTS
    }
    verdicts = judge(v.verdicts)
    worst = sorted(getattr(v, v.today), key=lambda c: -abs(c.log_ratio))[: 2 * WORST]
    return {
        "schema": 1,
        "asked": asked,
        "runs": v.cases,
        "machine": accuracy_view.machine(),
        "today": v.today,
        "accounts": accounts,
        "verdicts": dataclasses.asdict(verdicts),
        "worst": [finite(dataclasses.asdict(c)) for c in worst],
        "comparisons": [finite(dataclasses.asdict(c)) for c in getattr(v, v.today)],
        "not_judged": [
            {"reason": reason, "count": count}
            for reason, count in count_by(v.refused, lambda r: r.reason)
        ],
        "not_read": list(problems),
        "limits_broken": list(broken),
    }


def finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no name for what is not finite."""
    return {
        name: None if isinstance(value, float) and not abs(value) < float("inf") else value
        for name, value in values.items()
    }


def markdown(
    v: Validation,
    title: str,
    broken: Sequence[str],
    problems: Sequence[str] = (),
    left_out_rows: int = 0,
    plot: str | None = None,
) -> str:
    """The sections as Markdown."""
    lines = [
        f"# {title}",
        "",
        f"{v.cases:,} runs asked again. An estimate's error is |estimate − measured| / "
        "measured; bias is its median, signed; "
        "covered: measurements within the estimate's 80 % interval. No run is judged by a "
        "correction that it taught.",
        "",
    ]
    lines += [f"Limit broken: {line}" for line in broken] + ([""] if broken else [])
    lines += [f"![Estimate over measurement]({plot})", ""] if plot else []
    for section in sections(v, problems, left_out_rows):
        lines += [f"## {section.title}", ""]
        lines += [f"- {left}: {right}" for left, right in section.pairs] + [
            f"- {line}" for line in section.lines
        ]
        if section.table:
            lines += [
                "| " + " | ".join(section.table.headers) + " |",
                "|" + " --- |" * len(section.table.headers),
            ]
            lines += [
                "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"
                for row in section.table.rows
            ]
        lines.append("")
    facts = "; ".join(f"{name} {value}" for name, value in accuracy_view.machine().items())
    return "\n".join([*lines, f"Made with: {facts}."]) + "\n"
