"""``--map step_seconds=iter_time_ms:ms``: which column holds what, and in which unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.errors import FieldName, QuestionError, UnknownNameError
from planner.ledger.record import MEASUREMENT
from planner.question.settings import of_runs
from planner.units import GB, GIB, JOULES_PER_KWH, KB, KIB, MB, MIB, SECONDS_PER_HOUR

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
    """A value of the record: its name, what it must hold, the column it stands in, and how many of
    the record's unit one of the column's is."""

    name: str
    value_type: str
    column: str
    factor: float = 1.0

    @property
    def measured(self) -> bool:
        return self.name in MEASUREMENT and self.name not in ("steps",)


def parse(texts: Sequence[str]) -> dict[str, Column]:
    """``NAME=COLUMN`` or ``NAME=COLUMN:UNIT`` each. Raises QuestionError, UnknownNameError for a
    name that no record has."""
    found: dict[str, Column] = {}
    types = value_types()
    for text in texts:
        name, equals, rest = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name or not rest.strip():
            raise QuestionError(
                f"{text[:80]!r} is not NAME=COLUMN or NAME=COLUMN:UNIT",
                where=FieldName("map"),
                mend="For example step_seconds=iter_time_ms:ms",
            )
        if name not in types:
            raise UnknownNameError("name", name, types, mend=f"A record has {', '.join(types)}.")
        found[name] = _column(name, types[name], rest)
    return found


def _column(name: str, value_type: str, text: str) -> Column:
    """Raises QuestionError for a unit that the name is not measured in."""
    column, colon, unit = text.rpartition(":")
    units = units_of(name)
    if colon and unit.strip().lower() in units:
        return Column(name, value_type, column.strip(), units[unit.strip().lower()])
    if colon and units and column.strip():
        raise QuestionError(
            f"{name} is not measured in {unit.strip()[:20]!r}",
            where=FieldName("map"),
            mend=f"Units: {', '.join(units)}",
        )
    return Column(name, value_type, text.strip())


def value_types() -> dict[str, str]:
    """Every name that a column may be mapped to."""
    setup = {name: setting.value_type for name, setting in of_runs().items()}
    return {
        name: value_type
        for name, value_type in {**setup, **MEASUREMENT}.items()
        if name not in NO_COLUMN
    }


def units_of(name: str) -> dict[str, float]:
    return next((units for ending, units in ENDINGS if name.endswith(ending)), {})
