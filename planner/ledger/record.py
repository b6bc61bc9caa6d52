"""One run: what was run, what was measured, and what had been estimated. Checked on the way in,
never changed afterwards.

The names of ``setup`` are those of ``question/settings.py``; a value that is not known is None or
left out, never a guess. Names that are not listed there are kept too, as long as JSON can hold
them: a later release may know more.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.errors import ProfileError, nearest
from planner.ledger.values import check, is_number, plain
from planner.question.settings import SINGLE_VALUES, of_runs
from planner.today import now

#: ``planner measure``; the callbacks and the context manager; logs of past runs.
KINDS = ("measured", "recorded", "imported")

#: What each measured name must hold: a type of ``values.HOLDS``.
MEASUREMENT = {
    "step_seconds": "positive",
    "step_seconds_p10": "positive",
    "step_seconds_p90": "positive",
    "step_samples": "positives",
    "forward_seconds": "positive",
    "data_seconds": "amount",
    "wall_seconds": "positive",
    "steps": "count",
    "tokens": "whole",
    "samples_per_second": "positive",
    "tokens_per_second": "positive",
    "peak_allocated_bytes": "count",
    "peak_reserved_bytes": "count",
    "device_used_bytes": "count",
    "out_of_memory": "flag",
    "energy_joules": "amount",
    "mean_watts": "amount",
    "usd": "amount",
    "loss_first": "number",
    "loss_last": "number",
    "phase_seconds": "amounts",
}
LOSSES = ("loss_first", "loss_last")


@dataclass(frozen=True)
class RunRecord:
    """One run. Bytes, seconds, joules and USD throughout; ``created`` is kept in UTC. Raises
    ProfileError naming the first field that is wrong. Numbers of numpy, tuples and paths become
    plain JSON values; the mappings are copies."""

    # 32 hexadecimal digits: uuid4, or uuid5 where the same import shall give the same record
    id: str
    created: str  # ISO 8601
    kind: str  # one of KINDS
    source: str  # what wrote it: "planner measure", "transformers.Trainer", a citation
    setup: Mapping[str, Any]  # what was run: setup_types(), and architecture, lora_targets
    measurement: Mapping[str, Any]  # what was measured: MEASUREMENT
    # the full question as understood, where there was one
    question: Mapping[str, Any] | None = None
    # the estimate of that day: {"basis", "step_seconds": {"p10", "p50", "p90"}, …, "fits"}
    estimate: Mapping[str, Any] | None = None
    # of planner, torch, transformers, … of the run
    versions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    # device name, driver, system, cores; neither host nor user
    machine: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        clean = _cleaned(self)
        for name, value in clean.items():
            object.__setattr__(self, name, value)

    @classmethod
    def new(
        cls,
        kind: str,
        source: str,
        setup: Mapping[str, Any],
        measurement: Mapping[str, Any],
        **more: Any,
    ) -> RunRecord:
        """A record of now with an identifier of its own; ``more``: question, estimate, versions,
        machine, notes."""
        created = now().isoformat()
        return cls(
            **{
                "id": uuid.uuid4().hex,
                "created": created,
                "kind": kind,
                "source": source,
                "setup": setup,
                "measurement": measurement,
                **more,
            }
        )

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON holds it."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | {
            "notes": list(self.notes)
        }

    def to_json(self) -> str:
        """One line; equal records give equal text."""
        return json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_dict(cls, values: Any) -> RunRecord:
        """Raises ProfileError where it is not a record."""
        if not isinstance(values, Mapping):
            raise ProfileError(
                "a run is an object with an id, a kind, a setup and a measurement", where="run"
            )
        names = {field.name for field in dataclasses.fields(cls)}
        missing = [
            name
            for name in ("id", "created", "kind", "source", "setup", "measurement")
            if name not in values
        ]
        if missing:
            raise ProfileError(f"{missing[0]} is missing", where="run")
        unknown = sorted(str(name) for name in values if name not in names)
        if unknown:
            raise ProfileError(
                f"unknown field {unknown[0]!r}",
                where="run",
                mend=f"Known: {', '.join(sorted(names))}",
            )
        return cls(**dict(values))

    @classmethod
    def from_json(cls, text: str | bytes) -> RunRecord:
        """Raises ProfileError where it is not JSON or not a record."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ProfileError(f"not JSON: {error}", where="run") from None
        return cls.from_dict(values)


def setup_types() -> dict[str, str]:
    """Name → type of each single value that a record's ``setup`` can hold, in the order of
    columns."""
    return {
        name: setting.value_type
        for name, setting in of_runs().items()
        if setting.value_type in SINGLE_VALUES
    }


