"""Records of a measured data loader become a rate for other data of the kind: seconds = a + b ·
(pixels, seconds of sound, tokens).

The summary is plain JSON, a part of the device profile. Only numpy is needed to use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from planner import units

#: Below this relative spread of the units two coefficients cannot be told apart from their product.
LEAST_SPREAD = 0.05
#: A sample of next to no units, where nothing is fixed, has no residual that a logarithm could
#: tell.
LEAST_FITTED = 1e-6


def fit_seconds(
    amounts: Sequence[float], seconds: Sequence[float], fixed_share: float
) -> tuple[float, float, float]:
    """(a, b, sigma): seconds of a sample ≈ a + b·amount with a, b ≥ 0, and the standard deviation
    of the log of the residuals.

    Least squares of the relative residuals, scaled so that the means agree: throughput is a mean.
    Where all samples are of one size, ``fixed_share`` of the seconds (the stages whose cost does
    not grow with it) is a. Raises ValueError for no sample.
    """
    x, y = np.asarray(amounts, dtype=float), np.asarray(seconds, dtype=float)
    if not y.size or x.shape != y.shape or not (y > 0).all():
        raise ValueError("a fit needs at least one sample, and positive seconds")
    if x.mean() <= 0 or x.std() < LEAST_SPREAD * x.mean():
        a, b = (
            (float(y.mean()), 0.0)
            if x.mean() <= 0
            else (fixed_share * y.mean(), (1 - fixed_share) * y.mean() / x.mean())
        )
    else:
        (a, b), *_ = np.linalg.lstsq(np.stack([1 / y, x / y], axis=1), np.ones_like(y), rcond=None)
        if a < 0:
            a, b = 0.0, float((x / y).sum() / ((x / y) ** 2).sum())
        elif b < 0:
            a, b = float(y.mean()), 0.0
    fitted = a + b * x
    scale = y.mean() / fitted.mean()
    positive = fitted > LEAST_FITTED * fitted.mean()
    sigma = float(np.std(np.log(y[positive] / fitted[positive]))) if positive.sum() > 1 else 0.0
    return float(a * scale), float(b * scale), sigma


def loader_summary(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """modality → what a loader costs there, from records of the kind ``loader``; of several
    measurements the last.

    ``seconds_per_sample`` and ``seconds_per_<unit>``: a and b of one worker; ``mean_seconds`` and
    ``mean_units``: of the samples measured; ``workers``: samples a second of a real DataLoader by
    number of workers; ``stages``: mean seconds a sample and library of each; ``sigma_log`` of the
    fit, ``scatter_log`` of repeated passes; ``dropped_read_seconds``: reading a sample after the
    page cache was asked to forget it (null where not measured); ``cores``, ``devices``,
    ``memory_bytes`` of the host.
    """
    found: dict[str, dict[str, Any]] = {}
    pending: dict[str, dict[str, Any]] = {}
    for record in records:
        if record.get("record") != "loader":
            continue
        modality, stage = record["modality"], record["stage"]
        if stage == "workers":
            if modality in found:
                found[modality]["workers"][str(record["workers"])] = float(
                    record["samples_per_second"]
                )
        elif stage == "whole":
            found[modality] = _entry(record, pending.pop(modality, {}))
        elif record.get("cache") == "dropped":
            pending.setdefault(modality, {})["dropped"] = float(record["mean_seconds"])
        elif not record.get("once"):
            pending.setdefault(modality, {}).setdefault("stages", {})[stage] = record
    return found


def _entry(whole: Mapping[str, Any], pending: Mapping[str, Any]) -> dict[str, Any]:
    stages = pending.get("stages", {})
    total = sum(float(stage["mean_seconds"]) for stage in stages.values())
    fixed = sum(
        float(stage["mean_seconds"]) for stage in stages.values() if stage["per"] == "sample"
    )
    a, b, sigma = fit_seconds(whole["units"], whole["samples"], fixed / total if total else 1.0)
    rounds = np.asarray(whole.get("rounds") or [], dtype=float)
    return {
        "unit": whole["unit"],
        "seconds_per_sample": a,
        f"seconds_per_{whole['unit']}": b,
        "mean_seconds": float(np.mean(whole["samples"])),
        "mean_units": float(np.mean(whole["units"])),
        "sigma_log": sigma,
        "scatter_log": float(np.std(np.log(rounds), ddof=1)) if rounds.size > 1 else None,
        "stages": {
            name: {"seconds": float(stage["mean_seconds"]), "library": stage["library"]}
            for name, stage in stages.items()
        },
        "dropped_read_seconds": pending.get("dropped"),
        "workers": {},
        "mean_bytes": whole["data"]["mean_bytes"],
        **whole["host"],
        "data": _described(whole),
        "date": whole["date"],
    }


def _described(whole: Mapping[str, Any]) -> str:
    """``image_folder, 256 of 1,281,167 samples, 107 KiB and 1.8e+05 pixels each``."""
    data, unit = whole["data"], whole["unit"]
    size = "" if unit == "byte" else f" and {data[f'mean_{unit}s']:,.4g} {unit.replace('_', ' ')}s"
    return (
        f"{data['format']}, {data['measured']:,} of {data['samples']:,} samples, "
        f"{units.format_bytes(data['mean_bytes'])}{size} each"
    )


def worker_seconds(entry: Mapping[str, Any], amount: float | None) -> float:
    """Seconds that one worker takes for a sample of so many of the entry's units; of the measured
    samples where it is not known."""
    if amount is None:
        return entry["mean_seconds"]
    return entry["seconds_per_sample"] + entry[f"seconds_per_{entry['unit']}"] * amount


def worker_gain(entry: Mapping[str, Any], workers: float) -> float:
    """How many times as fast as one sample after the other ``workers`` are: measured, linear
    between the measured numbers and flat beyond them.

    Where no loader could be run it is the number of workers, no more than there are cores.
    """
    rates = sorted((int(n), rate) for n, rate in entry["workers"].items() if int(n) > 0)
    if not rates:
        return min(workers, entry["cores"])
    count, rate = np.array(rates, dtype=float).T
    return float(np.interp(workers, count, rate)) * entry["mean_seconds"]


def slowest_stage(entry: Mapping[str, Any]) -> tuple[str, float] | None:
    """(name, its share of the seconds); None where no stage is known."""
    seconds = {name: stage["seconds"] for name, stage in entry["stages"].items()}
    total = sum(seconds.values())
    if not total:
        return None
    name = max(seconds, key=seconds.__getitem__)
    return name, seconds[name] / total
