"""A measured run beside its estimate, and what explains the distance. Words only: what is worked
out is worked out by the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from planner.ledger.record import RunRecord
from planner.measure.explain import Part, explain
from planner.report.views.answer import BASES
from planner.report.views.device import Section
from planner.report.views.table import DASH, Table
from planner.report.words import bytes_text, clean, count_text, percentiles, seconds_text

#: (what, name in the measurement, name in the estimate, how it is worded).
QUANTITIES: tuple[tuple[str, str, str, Callable[..., str]], ...] = (
    ("step", "step_seconds", "step_seconds", seconds_text),
    ("forward pass of a micro-batch", "forward_seconds", "forward_seconds", seconds_text),
    ("peak of live tensors", "peak_allocated_bytes", "allocated_bytes", bytes_text),
    ("peak held by the allocator", "peak_reserved_bytes", "reserved_bytes", bytes_text),
    ("memory on the device", "device_used_bytes", "device_used_bytes", bytes_text),
    ("power", "mean_watts", "mean_watts", lambda watts, **_: f"{watts:,.0f} W"),
)
LISTED = 10


def sections(run: RunRecord, *, brief: bool = False) -> list[Section]:
    """``brief``: only measured beside estimated."""
    shown = [Section(title(run), table=beside(run))]
    if brief:
        return shown
    found = explain(run)
    shown += [
        _parts("Time of a step by phase", found.phases, seconds_text),
        _parts(
            "Time of a micro-batch and its update by kind of operation", found.kinds, seconds_text
        ),
        _parts("Memory at the peak", found.memory, bytes_text),
    ]
    shown += [
        Section("The run", pairs=tuple(_facts(run))),
        Section("Notes", lines=tuple(clean(note) for note in run.notes)),
    ]
    return [
        section
        for section in shown
        if section.pairs or section.lines or (section.table and section.table.rows)
    ]


def title(run: RunRecord) -> str:
    setup = run.setup
    sizes = [
        f"micro-batch {setup['micro_batch']}",
        f"accumulation {setup['accumulation']}" if setup.get("accumulation", 1) > 1 else None,
        f"{count_text(setup['sequence_length'])} tokens" if setup.get("sequence_length") else None,
    ]
    return clean(
        f"{setup['strategy'].replace('_', ' ')} of {setup['model']} on {setup['gpu']}: "
        f"{', '.join(filter(None, sizes))}"
    )


def beside(run: RunRecord) -> Table:
    """A row a quantity: measured, estimated with its interval, how far off, whether the interval
    held it."""
    rows = []
    if run.measurement.get("out_of_memory"):
        estimate = run.estimate or {}
        rows.append(("memory", "ran out", clean(estimate.get("verdict", DASH)), "", "", ""))
    for what, measured, estimated, word in QUANTITIES:
        value, figure = run.measurement.get(measured), (run.estimate or {}).get(estimated)
        if value is not None or (
            figure is not None
            and run.measurement.get("out_of_memory")
            and measured.endswith("bytes")
        ):
            rows.append(
                (what, DASH if value is None else word(value), *_estimated(value, figure, word))
            )
    return Table(("", "Measured", "Estimated", "80 % interval", "Off", "Held"), tuple(rows))


def _estimated(
    value: float | None, figure: Any, word: Callable[..., str]
) -> tuple[str, str, str, str]:
    if not figure:
        return DASH, "", "", ""
    middle, interval = percentiles(figure, word)
    if value is None:
        return middle, interval, "", ""
    off = figure["p50"] / value - 1 if value else 0.0
    return (
        middle,
        interval,
        f"{off * 100:+,.{0 if abs(off) >= 0.1 else 1}f} %",
        "yes" if figure["p10"] <= value <= figure["p90"] else "no",
    )


def _parts(heading: str, parts: Sequence[Part], word: Callable[..., str]) -> Section:
    """The widest parts, and what they add to the distance."""

    def cell(value: float | None, like: float) -> str:
        return DASH if value is None else word(value) if word is bytes_text else word(value, like)

    def signed(value: float | None, like: float) -> str:
        return (
            DASH
            if value is None
            else ("+" if value > 0 else "−" if value < 0 else "") + cell(abs(value), like)
        )

    rows = []
    for part in parts[:LISTED]:
        like = max(part.measured or 0.0, part.estimated or 0.0)
        rows.append(
            (
                part.name.replace("_", " "),
                cell(part.measured, like),
                cell(part.estimated, like),
                signed(part.difference, like),
            )
        )
    return Section(heading, table=Table(("", "Measured", "Estimated", "Difference"), tuple(rows)))


def _facts(run: RunRecord) -> list[tuple[str, str]]:
    found, setup, estimate = run.measurement, run.setup, run.estimate or {}
    pairs = [
        (
            "steps",
            f"{found['steps']:,} in {seconds_text(found['wall_seconds'])}, the median known to "
            f"±{found['relative_error'] * 100:.2g} %"
            if "relative_error" in found and "wall_seconds" in found
            else None,
        ),
        (
            "throughput",
            f"{count_text(found['samples_per_second'])} samples/s"
            if "samples_per_second" in found
            else None,
        ),
        (
            "tokens",
            f"{count_text(found['tokens_per_second'])}/s" if "tokens_per_second" in found else None,
        ),
        (
            "waiting for data",
            f"{seconds_text(found['data_seconds'])} a step" if "data_seconds" in found else None,
        ),
        ("energy", f"{found['energy_joules']:,.0f} J" if "energy_joules" in found else None),
        (
            "loss",
            f"{found['loss_first']:.4g} at first, {found['loss_last']:.4g} at last"
            if "loss_first" in found and "loss_last" in found
            else None,
        ),
        (
            "trained with",
            ", ".join(
                str(setup[name])
                for name in ("precision", "optimizer", "attention")
                if name in setup
            ),
        ),
        ("checkpointing", setup.get("gradient_checkpointing")),
        (
            "estimate stands on",
            f"{estimate['basis']}: {BASES.get(estimate['basis'], '')}"
            if "basis" in estimate
            else None,
        ),
    ]
    return [(name, clean(text)) for name, text in pairs if text]
