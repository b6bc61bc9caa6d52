"""``--map step_seconds=iter_time_ms:ms``: which column holds what, and in which unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.errors import FieldName, QuestionError, UnknownNameError
from planner.ledger.record import MEASUREMENT, SETUP
from planner.units import GB, GIB, JOULES_PER_KWH, KB, KIB, MB, MIB, SECONDS_PER_HOUR

#: Texts that a record's ``setup`` holds beside SETUP.
MORE_SETUP = {"architecture": "text", "lora_targets": "text"}
SECONDS = {
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
    "min": 60.0,
    "h": SECONDS_PER_HOUR,
}
BYTES = {"b": 1.0, "kb": KB, "mb": MB, "gb": GB, "kib": KIB, "mib": MIB, "gib": GIB}
JOULES = {"j": 1.0, "wh": SECONDS_PER_HOUR, "kwh": JOULES_PER_KWH}
RATES = {"/s": 1.0, "/min": 1 / 60, "/h": 1 / SECONDS_PER_HOUR}
WATTS = {"w": 1.0, "kw": 1e3, "mw": 1e-3}
NO_COLUMN = ("step_samples", "phase_seconds")  # no cell holds them
ENDINGS = (
    ("_seconds", SECONDS),
    ("_seconds_p10", SECONDS),
    ("_seconds_p90", SECONDS),
    ("_bytes", BYTES),
    ("_joules", JOULES),
    ("_watts", WATTS),
    ("_per_second", RATES),
)


@dataclass(frozen=True)
class Column:
    """A value of the record: its name, what it must hold (record.py), the column it stands in, and
    how many of the record's unit one of the column's is."""

    name: str
    kind: str
    column: str
    factor: float = 1.0

    @property
    def measured(self) -> bool:
        return self.name in MEASUREMENT and self.name not in ("steps",)


def parse(texts: Sequence[str]) -> dict[str, Column]:
    """``NAME=COLUMN`` or ``NAME=COLUMN:UNIT`` each. Raises QuestionError, UnknownNameError for a
    name that no record has."""
    found: dict[str, Column] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name or not rest.strip():
            raise QuestionError(
                f"{text[:80]!r} is not NAME=COLUMN or NAME=COLUMN:UNIT",
                where=FieldName("map"),
                mend="For example step_seconds=iter_time_ms:ms",
            )
        if name not in kinds():
            raise UnknownNameError(
                "name", name, kinds(), mend=f"A record has {', '.join(kinds())}."
            )
        column, colon, unit = rest.rpartition(":")
        units = units_of(name)
        if colon and unit.strip().lower() in units:
            found[name] = Column(name, kinds()[name], column.strip(), units[unit.strip().lower()])
        elif colon and units and column.strip():
            raise QuestionError(
                f"{name} is not measured in {unit.strip()[:20]!r}",
                where=FieldName("map"),
                mend=f"Units: {', '.join(units)}",
            )
        else:
            found[name] = Column(name, kinds()[name], rest.strip())
    return found


def kinds() -> dict[str, str]:
    """Every name that a column may be mapped to."""
    return {
        name: kind
        for name, kind in {**SETUP, **MORE_SETUP, **MEASUREMENT}.items()
        if name not in NO_COLUMN
    }


def units_of(name: str) -> dict[str, float]:
    return next((units for ending, units in ENDINGS if name.endswith(ending)), {})