def step_error(record: RunRecord) -> float | None:
    """How far the estimate's median was from the measured step, relative to the measurement: 0.1 is
    10 % too long. None where either is not known."""
    measured = record.measurement.get("step_seconds")
    estimated = estimated_step_seconds(record)
    return None if measured is None or estimated is None else estimated / measured - 1


def estimated_step_seconds(record: RunRecord) -> float | None:
    """The median of the estimate beside the run; None where there is none."""
    figure = (record.estimate or {}).get("step_seconds")
    value: Any = figure.get("p50") if isinstance(figure, Mapping) else figure
    return value if is_number(value) and value > 0 else None


def peak_bytes(record: RunRecord) -> int | None:
    """The widest memory that was read: what the driver saw, else what the allocator held, else live
    tensors."""
    found = (
        record.measurement.get(name)
        for name in ("device_used_bytes", "peak_reserved_bytes", "peak_allocated_bytes")
    )
    return next((value for value in found if value is not None), None)


# ---------------------------------------------------------------- checks


def _cleaned(record: RunRecord) -> dict[str, Any]:
    if not isinstance(record.id, str) or not re.fullmatch(r"[0-9a-f]{32}", record.id):
        raise ProfileError(f"{str(record.id)[:60]!r} is not 32 hexadecimal digits", where="run.id")
    where = f"run {record.id[:8]}"
    if record.kind not in KINDS:
        near = nearest(str(record.kind), KINDS)
        raise ProfileError(
            f"unknown kind {str(record.kind)[:60]!r}",
            where=where,
            mend=f"Did you mean {near[0]}?" if near else f"Known: {', '.join(KINDS)}",
        )
    if not isinstance(record.source, str) or not record.source.strip():
        raise ProfileError("source is missing: what wrote the run", where=where)
    notes = record.notes if isinstance(record.notes, list | tuple) else (record.notes,)
    measurement, more = _finite_losses(_mapping(record.measurement, "measurement", where))
    return {
        "created": _utc(record.created, where),
        "source": plain(record.source, where),
        "setup": _known(_mapping(record.setup, "setup", where), setup_types(), f"{where}.setup"),
        "measurement": _ordered(_known(measurement, MEASUREMENT, f"{where}.measurement"), where),
        "question": None
        if record.question is None
        else plain(_mapping(record.question, "question", where), f"{where}.question"),
        "estimate": None
        if record.estimate is None
        else plain(_mapping(record.estimate, "estimate", where), f"{where}.estimate"),
        "versions": plain(_mapping(record.versions, "versions", where), f"{where}.versions"),
        "machine": plain(_mapping(record.machine, "machine", where), f"{where}.machine"),
        "notes": tuple(plain(str(note), where) for note in (*notes, *more)),
    }


def _mapping(value: Any, name: str, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ProfileError(f"{name} is not a mapping", where=where)
    return value


def _utc(value: Any, where: str) -> str:
    """One form for all, so that text sorts as time does."""
    try:
        moment = datetime.datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("no time zone")
        return moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds")
    except (TypeError, ValueError, OverflowError):
        raise ProfileError(
            f"{str(value)[:60]!r} is not a moment with its time zone",
            where=f"{where}.created",
            mend="2026-01-31T12:00:00+00:00 is one",
        ) from None


def _finite_losses(measurement: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A run that diverged is a run: its loss is said in words, as JSON has no name for it."""
    lost = [
        name
        for name in LOSSES
        if is_number(measurement.get(name)) and not math.isfinite(measurement[name])
    ]
    kept = {name: None if name in lost else value for name, value in measurement.items()}
    return kept, tuple(f"{name} was not finite" for name in lost)


def _known(values: Mapping[str, Any], types: Mapping[str, str], where: str) -> dict[str, Any]:
    clean = plain(values, where)
    for name, value in clean.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
            raise ProfileError(
                f"{name[:60]!r} is not a name: lower-case letters, digits and _", where=where
            )
        if value is not None and name in types:
            check(types[name], value, f"{where}.{name}")
    return clean


def _ordered(measurement: dict[str, Any], where: str) -> dict[str, Any]:
    low, high = measurement.get("step_seconds_p10"), measurement.get("step_seconds_p90")
    if low is not None and high is not None and low > high:
        raise ProfileError(f"step_seconds_p10 {low} is above step_seconds_p90 {high}", where=where)
    return measurement
