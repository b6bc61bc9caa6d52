"""One run: what was run, what was measured, and what had been estimated. Checked on the way in,
never changed afterwards.

The names of ``setup`` are the columns of ``profiles/measured/published.csv``; a value that is not
known is None or left out, never a guess. Names that are not listed here are kept too, as long as
JSON can hold them: a later release may know more.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import math
import numbers
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from planner.errors import ProfileError, nearest
from planner.question import ALL_STRATEGIES
from planner.today import now

#: ``planner measure``; the callbacks and the context manager; logs of past runs.
KINDS = ("measured", "recorded", "imported")

#: What each name must hold. ``count`` 1, 2, …; ``whole`` 0, 1, …; ``positive`` above 0; ``amount``
#: 0 or above.
SETUP = {
    "model": "text",
    "task": "text",
    "strategy": "strategy",
    "gpu": "text",
    "gpus": "count",
    "parallel": "text",
    "micro_batch": "count",
    "accumulation": "count",
    "sequence_length": "count",
    "target_length": "count",
    "image_size": "count",
    "precision": "text",
    "optimizer": "text",
    "gradient_checkpointing": "text",
    "attention": "text",
    "compile": "flag",
    "lora_rank": "count",
    "lora_dropout": "amount",
    "unfrozen_blocks": "whole",
    "classes": "count",
    "samples": "count",
    "epochs": "positive",
    "steps": "count",
}
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
LARGEST_WHOLE = 2**63 - 1
DEEPEST = 20
LOSSES = ("loss_first", "loss_last")

_WORDS = {
    "text": "text",
    "strategy": "a strategy",
    "flag": "true or false",
    "count": "a whole number of at least 1",
    "whole": "a whole number of at least 0",
    "positive": "a finite number above 0",
    "amount": "a finite number of at least 0",
    "number": "a finite number",
    "positives": "a list of finite numbers above 0",
    "amounts": "names with finite numbers of at least 0",
}


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
    setup: Mapping[str, Any]  # what was run: SETUP, and architecture, lora_targets
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

    def __post_init__(self):
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


def step_error(record: RunRecord) -> float | None:
    """How far the estimate's median was from the measured step, relative to the measurement: 0.1 is
    10 % too long. None where either is not known."""
    measured = record.measurement.get("step_seconds")
    estimated = estimated_step_seconds(record)
    return None if measured is None or estimated is None else estimated / measured - 1


def estimated_step_seconds(record: RunRecord) -> float | None:
    """The median of the estimate beside the run; None where there is none."""
    figure = (record.estimate or {}).get("step_seconds")
    value = figure.get("p50") if isinstance(figure, Mapping) else figure
    return value if _is_number(value) and value > 0 else None


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
        "setup": _known(_mapping(record.setup, "setup", where), SETUP, f"{where}.setup"),
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
        if _is_number(measurement.get(name)) and not math.isfinite(measurement[name])
    ]
    kept = {name: None if name in lost else value for name, value in measurement.items()}
    return kept, tuple(f"{name} was not finite" for name in lost)


def _known(values: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    clean = plain(values, where)
    for name, value in clean.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
            raise ProfileError(
                f"{name[:60]!r} is not a name: lower-case letters, digits and _", where=where
            )
        if value is not None and name in names and not _holds(names[name], value):
            raise ProfileError(
                f"{str(value)[:60]!r} is not {_WORDS[names[name]]}",
                where=f"{where}.{name}",
                mend="Leave it out where it is not known",
            )
    return clean


def _holds(kind: str, value: Any) -> bool:
    if kind == "text":
        return isinstance(value, str)
    if kind == "strategy":
        return value in ALL_STRATEGIES
    if kind == "flag":
        return isinstance(value, bool)
    if kind == "positives":
        return isinstance(value, list) and all(_is_number(item) and item > 0 for item in value)
    if kind == "amounts":
        return isinstance(value, dict) and all(
            _is_number(item) and item >= 0 for item in value.values() if item is not None
        )
    if not _is_number(value) or (kind in ("count", "whole") and not isinstance(value, int)):
        return False
    return {
        "count": value >= 1,
        "whole": value >= 0,
        "positive": value > 0,
        "amount": value >= 0,
        "number": True,
    }[kind]


def _ordered(measurement: dict[str, Any], where: str) -> dict[str, Any]:
    low, high = measurement.get("step_seconds_p10"), measurement.get("step_seconds_p90")
    if low is not None and high is not None and low > high:
        raise ProfileError(f"step_seconds_p10 {low} is above step_seconds_p90 {high}", where=where)
    return measurement


def _is_number(value: Any) -> bool:
    return type(value) is float or (isinstance(value, numbers.Real) and not isinstance(value, bool))


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """A copy as JSON holds it: plain numbers, lists and dicts; text that UTF-8 can hold. Raises
    ProfileError for NaN, infinities, whole numbers beyond 63 bits, and values that are no data."""
    # a run keeps thousands of samples: they come first
    if type(value) is float and -math.inf < value < math.inf:
        return value
    if depth > DEEPEST:
        raise ProfileError(f"nested deeper than {DEEPEST} levels", where=where)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, where, depth + 1)
    if isinstance(value, str | PurePath | datetime.date):
        return str(value).encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, numbers.Integral):
        return _within(int(value), where)
    if isinstance(value, numbers.Real):
        return _within(float(value), where)
    if isinstance(value, Mapping):
        return {
            plain(str(name), where): plain(item, f"{where}.{str(name)[:60]}", depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [
            plain(item, where, depth + 1)
            for item in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)
        ]
    # numpy's flags and a tensor of one number
    if callable(getattr(value, "item", None)) and getattr(value, "ndim", 0) == 0:
        return plain(value.item(), where, depth + 1)
    raise ProfileError(f"a {type(value).__name__} cannot be kept in the ledger", where=where)


def _within(value: float, where: str) -> float:
    if (isinstance(value, int) and abs(value) > LARGEST_WHOLE) or not math.isfinite(value):
        raise ProfileError(
            "not a finite number of at most 63 bits",
            where=where,
            mend="Leave it out where it is not known",
        )
    return value
