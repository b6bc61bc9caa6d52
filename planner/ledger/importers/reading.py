"""From a file or folder of a past run to records: which format it is, what was taken, what was
not."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from planner.errors import DataError, FieldName, QuestionError, UnknownNameError
from planner.ledger.importers.found import Found, Problems, as_record, content_of
from planner.ledger.importers.mapping import parse
from planner.ledger.record import RunRecord

#: In the order in which a file is tried: what tells itself apart best comes first, any CSV last.
FORMATS = {
    "trainer": "trainer_state",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "tensorboard": "tensorboard",
    "nvidia-smi": "nvidia_smi",
    "sacct": "sacct",
    "csv": "table",
}


@dataclass(frozen=True)
class Import:
    """The runs that were read, by which format, and one line for each thing that could not be
    taken. ``rows_left_out`` counts rows and runs; ``more_problems`` those that have no line here.
    """

    format: str
    records: tuple[RunRecord, ...]
    problems: tuple[str, ...]
    rows_left_out: int
    more_problems: int


def read(
    place: Path,
    *,
    format: str = "auto",
    known: Mapping[str, Any] | None = None,
    mapping: Sequence[str] = (),
    steps: bool = False,
) -> Import:
    """The runs in ``place``. ``known``: what was run, by the names of a record's ``setup``, over
    what the log says; ``mapping``: ``NAME=COLUMN[:UNIT]`` of a CSV; ``steps``: its rows are steps
    of one run. Raises DataError for what cannot be read at all, QuestionError for a mapping or a
    format that does not fit, UnknownNameError, MissingExtraError."""
    if not place.exists():
        raise DataError("no such file or folder", where=str(place))
    columns = parse(mapping)
    name = format if format != "auto" else "csv" if columns or steps else recognise(place)
    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS, mend=f"Known: auto, {', '.join(FORMATS)}.")
    if (columns or steps) and name != "csv":
        raise QuestionError(
            f"{FieldName('map')} and {FieldName('rows_are_steps')} are for tables",
            where=name,
            mend=f"Use {FieldName('format')} csv",
        )
    problems = Problems()
    reader = _module(name)
    found: Iterator[Found] = (
        reader.read(place, problems, columns, steps)
        if name == "csv"
        else reader.read(place, problems)
    )
    try:
        seen: Counter[str] = Counter()
        records = [
            as_record(
                run,
                format_name=name,
                place=place,
                content=content_of(run, seen),
                known=known or {},
                problems=problems,
            )
            for run in found
        ]
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror}", where=str(error.filename or place)
        ) from error
    return Import(
        name,
        tuple(record for record in records if record),
        tuple(problems.lines),
        problems.rows,
        problems.unsaid,
    )


def recognise(place: Path) -> str:
    """The format's name. Raises DataError where it is none of them."""
    for name in FORMATS:
        if _module(name).recognises(place):
            return name
    raise DataError(
        "no log that is known",
        where=str(place),
        mend=f"Name its kind with {FieldName('format')}: {', '.join(FORMATS)}",
    )


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"planner.ledger.importers.{FORMATS[name]}")
