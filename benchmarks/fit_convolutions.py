"""Fit the few shares of convolutions and normalisations to timm's published training steps, and
judge them on other models.

    python benchmarks/fit_convolutions.py --tables DIR

DIR holds ``timm_train_rtx3090.csv`` (model, image size, batch, milliseconds a step; AMP float16,
SGD; results/ of github.com/huggingface/pytorch-image-models). Every second model is fitted, the
others judge. The table is not part of the project; what it teaches are rows of
``profiles/priors/device.csv``. Models are traced, a few seconds each, and kept in the cache.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from planner.devices import priors
from planner.devices.lookup import resolve_device
from planner.errors import PlannerError
from planner.models.resolve import resolve
from planner.step_time.clock import StepClock
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

SHARES = (
    ("convolution", "tensor_share"),
    ("convolution", "bandwidth_share"),
    ("convolution", "depthwise_share"),
    ("convolution", "grouped_share"),
    ("convolution", "depthwise_backward_share"),
    ("normalization", "bandwidth_share"),
    ("any", "bandwidth_share"),
)
TABLE, DEVICE, PRECISION = "timm_train_rtx3090.csv", "rtx-3090", "amp_fp16"


def measured(folder: Path, models: int) -> list[dict[str, str]]:
    """Channels-last rows of the newest torch, evenly over the table, which is in the order of
    speed."""
    with (folder / TABLE).open(newline="") as handle:
        rows = [
            r
            for r in csv.DictReader(handle)
            if r["memory_format"].startswith("channels_last")
            and r["torch"] == "1.12"
            and r["img_size"] == "224"
        ]
    return rows[:: max(1, len(rows) // models)]


def traced(rows: list[dict[str, str]]) -> list[tuple[str, float, object, np.ndarray]]:
    """(model, measured seconds, trace, dims), of the models whose convolutions take part and that
    can be traced."""
    out = []
    for row in rows:
        batch = int(row["batch_size"])
        try:
            facts = resolve(f"timm:{row['model']}")
            trace = trace_for(facts, Recipe("fine_tune", facts.task, PRECISION, "sgd_momentum")).at(
                B=batch
            )
        except PlannerError as error:
            print(f"  left out {row['model']}: {error}")
            continue
        if sum(s.op.startswith("aten.convolution.") for s in trace.signatures) > 5:
            out.append(
                (row["model"], float(row["train_step_ms"]) / 1e3, trace, trace.dims(B=batch))
            )
    return out


def log_errors(samples: list, values: np.ndarray) -> np.ndarray:
    table, spec = priors._table(), resolve_device(DEVICE).spec
    for key, value in zip(SHARES, values):
        for name in (spec.key, spec.compute_capability, f"{spec.compute_capability[0]}.x"):
            table[key].pop(name, None)
        table[key][""] = float(value)
    return np.array(
        [
            np.log(StepClock(spec).price(trace, dims, precision=PRECISION).seconds / seconds)
            for _, seconds, trace, dims in samples
        ]
    )


def fit(samples: list, start: np.ndarray, rounds: int) -> np.ndarray:
    """Random search for the least mean |log error|, shares kept below 0.95."""
    generator, best = np.random.default_rng(0), start
    loss = np.abs(log_errors(samples, best)).mean()
    for _ in range(rounds):
        trial = np.clip(
            best
            * np.exp(generator.normal(size=best.size) * 0.2 * (generator.random(best.size) < 0.4)),
            0.02,
            0.95,
        )
        score = np.abs(log_errors(samples, trial)).mean()
        if score < loss:
            best, loss = trial, score
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=120)
    options = parser.parse_args()
    samples = traced(measured(options.tables, options.models))
    spec = resolve_device(DEVICE).spec
    start = np.array([priors.prior(spec, *key) for key in SHARES])
    teach, judge = samples[::2], samples[1::2]
    for name, values in (("before", start), ("fitted", fit(teach, start, options.rounds))):
        print(
            name,
            ", ".join(
                f"{kind} {parameter} {v:.2f}" for (kind, parameter), v in zip(SHARES, values)
            ),
        )
        for which, part in (("taught", teach), ("kept aside", judge)):
            errors = log_errors(part, values)
            print(
                f"  {which}: n {len(part)}, median |log error| "
                f"{np.median(np.abs(errors)):.3f}, bias {np.median(errors):+.3f}"
            )
    for (model, seconds, _, _), error in zip(judge, log_errors(judge, values)):
        print(f"  {model:32} {seconds * 1e3:8.1f} ms measured, x{np.exp(error):.2f}")


if __name__ == "__main__":
    main()
