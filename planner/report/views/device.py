"""What is known of devices, as tables and lines: for ``planner devices`` and the end of ``planner
calibrate``. Words only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.errors import FieldName
from planner.report.views.table import DASH, Table
from planner.report.words import bytes_text, clean, count_text, seconds_text, share_text, value_text
from planner.units import GIGA, TERA

#: The host's costs that say most, in the order in which a step meets them.
HOST = {
    "forward_seconds": "an operation, forward",
    "backward_seconds": "an operation, backward",
    "optimizer_seconds": "an operation of the optimizer",
    "module_seconds": "a module's call",
    "whole.module_seconds": "a module within a model",
    "whole.pass_seconds": "a model's pass beside its modules",
    "whole.update_seconds": "an update beside its tensors",
    "step_seconds": "a step's own",
    "synchronise_seconds": "waiting for the device",
}
LISTED_DOUBTS = 8


@dataclass(frozen=True)
class Section:
    """A titled part of what is shown: pairs, a table, lines, or several of these."""

    title: str
    pairs: tuple[tuple[str, str], ...] = ()
    table: Table | None = None
    lines: tuple[str, ...] = ()


def listing(known: Sequence[Mapping[str, Any]]) -> Table:
    """One row a measured device, of summaries with ``file`` and ``shipped``."""
    rows = tuple(
        (
            clean(record["name"]),
            record["key"],
            "shipped" if record["shipped"] else "own",
            clean(record["date"] or DASH),
            clean(record["torch"] or DASH).partition("+")[0],
            f"{record['cases']:,}",
            error_text(record),
            str(len(record["doubts"])) if record["doubts"] else DASH,
        )
        for record in known
    )
    return Table(
        ("Device", "Name", "From", "Date", "torch", "Sizes", "Error (p95)", "Doubts"), rows
    )


def error_text(record: Mapping[str, Any]) -> str:
    """``4.1 % (18 %)``: the median and the 95th percentile of what the curves did not see."""
    if record["median_relative_error"] is None:
        return DASH
    return f"{_percent(record['median_relative_error'])} ({_percent(record['p95_relative_error'])})"


def _percent(share: float) -> str:
    return share_text(float(f"{share:.2g}"))


def details(record: Mapping[str, Any], outcome: Mapping[str, Any] | None = None) -> list[Section]:
    """All of a device's profile; ``outcome``: what the run that wrote it says of itself."""
    sections = [Section(clean(record["name"]), _facts(record, outcome))]
    if record["kinds"]:
        sections.append(
            Section(
                "Curves: error of predicting each measured size from the others",
                table=_kinds(record["kinds"]),
            )
        )
    if record["host_seconds"]:
        title = (
            "What the host needs beyond the operators themselves"
            if record.get("kind") == "cpu"
            else "What the host needs"
        )
        sections.append(
            Section(
                title,
                tuple(
                    (text, seconds_text(record["host_seconds"][name]))
                    for name, text in HOST.items()
                    if name in record["host_seconds"]
                ),
            )
        )
    if record["facts"]:
        sections.append(
            Section(
                "Memory, copies and rates",
                tuple(
                    (_named(name), _fact(name, value)) for name, value in record["facts"].items()
                ),
            )
        )
    if record["watts"]:
        sections.append(
            Section(
                "Mean power by kind",
                tuple((kind, f"{watts:,.0f} W") for kind, watts in record["watts"].items()),
            )
        )
    if record["loader"]:
        sections.append(
            Section(
                "Input pipeline",
                tuple((clean(name), _loader(entry)) for name, entry in record["loader"].items()),
            )
        )
    if record["doubts"]:
        lines = [
            f"{clean(d['what'])}{'. ' + clean(d['mend']) if d['mend'] else ''}"
            for d in record["doubts"]
        ]
        more = (
            [f"and {len(lines) - LISTED_DOUBTS} more: {FieldName('json')} shows all"]
            if len(lines) > LISTED_DOUBTS
            else []
        )
        sections.append(Section("Doubts", lines=(*lines[:LISTED_DOUBTS], *more)))
    return sections


def _basis(record: Mapping[str, Any]) -> str:
    """What times on this device stand on."""
    load = record.get("load")
    if not any(record.get(name) for name in ("cases", "host_seconds", "exact_operations")):
        return "datasheet: nothing but collectives was timed"
    if not load or not load["share"]:
        return "calibrated: timed on such a device"
    under = f"{share_text(load['share'])} of its operations only under load"
    if load["is_too_much"]:
        return f"datasheet: it was timed, but {under}"
    return f"calibrated: timed on such a device, {under}"


def _facts(
    record: Mapping[str, Any], outcome: Mapping[str, Any] | None
) -> tuple[tuple[str, str], ...]:
    memory = record["device"].get("total_memory_bytes")
    pairs = [
        ("Basis", _basis(record)),
        (
            "Measured",
            " · ".join(
                filter(
                    None,
                    (
                        record["date"],
                        record["torch"] and f"torch {record['torch']}",
                        record["source"] and f"from {record['source']}",
                    ),
                )
            ),
        ),
        ("Sizes", f"{record['cases']:,} in {record['curves']} curves, error {error_text(record)}"),
    ]
    if record["exact_operations"]:
        pairs.append(("Exact", f"{record['exact_operations']:,} operations timed"))
    if memory:
        pairs.append(("Memory", bytes_text(memory)))
    pairs += [("Collectives", text) for text in _collectives(record)]
    return tuple(
        (left, clean(right))
        for left, right in (*pairs, *(_run(outcome) if outcome else ()))
        if right
    )


