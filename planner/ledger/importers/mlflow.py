"""MLflow's file store: a run's folder, an experiment's or the whole ``mlruns``: ``meta.yaml``,
``params/NAME``, ``metrics/NAME`` (lines of milliseconds, value, step). Tags name users and
machines: of them nothing is read.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planner.errors import DataError
from planner.ledger.importers import progress
from planner.ledger.importers.found import Found, Problems
from planner.ledger.importers.parameters import setup_of
from planner.ledger.importers.text import lenient, lines_of, number, read_text

MOST_RUNS = 10_000
# MLflow's system metrics divide by it (mlflow/system_metrics/metrics/gpu_monitor.py)
MEGABYTE = 10**6


def recognises(place: Path) -> bool:
    return place.is_dir() and next(_runs(place), None) is not None


def read(place: Path, problems: Problems) -> Iterator[Found]:
    """Every run below the folder. Raises DataError where there is none."""
    some = False
    for number_, folder in enumerate(_runs(place)):
        if number_ >= MOST_RUNS:
            problems.say(place.name, f"only the first {MOST_RUNS} runs were taken")
            break
        some = True
        yield _run(folder, problems)
    if not some:
        raise DataError(
            "no run of MLflow here: a folder with meta.yaml, params and metrics", where=str(place)
        )


def _runs(place: Path) -> Iterator[Path]:
    for depth in ("meta.yaml", "*/meta.yaml", "*/*/meta.yaml"):
        for file in sorted(place.glob(depth)):
            if (file.parent / "metrics").is_dir() or (file.parent / "params").is_dir():
                yield file.parent


def _run(folder: Path, problems: Problems) -> Found:
    meta = _meta(folder / "meta.yaml", problems)
    setup, notes = setup_of(
        {
            file.relative_to(folder / "params").as_posix(): read_text(file, problems).strip()
            for file in _files(folder / "params")
        }
    )
    metrics = {
        file.relative_to(folder / "metrics").as_posix(): _lines(file, problems)
        for file in _files(folder / "metrics")
    }
    start, end = lenient(meta.get("start_time")), lenient(meta.get("end_time"))
    moments = [
        (at / 1e3, step)
        for name, lines in metrics.items()
        if not name.startswith(("system/", "eval"))
        for at, _, step in lines
    ]
    found: dict[str, Any] = progress.of_moments(moments)
    notes += [progress.NOTE] if found else []
    found |= {
        "wall_seconds": (end - start) / 1e3 if start and end and end > start else None,
        "steps": progress.last_step(moments),
    }
    found |= _summed_up(metrics, found) | _system(metrics)
    ended = datetime.datetime.fromtimestamp(end / 1e3, datetime.UTC) if end and end < 1e14 else None
    if str(meta.get("status")) in ("4", "FAILED", "5", "KILLED"):
        notes.append("MLflow says that the run failed or was killed")
    return Found(
        folder.name,
        setup,
        {name: value for name, value in found.items() if value is not None},
        tuple(notes),
        ended=ended,
    )


def _meta(file: Path, problems: Problems) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(read_text(file, problems))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problems.say(f"{file.parent.name}/meta.yaml", f"not YAML: {error}")
        return {}
    return found if isinstance(found, dict) else {}


def _files(folder: Path) -> list[Path]:
    return (
        sorted(file for file in folder.rglob("*") if file.is_file() and file.stat().st_size < 2**28)
        if folder.is_dir()
        else []
    )


def _lines(file: Path, problems: Problems) -> list[tuple[float, float, float]]:
    """(milliseconds, value, step)."""
    kept = []
    for row, line in lines_of(file, problems):
        try:
            cells = [number(cell) for cell in line.split()]
            kept.append((cells[0], cells[1], cells[2] if len(cells) > 2 else 0.0))
            if None in kept[-1]:
                raise ValueError("a number is missing")
        except (ValueError, IndexError) as error:
            kept = kept[:-1] if kept and None in kept[-1] else kept
            problems.say(
                f"{file.parent.parent.name}/metrics/{file.name} row {row}", str(error), row=True
            )
    return kept


def _summed_up(metrics: dict[str, list], found: dict[str, Any]) -> dict[str, Any]:
    last = {name: lines[-1][1] for name, lines in metrics.items() if lines}
    loss = metrics.get("loss") or metrics.get("train_loss") or metrics.get("train/loss") or []
    runtime, steps = lenient(last.get("train_runtime")), found.get("steps")
    mean = runtime / steps if runtime and steps else None
    more = {
        "samples_per_second": lenient(last.get("train_samples_per_second")),
        "step_seconds_mean": mean,
    }
    if mean and "step_seconds" not in found:
        more["step_seconds"] = mean
    return more | ({"loss_first": loss[0][1], "loss_last": loss[-1][1]} if loss else {})


def _system(metrics: dict[str, list]) -> dict[str, Any]:
    used = [
        value
        for name, lines in metrics.items()
        if name.startswith("system/gpu_") and name.endswith("_memory_usage_megabytes")
        for _, value, _ in lines
    ]
    watts = [
        sum(value for _, value, _ in lines) / len(lines)
        for name, lines in metrics.items()
        if name.startswith("system/gpu_") and name.endswith("_power_usage_watts") and lines
    ]
    return {
        "device_used_bytes": int(max(used) * MEGABYTE) if used and max(used) > 0 else None,
        "mean_watts": sum(watts) if watts else None,
    }
