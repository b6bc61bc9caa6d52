"""Weights & Biases: a run's folder (``wandb/run-…``, or its ``files``), or a run's exported history
as CSV, JSON or JSON lines.

``config.yaml`` and ``wandb-metadata.json`` beside the summary are read for the setup; of the
metadata only the devices.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from planner.errors import DataError
from planner.files import open_regular
from planner.ledger.importers import progress
from planner.ledger.importers.found import Found, Problems
from planner.ledger.importers.parameters import setup_of
from planner.ledger.importers.text import json_of, lenient, lines_of, number, read_text, table_of

SUMMARY, CONFIG, METADATA = "wandb-summary.json", "config.yaml", "wandb-metadata.json"
HISTORIES = ("history.csv", "history.json", "history.jsonl", "wandb-history.jsonl")
#: The trainer's own step, before W&B's, which counts calls of log().
STEPS = ("train/global_step", "trainer/global_step", "global_step", "step", "_step", "Step")
TIMES = ("_runtime", "_timestamp", "Relative Time (Process)", "Relative Time (Wall)")
MEMORY = ("system.gpu.{}.memoryAllocatedBytes", "gpu.{}.memoryAllocatedBytes")
POWER = ("system.gpu.{}.powerWatts", "gpu.{}.powerWatts")
MOST_GPUS = 16


def recognises(place: Path) -> bool:
    if place.is_dir():
        return any(
            (folder / name).is_file()
            for folder in (place, place / "files")
            for name in (SUMMARY, *HISTORIES)
        )
    if place.name == SUMMARY:
        return True
    if place.suffix.lower() not in (".csv", ".json", ".jsonl"):
        return False
    try:
        with open_regular(place) as handle:
            head = handle.read(65536)
        return b"_runtime" in head and b"_step" in head or b"Relative Time (" in head
    except OSError:
        return False


def read(place: Path, problems: Problems) -> Iterator[Found]:
    """One run. Raises DataError."""
    folder = place if place.is_dir() else place.parent
    folder = (
        folder / "files"
        if not (folder / SUMMARY).is_file() and (folder / "files").is_dir()
        else folder
    )
    summary = place if place.name == SUMMARY else folder / SUMMARY
    history = (
        place
        if place.is_file() and place.name != SUMMARY
        else next((folder / name for name in HISTORIES if (folder / name).is_file()), None)
    )
    logged = _object(summary, problems) if summary.is_file() and place != history else {}
    rows = _rows(history, problems) if history else []
    if not logged and not rows:
        raise DataError(f"neither a {SUMMARY} nor a history", where=str(place))
    has_neighbours = place.is_dir() or place.name == SUMMARY
    setup, notes = setup_of(_config(folder / CONFIG, problems)) if has_neighbours else ({}, [])
    machine = _metadata(folder / METADATA, problems) if has_neighbours else {}
    measurement, more = _measurement(logged, rows)
    if machine.get("device"):
        setup.setdefault("gpu", machine["device"])
    yield Found(
        "",
        setup,
        measurement,
        (*notes, *more),
        machine=machine,
        ended=_moment(logged.get("_timestamp") or (rows[-1].get("_timestamp") if rows else None)),
    )


def _object(file: Path, problems: Problems) -> dict[str, Any]:
    found = json_of(file, problems)
    if not isinstance(found, dict):
        raise DataError("is not an object", where=str(file))
    return found


def _rows(file: Path, problems: Problems) -> list[dict[str, Any]]:
    if file.suffix.lower() == ".csv":
        return [dict(cells) for _, cells in table_of(file, problems)]
    if file.suffix.lower() == ".jsonl":
        return list(_json_lines(file, problems))
    found = json_of(file, problems)
    found = found.get("history", found.get("rows")) if isinstance(found, dict) else found
    if not isinstance(found, list):
        raise DataError("no list of log lines", where=str(file))
    return [row for row in found if isinstance(row, dict)]


def _json_lines(file: Path, problems: Problems) -> Iterator[dict[str, Any]]:
    for row, line in lines_of(file, problems):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            yield found
        else:
            problems.say(f"{file.name} row {row}", "not a JSON object", row=True)


def _measurement(
    logged: Mapping[str, Any], rows: list[dict[str, Any]]
) -> tuple[dict[str, Any], list[str]]:
    step = next(
        (name for name in STEPS if any(row.get(name) not in (None, "") for row in rows)), None
    )
    clock = next(
        (name for name in TIMES if any(row.get(name) not in (None, "") for row in rows)), None
    )
    moments = (
        [pair for row in rows if (pair := _pair(row, clock, step)) is not None]
        if step and clock
        else []
    )
    found: dict[str, Any] = progress.of_moments(moments) if step not in ("_step", "Step") else {}
    notes = [progress.NOTE] if found else []
    if moments and not found:
        notes.append(
            "its history has no steps of the trainer, only numbers of log lines"
            if step in ("_step", "Step")
            else "its history is too short for step times"
        )
    wall = (
        lenient(logged.get("_runtime"))
        or lenient(_nested(logged, "_wandb", "runtime"))
        or _length(moments)
    )
    found |= {
        "wall_seconds": wall,
        "steps": _steps(logged)
        or (progress.last_step(moments) if step not in ("_step", "Step") else None),
    }
    found |= _summed_up(logged, found) | _losses(rows) | _devices(rows)
    if "step_seconds" in found and "step_samples" not in found:
        notes.append("the step time is the mean of the run; waits, evaluation and saving are in it")
    return {name: value for name, value in found.items() if value is not None}, notes


def _pair(row: Mapping[str, Any], clock: str, step: str) -> tuple[float, float] | None:
    try:
        moment, at = number(row.get(clock)), number(row.get(step))
    except ValueError:
        return None
    return (moment, at) if moment is not None and at is not None else None


def _length(moments: list[tuple[float, float]]) -> float | None:
    seconds = [moment for moment, _ in moments]
    return (max(seconds) - min(seconds)) or None if seconds else None


def _steps(logged: Mapping[str, Any]) -> int | None:
    value = next(
        (found for name in STEPS[:3] if (found := lenient(logged.get(name))) is not None), None
    )
    return int(value) if value is not None and value >= 1 and value < 2**53 else None


def _summed_up(logged: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What transformers' integration leaves in the summary."""
    runtime = lenient(logged.get("train_runtime") or logged.get("train/train_runtime"))
    rate = lenient(
        logged.get("train_samples_per_second") or logged.get("train/train_samples_per_second")
    )
    steps = found.get("steps")
    mean = runtime / steps if runtime and steps else None
    more = {"samples_per_second": rate, "step_seconds_mean": mean}
    return more if "step_seconds" in found or mean is None else more | {"step_seconds": mean}