def _collectives(record: Mapping[str, Any]) -> list[str]:
    """A line for each number of ranks: what the smallest takes, and the best rate."""
    found: dict[tuple[int, int], list[str]] = {}
    for one in record.get("collectives", ()):
        rate = f"{bytes_text(one['most_bytes_per_s'])}/s"
        text = f"{one['operation']} {one['least_seconds'] * 1e6:,.0f} µs, {rate}"
        found.setdefault((one["ranks"], one["nodes"]), []).append(text)
    return [
        f"among {ranks} on {nodes} machine{'s' if nodes > 1 else ''}: {'; '.join(texts)}"
        for (ranks, nodes), texts in found.items()
    ]


def _run(outcome: Mapping[str, Any]) -> list[tuple[str, str]]:
    more = [
        f"{outcome['remembered']:,} were known" if outcome["remembered"] else "",
        f"{outcome['failed']:,} could not run" if outcome["failed"] else "",
        f"{outcome['left']:,} left for more {FieldName('seconds')}" if outcome["left"] else "",
    ]
    return [
        (
            "This run",
            ", ".join(
                filter(
                    None,
                    (
                        f"{outcome['measured']:,} timings in "
                        f"{seconds_text(outcome['elapsed_seconds'])}",
                        *more,
                    ),
                )
            ),
        )
    ]


def _kinds(kinds: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        (
            record["kind"],
            str(record["sizes"]),
            error_text(record),
            f"{bytes_text(record['least_bytes'])}–{bytes_text(record['most_bytes'])}",
            _rate(record),
        )
        for record in kinds
    )
    return Table(("Kind", "Sizes", "Error (p95)", "Bytes moved", "Fastest"), rows)


def _rate(record: Mapping[str, Any]) -> str:
    """Products by what they compute, all else by what it moves."""
    from planner.operations.registry import kind_named  # numpy: a list of runs needs none

    flops, bytes_per_second = record["fastest_flops_per_s"], record["fastest_bytes_per_s"]
    if flops and kind_named(record["kind"]).model_work:
        return f"{flops / TERA:.3g} TFLOP/s" if flops >= TERA else f"{flops / GIGA:.3g} GFLOP/s"
    return f"{bytes_per_second / GIGA:.3g} GB/s" if bytes_per_second else DASH


def _named(name: str) -> str:
    """``matmul_flops_per_s.float32`` → ``matmul float32``: the unit is said by the value."""
    text, _, what = clean(name).partition(".")
    for end in ("_bytes_per_s", "_flops_per_s", "_bytes", "_seconds", "_watts"):
        if text.endswith(end):
            text = text[: -len(end)]
            break
    return f"{text} {what}".replace("_", " ").strip()


def _fact(name: str, value: float) -> str:
    if name.endswith("_bytes_per_s"):
        return f"{value / GIGA:.3g} GB/s"
    if "_flops_per_s" in name:
        return f"{value / TERA:.3g} TFLOP/s"
    if name.endswith("_watts"):
        return f"{value:.3g} W"
    return (
        value_text(name, value)
        if name.endswith(("_bytes", "_seconds"))
        else count_text(float(f"{value:.4g}"))
    )


def _loader(entry: Any) -> str:
    """A measured input pipeline: its samples and what one worker feeds."""
    if not isinstance(entry, Mapping):
        return clean(entry)
    seconds, workers = entry.get("mean_seconds"), entry.get("workers") or {}
    parts = [
        clean(entry.get("data") or ""),
        f"{seconds_text(seconds)} a sample" if seconds else "",
        ", ".join(
            f"{clean(n)} workers {count_text(float(f'{rate:.3g}'))}/s"
            for n, rate in workers.items()
        )
        if isinstance(workers, Mapping)
        else "",
    ]
    return "; ".join(filter(None, parts))


def on_paper(record: Mapping[str, Any]) -> list[Section]:
    """A device that nobody measured, by its datasheet."""
    bandwidth = record["memory_bandwidth_bytes_per_s"]
    pairs = [
        ("Basis", "datasheet: nobody has calibrated such a device yet"),
        ("Memory", bytes_text(record["memory_bytes"])),
        ("Bandwidth", f"{bandwidth / GIGA:,.0f} GB/s" if bandwidth else DASH),
        *(
            (f"Peak {kind}", f"{rate / TERA:.3g} TFLOP/s")
            for kind, rate in record["peak_flops_per_s"].items()
        ),
    ]
    return [
        Section(
            clean(record["name"]),
            tuple(pairs),
            lines=("planner calibrate, run on such a device, measures it",),
        )
    ]


def usage(record: Mapping[str, Any], *, here: bool) -> str:
    """How to plan with a profile that was just written; ``here``: on the machine that was
    measured."""
    name = "cpu" if record["kind"] == "cpu" else "local"
    if not here:
        name = record["key"]
    return (
        "Plan with it: planner estimate MODEL DATA --gpu "
        f"{name if record['own'] else clean(record['file'])}"
    )


def stopped(record: Mapping[str, Any]) -> str:
    """Why a run ended early, and what became of what it measured."""
    return (
        f"{record['run']['stopped']}. What was measured is in {record['file']}; running it again "
        "goes on from there"
    )
