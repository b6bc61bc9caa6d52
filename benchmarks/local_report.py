"""The local runs as text and as JSON: predicted beside measured for each basis, then what the
errors come to."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.local_runs import BASES, LocalRun
from planner.report.views.accuracy import machine
from planner.validate.summaries import quantile


def summary(runs: Sequence[LocalRun], basis: str) -> dict[str, Any] | None:
    """n, median and 95th percentile of the absolute error, the worst run, the median signed error,
    and the share of measurements within the 80 % interval. None where nothing was compared."""
    pairs = [(abs(e), e, run) for run in runs if (e := run.error(basis)) is not None]
    if not pairs:
        return None
    errors = [p[0] for p in pairs]
    worst = max(pairs, key=lambda p: p[0])
    inside = [
        said.p10 <= run.measured <= said.p90
        for _, _, run in pairs
        if (said := run.predicted[basis])
    ]
    return {
        "n": len(pairs),
        "median_error": statistics.median(errors),
        "p95_error": quantile(errors, 0.95),
        "worst_error": worst[0],
        "worst_run": worst[2].case.id,
        "bias": statistics.median(p[1] for p in pairs),
        "covered": sum(inside) / len(inside),
    }


def document(runs: Sequence[LocalRun], asked: dict[str, Any]) -> dict[str, Any]:
    """One JSON document: the machine, each run with its visits and predictions, the summaries by
    basis and by strategy."""
    return {
        "asked": asked,
        "machine": machine(),
        "runs": [_row(run) for run in runs],
        "summary": {basis: summary(runs, basis) for basis in BASES},
        "by_strategy": {
            s: {basis: summary([r for r in runs if r.case.strategy == s], basis) for basis in BASES}
            for s in sorted({r.case.strategy for r in runs})
        },
    }


def _row(run: LocalRun) -> dict[str, Any]:
    case = run.case
    return {
        "run": case.id,
        "model": case.model,
        "strategy": case.strategy,
        "precision": case.precision,
        "micro_batch": case.micro_batch,
        "sequence_length": case.sequence_length,
        "measured_seconds": run.measured,
        "visits_seconds": run.visits,
        "scatter": run.scatter,
        "peaks": run.peaks,
        "out_of_memory": run.out_of_memory,
        "failed": run.failed,
        "predicted": {
            basis: dataclasses.asdict(said) | {"error": run.error(basis)}
            for basis, said in run.predicted.items()
        },
    }


def markdown(runs: Sequence[LocalRun], asked: dict[str, Any]) -> str:
    facts = "; ".join(f"{name} {value}" for name, value in machine().items())
    parts = [
        f"{len(runs)} runs on {asked['device_name']}, {asked['description']}.",
        f"Made with: {facts}.",
        "",
        *_steps(runs),
        "",
        *_summaries(runs),
    ]
    memory = _memory(runs)
    notes = _notes(runs) + [
        f"- {phase}: {doubt}"
        for phase, doubts in asked.get("doubts", {}).items()
        for doubt in doubts
    ]
    return (
        "\n".join([*parts, *([""] + memory if memory else []), *([""] + notes if notes else [])])
        + "\n"
    )


def _steps(runs: Sequence[LocalRun]) -> list[str]:
    head = [
        "run",
        "strategy",
        "precision",
        "batch",
        "measured ms",
        "between visits",
        *(f"{b} ms | error" for b in BASES),
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * 3 + " --: |" * (3 + 2 * len(BASES))]
    for run in runs:
        cells = [
            run.case.id,
            run.case.strategy,
            run.case.precision,
            str(run.case.micro_batch),
            _ms(run.measured),
            _share(run.scatter),
        ]
        for basis in BASES:
            said = run.predicted.get(basis)
            cells += [_ms(said.p50 if said else None), _signed(run.error(basis))]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _summaries(runs: Sequence[LocalRun]) -> list[str]:
    lines = [
        "| basis | n | median error | p95 error | worst | bias | 80 % interval covers | worst "
        "run |",
        "| --- |" + " --: |" * 6 + " --- |",
    ]
    for basis in BASES:
        s = summary(runs, basis)
        if s is None:
            lines.append(f"| {basis} | 0 |  |  |  |  |  |  |")
            continue
        lines.append(
            f"| {basis} | {s['n']} | {_share(s['median_error'])} | {_share(s['p95_error'])} | "
            f"{_share(s['worst_error'])} | {_signed(s['bias'])} | "
            f"{_share(s['covered'])} | {s['worst_run']} |"
        )
    scatter = [r.scatter for r in runs if r.scatter is not None]
    if scatter:
        lines += [
            "",
            f"Between the visits of a run: median {_share(statistics.median(scatter))}, "
            f"largest {_share(max(scatter))} of the measured time. "
            "No prediction can be judged more closely than that.",
        ]
    return lines


def _memory(runs: Sequence[LocalRun]) -> list[str]:
    """Peak memory, on devices whose allocator counts it: the bases differ in time, not in
    memory."""
    lines = []
    for run in runs:
        said = next((p for p in run.predicted.values() if p.allocated_bytes is not None), None)
        for name, peak in run.peaks.items():
            if said is not None:
                predicted = getattr(said, f"{name}_bytes")
                lines.append(
                    f"| {run.case.id} | {name} | {peak / 2**20:.0f} | {predicted / 2**20:.0f} "
                    f"| {_signed(predicted / peak - 1)} |"
                )
    return (
        [
            "| run | memory | measured MiB | predicted MiB | error |",
            "| --- | --- | --: | --: | --: |",
            *lines,
        ]
        if lines
        else []
    )


def _notes(runs: Sequence[LocalRun]) -> list[str]:
    notes = [f"- {r.case.id}: not measured: {r.failed}" for r in runs if r.failed]
    notes += [f"- {r.case.id}: ran out of memory" for r in runs if r.out_of_memory]
    for basis in BASES:
        reasons: dict[str, list[str]] = {}
        for r in runs:
            if (said := r.predicted.get(basis)) and said.refused:
                reasons.setdefault(said.refused, []).append(r.case.id)
        notes += [
            f"- {basis}: no prediction for "
            f"{', '.join(names) if len(names) < len(runs) else 'any run'}: {reason}"
            for reason, names in reasons.items()
        ]
    return notes


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e3 * seconds:.1f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.1f} %"