def _losses(rows: list[dict[str, Any]]) -> dict[str, float]:
    for name in ("train/loss", "train_loss", "loss"):
        values = [value for row in rows if (value := lenient(row.get(name))) is not None]
        if values:
            return {"loss_first": values[0], "loss_last": values[-1]}
    return {}


def _devices(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """System metrics, where the history was exported with them: the fullest device, and all
    devices' mean power."""
    peaks = [
        value
        for number_ in range(MOST_GPUS)
        for row in rows
        for name in MEMORY
        if (value := lenient(row.get(name.format(number_)))) is not None
    ]
    watts = []
    for number_ in range(MOST_GPUS):
        values = [
            value
            for row in rows
            for name in POWER
            if (value := lenient(row.get(name.format(number_)))) is not None
        ]
        if values:
            watts.append(sum(values) / len(values))
    return {
        "device_used_bytes": int(max(peaks)) if peaks and max(peaks) >= 1 else None,
        "mean_watts": sum(watts) if watts else None,
    }


def _config(file: Path, problems: Problems) -> dict[str, Any]:
    """``{name: {"value": …}}``, the values taken out."""
    if not file.is_file():
        return {}
    import yaml

    try:
        found = yaml.load(
            read_text(file, problems), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problems.say(file.name, f"not YAML: {error}")
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        str(name): value.get("value") if isinstance(value, dict) and "value" in value else value
        for name, value in found.items()
    }


def _metadata(file: Path, problems: Problems) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        logged = _object(file, problems)
    except DataError as error:
        problems.say(file.name, error.what)
        return {}
    name = logged.get("gpu") if isinstance(logged.get("gpu"), str) else None
    found = {
        "device": name,
        "system": logged.get("os") if isinstance(logged.get("os"), str) else None,
        "cores": logged.get("cpu_count"),
    }
    return {key: value for key, value in found.items() if value is not None}


def _nested(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _moment(stamp: Any) -> datetime.datetime | None:
    seconds = lenient(stamp)
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None
