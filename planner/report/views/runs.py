"""Measured runs as a table, and one run in full. Words only: what is worked out is worked out by
the ledger."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from planner.ledger.record import RunRecord, estimated_step_seconds, peak_bytes, step_error
from planner.question.settings import SETTINGS
from planner.report.views.device import Section
from planner.report.views.table import DASH, Table
from planner.report.words import bytes_text, clean, flat, seconds_text

HEADERS = ("Id", "When", "Model", "Strategy", "Device", "Step", "Estimate", "Memory", "Kind")
#: A step's samples are thousands: they are said by their number.
LONGEST_LIST = 12
#: How numbers of a setting's unit are worded; others as counts, or as their name says.
UNIT_WORDS: Mapping[str, Callable[[float], str]] = {"seconds": seconds_text, "bytes": bytes_text}


def listing(runs: Sequence[RunRecord]) -> Table:
    """One row a run: measured step beside the estimate's median, and how far the latter was off."""
    return Table(HEADERS, tuple(_row(run) for run in runs))


def _row(run: RunRecord) -> tuple[str, ...]:
    setup, measured, estimated, memory = (
        run.setup,
        run.measurement.get("step_seconds"),
        estimated_step_seconds(run),
        peak_bytes(run),
    )
    full = (
        "ran out"
        if run.measurement.get("out_of_memory")
        else DASH
        if memory is None
        else bytes_text(memory)
    )
    return (
        run.id[:6],
        run.created[:10],
        _model(setup.get("model")),
        clean(setup.get("strategy") or DASH).replace("_", " "),
        short_device(run),
        DASH if measured is None else seconds_text(measured),
        DASH if estimated is None else f"{seconds_text(estimated)} {_off(run)}".strip(),
        full,
        run.kind,
    )


def device(run: RunRecord) -> str:
    name, count = run.setup.get("gpu") or run.machine.get("device"), run.setup.get("gpus")
    return DASH if not name else f"{count} × {clean(name)}" if count and count > 1 else clean(name)


def short_device(run: RunRecord) -> str:
    """Without the makers' words, for a narrow column."""
    name = device(run)
    name = name.replace("-", " ")
    return (
        re.sub(
            r"\b(NVIDIA|GeForce|AMD|Instinct|Tesla|Intel|Generation)(\(R\))? ?", "", name
        ).strip()
        or name
    )


def _model(name: str | None) -> str:
    """The last part of a path or a hub's name."""
    if not name:
        return DASH
    return clean(name).rpartition("/")[2] if re.fullmatch(r"[\w.:~/-]*[^/]", name) else clean(name)


def error_text(run: RunRecord) -> str:
    """``+12 %``: the estimate was 12 % too long."""
    error = step_error(run)
    return DASH if error is None else f"{error * 100:+,.{0 if abs(error) >= 0.1 else 1}f} %"


def _off(run: RunRecord) -> str:
    return "" if step_error(run) is None else error_text(run).replace(" ", "")


def details(run: RunRecord) -> list[Section]:
    """All that is kept of a run; what was not known is left out."""
    head = [
        ("id", run.id),
        ("when", run.created),
        ("kind", run.kind),
        ("source", clean(run.source)),
        ("estimate was off by", error_text(run)),
    ]
    parts = (
        ("What was run", run.setup),
        ("What was measured", run.measurement),
        ("What had been estimated", run.estimate),
        ("The question", run.question),
        ("Versions", run.versions),
        ("Machine", run.machine),
    )
    sections = [Section("Run", tuple(pair for pair in head if pair[1] != DASH))]
    for title, values in parts:
        known = {
            name: _short(name, value) for name, value in (values or {}).items() if value is not None
        }
        if known:
            pairs = _setup_pairs(known) if values is run.setup else flat(known)
            sections.append(Section(title, tuple(pairs)))
    return sections + (
        [Section("Notes", lines=tuple(clean(note) for note in run.notes))] if run.notes else []
    )


def _setup_pairs(setup: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Settings by their titles, their values by their units."""
    for name, value in setup.items():
        setting = SETTINGS.get(name)
        word = UNIT_WORDS.get(setting.unit or "") if setting else None
        for path, text in flat({name: value}, word=word):
            first, arrow, rest = path.partition(" › ")
            yield f"{setting.title if setting else first}{arrow}{rest}", text


def _short(name: str, value: Any) -> Any:
    if name == "phase_seconds" and isinstance(value, Mapping):
        return {f"{phase}_seconds": seconds for phase, seconds in value.items()}
    return (
        f"{len(value):,} values" if isinstance(value, list) and len(value) > LONGEST_LIST else value
    )
