"""Measured runs become cases: from the ledger, from any table with the columns of
``profiles/measured/published.csv``.

What a run leaves open and the planner needs is assumed and said in ``assumed``, or, where an
assumption would decide the answer (the precision, the batch), the run is refused with that reason.
Tables come from strangers: their formulas, numbers beyond reason and wrong encodings cost one row
each, and no code that they name is run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from planner import tables
from planner.errors import DataError, QuestionError, UnknownNameError
from planner.ledger.importers.found import Problems
from planner.ledger.importers.text import number, plain_text, table_of
from planner.ledger.record import RunRecord
from planner.question import TRAINING_STRATEGIES
from planner.question.settings import SETTINGS, TrainingSetting, in_recipe_words, published
from planner.validate.cases import LEDGER, MEASURES, MEMORIES, Case, Refused

#: Without these a run cannot be asked again; each changes the answer too much to be assumed.
NEEDED = ("model", "strategy", "gpu", "micro_batch", "precision")
ASSUMED = {
    "optimizer": "adamw",
    "attention": "sdpa",
    "gradient_checkpointing": "none",
    "gpus": 1,
    "accumulation": 1,
}
#: Columns of a table of measured runs beside those of the settings.
WORDS = ("date", "trust")
TIMES = ("step_seconds", "forward_seconds", "samples_per_second")
PEAKS = {
    "allocated": "peak_allocated_bytes",
    "reserved": "peak_reserved_bytes",
    "device": "device_used_bytes",
}
MOST_LAYERS, LARGEST_WIDTH = 500, 10**7
TRUE, FALSE = ("1", "true", "yes"), ("0", "false", "no", "")


def from_ledger(records: Iterable[RunRecord]) -> Iterator[Case | Refused]:
    """A case a run. Those without a measured step or memory, and without running out of it, are
    refused by name."""
    for record in records:
        measured = record.measurement
        times = {
            "step_seconds": measured.get("step_seconds"),
            "forward_seconds": measured.get("forward_seconds"),
            "samples_per_second": measured.get("samples_per_second"),
        }
        peaks = tuple((name, measured[key]) for name, key in PEAKS.items() if measured.get(key))
        values = in_recipe_words(
            {setting.name: record.setup.get(setting.name) for setting in published()}
        )
        values |= {
            setting.name: tuple(values[setting.name])
            for setting in published()
            if setting.value_type == "names" and values[setting.name] is not None
        }
        values |= {
            **times,
            "peaks": peaks,
            "oom": bool(measured.get("out_of_memory")),
            "date": record.created[:10],
            "trust": "H",
        }
        yield _case(record.id[:12], LEDGER, record.source, values, "")


def from_table(path: Path, problems: Problems) -> Iterator[Case | Refused]:
    """A case a row. A row that cannot be read is one line of ``problems``; the others are kept.
    Raises DataError for what is no table, or one without the columns that a run is asked by."""
    rows = table_of(path, problems)
    for place, (row, cells) in enumerate(rows):
        cells = {
            name.removeprefix("measured_"): cell
            for name, cell in cells.items()
            if not name.startswith("estimated_")
        }
        if place == 0:
            _check_columns(path, cells)
        try:
            values, notes = _values(cells)
            name = plain_text(cells.get("id") or f"row {row}")
            table = plain_text(cells.get("table") or path.stem)
            source = plain_text(cells.get("source") or path.name)
        except ValueError as error:
            problems.say(f"{path.name} row {row}", str(error), row=True)
            continue
        yield _case(name, table, source, values, notes)


def table_path(name: str) -> Path:
    """The file, or the shipped table of that name. Raises DataError."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = {file.stem: file for file in tables.path("measured").rglob("*.csv")}
    if name in shipped:
        return shipped[name]
    if path.is_dir():
        raise DataError("is a folder, not a table", where=name, mend="Name its CSV files")
    if not path.suffix:
        raise UnknownNameError(
            "table of measured runs",
            name,
            shipped,
            mend=f"Give a CSV file, or one that is shipped: {', '.join(sorted(shipped))}.",
        )
    raise DataError("no such file", where=name)


def _check_columns(path: Path, cells: Mapping[str, str]) -> None:
    missing = [name for name in NEEDED if name not in cells]
    measured_columns = {
        "step_seconds",
        "forward_seconds",
        "peak_bytes",
        "oom",
        "out_of_memory",
        *PEAKS.values(),
    } & set(cells)
    if missing or not measured_columns:
        what = (
            f"no column {missing[0]!r}"
            if missing
            else "no measured column: step_seconds, forward_seconds, peak_bytes with memory, or oom"
        )
        raise DataError(
            what,
            where=str(path),
            mend="profiles/measured/README.md names the columns; planner runs import --map "
            "takes other tables over",
        )


def _case(
    name: str, table: str, citation: str, values: Mapping[str, Any], notes: str
) -> Case | Refused:
    """The case, with what had to be assumed; or the reason why it cannot be asked."""
    missing = [key for key in NEEDED if values.get(key) in (None, "")]
    if missing:
        return Refused(name, table, f"{' and '.join(missing)} not known")
    if not (
        values.get("step_seconds")
        or values.get("forward_seconds")
        or values.get("peaks")
        or values.get("oom")
    ):
        return Refused(name, table, "neither time nor memory was measured")
    if values["strategy"] not in TRAINING_STRATEGIES:
        return Refused(
            name, table, f"strategy {values['strategy']!r} is not one whose steps are timed"
        )
    for key, known in choices().items():
        if values.get(key) not in (None, "", *known):
            return Refused(name, table, f"{key} {str(values[key])[:40]!r} is not known")
    for setting in published():
        if (
            setting.required
            and values["strategy"] in setting.strategies
            and not values.get(setting.name)
        ):
            return Refused(name, table, f"{setting.name} not known")
    open_ = {key: value for key, value in ASSUMED.items() if values.get(key) in (None, "")}
    assumptions = [notes] if notes else []
    assumptions += (
        [f"{', '.join(f'{key} {value}' for key, value in open_.items() if key != 'gpus')} assumed"]
        if set(open_) - {"gpus"}
        else []
    )
    given = {key: value for key, value in values.items() if value is not None} | open_
    given["task"] = given.get("task") or ""
    return Case(id=name, table=table, citation=citation, assumed="; ".join(assumptions), **given)


# ---------------------------------------------------------------- cells


def _values(cells: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """(arguments of a Case, what the source left open). Raises ValueError naming the column."""
    found: dict[str, Any] = {}
    for name in (*(setting.column for setting in published()), *WORDS, *TIMES, "measures"):
        cell = cells.get(name) or ""
        if cell:
            try:
                found[name] = _read(name, cell)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    found["oom"] = _flag("oom", cells.get("oom") or cells.get("out_of_memory") or "")
    found["peaks"] = _peaks(cells)
    return found, plain_text(cells.get("assumed") or "")


def _read(name: str, cell: str) -> Any:
    """Raises ValueError."""
    if name in TIMES:
        return _number(cell, zero=False)
    if name == "measures":
        return _measures(plain_text(cell))
    if name not in SETTINGS:
        return plain_text(cell)
    return READERS[SETTINGS[name].value_type](SETTINGS[name], cell)


def _measures(text: str) -> str:
    if text not in MEASURES:
        raise ValueError(f"{text[:40]!r} is none of {', '.join(MEASURES)}")
    return text


def _number(cell: str, *, zero: bool) -> float | None:
    value = number(cell)
    if value is not None and (value < 0 or value == 0 and not zero):
        raise ValueError(f"{cell[:40]!r} is not above 0")
    return value


def _text(setting: TrainingSetting, cell: str) -> str:
    text = plain_text(cell)
    if setting.name == "model":
        _no_code(text)
    return text


def _no_code(model: str) -> None:
    prefix, colon, _ = model.partition(":")
    if colon and prefix not in ("timm", "torchvision"):
        raise ValueError(
            f"{model[:60]!r} names code, which is not run for a table: planner measure it instead"
        )


def _whole(setting: TrainingSetting, cell: str) -> int | None:
    value = number(cell)
    if value is None:
        return None
    least = 1 if setting.value_type == "count" else 0
    if value != int(value) or not least <= value <= setting.largest:
        raise ValueError(f"{cell[:40]!r} is not a whole number that a run can have")
    return int(value)


def _flag(name: str, cell: str) -> bool:
    if cell.lower() not in (*TRUE, *FALSE):
        raise ValueError(f"{name}: {cell[:40]!r} is neither true nor false")
    return cell.lower() in TRUE


def _peaks(cells: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """One memory by ``peak_bytes`` and ``memory``, or each by a column of its own."""
    found = [(name, cells.get(key)) for name, key in PEAKS.items()]
    if cells.get("peak_bytes"):
        if cells.get("memory") not in MEMORIES:
            raise ValueError(
                f"memory: {str(cells.get('memory'))[:40]!r} is none of {', '.join(MEMORIES)}"
            )
        found.append((cells["memory"], cells["peak_bytes"]))
    try:
        bytes_ = [(name, number(cell)) for name, cell in found if cell]
    except ValueError as error:
        raise ValueError(f"peak bytes: {error}") from None
    if any(value is not None and value < 1 for _, value in bytes_):
        raise ValueError("peak bytes: not above 0")
    return tuple((name, int(value)) for name, value in bytes_ if value is not None)


def _architecture(cell: str) -> dict[str, Any]:
    """What a configuration class is given: names with plain values of a size that models have.
    Raises ValueError."""
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        raise ValueError('not an object with a "kind"')
    for name, value in found.items():
        most = (
            MOST_LAYERS
            if any(word in name for word in ("layer", "depth", "blocks"))
            else LARGEST_WIDTH
        )
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and not abs(value) <= most
        ):
            raise ValueError(f"{name} {value} is more than a model has")
    return found


#: How the cell of a setting is read, by its type.
READERS: dict[str, Callable[[TrainingSetting, str], Any]] = {
    "text": _text,
    "strategy": _text,
    "flag": lambda setting, cell: _flag(setting.name, cell),
    "count": _whole,
    "whole": _whole,
    "positive": lambda setting, cell: _number(cell, zero=False),
    "amount": lambda setting, cell: _number(cell, zero=True),
    "names": lambda setting, cell: tuple(plain_text(cell).replace(",", " ").split()),
    "object": lambda setting, cell: _architecture(cell),
}


def choices() -> dict[str, tuple[str, ...]]:
    """The names that a recipe knows, of what only certain names can stand for."""
    return {setting.name: setting.choices for setting in published() if setting.choices}


def known_filters(
    device: str | None, family: str | None, strategy: str | None, items: Iterable[Case | Refused]
) -> list[Case | Refused]:
    """Those of a device, a family and a strategy (contained, whatever the case). Raises
    QuestionError where none is left."""
    wanted = {"gpu": device, "family": family, "strategy": strategy and strategy.replace("-", "_")}
    items = list(items)
    kept = [
        item
        for item in items
        if isinstance(item, Refused)
        or all(
            not text or text.lower() in str(getattr(item, name)).lower()
            for name, text in wanted.items()
        )
    ]
    if (
        items
        and not any(isinstance(item, Case) for item in kept)
        and any(isinstance(item, Case) for item in items)
    ):
        raise QuestionError("no run is like that", mend="planner runs lists them")
    return kept
