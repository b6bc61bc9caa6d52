"""Longer, larger and more never take less, nor cost less: over every recipe that ships, and by
hypothesis over questions."""

import numpy as np
import pytest
import shipped
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import estimate
from planner.devices.lookup import find_device
from planner.question import Question
from planner.step_time.clock import StepClock
from planner.step_time.least import least_seconds

#: Every shipped trace is read for these, which asks no clock and no price.
OVER_ALL = pytest.mark.slow

DEVICES = ("h100-sxm", "rtx-3060-12", "l4", "a100-sxm-80")


def priced(step, device):
    """(trace, dims, points, times) of what one trace covers; None where nothing ships."""
    points = [at for at in shipped.points(step.model) if at[0] > 1 and step.trace(*at) is not None]
    if not points:
        return None
    trace = step.trace(*points[-1])
    points = [at for at in points if step.trace(*at) is trace]
    dims = trace.dims(
        B=np.array([batch for batch, _ in points]),
        S=np.array([length for _, length in points]),
        T=np.full(len(points), shipped.TARGET),
    )
    recipe = step.source.recipe
    time = StepClock(find_device(device)).price(trace, dims, precision=recipe.precision)
    return trace, dims, points, time


@OVER_ALL
def test_a_larger_batch_or_a_longer_one_never_takes_less():
    seen = 0
    for number, step in enumerate(shipped.steps()):
        found = priced(step, DEVICES[number % len(DEVICES)])
        if found is None:
            continue
        _, _, points, time = found
        for (batch, length), seconds in zip(points, time.seconds):
            for (other, longer), more in zip(points, time.seconds):
                if other >= batch and longer >= length:
                    assert seconds <= more * (1 + 1e-9), (step, batch, length, other, longer)
                    seen += 1
    assert seen > 1500


@OVER_ALL
def test_no_bound_is_above_what_is_priced():
    for number, step in enumerate(shipped.steps()):
        device = DEVICES[number % len(DEVICES)]
        found = priced(step, device)
        if found is None:
            continue
        trace, dims, _, time = found
        least = least_seconds(
            trace,
            dims,
            find_device(device),
            precision=step.source.recipe.precision,
            compiled=False,
        )
        assert (least.micro_batch + least.update <= time.device_busy_seconds * (1 + 1e-9)).all(), (
            step
        )
        assert (least.products <= least.micro_batch * (1 + 1e-9)).all()


def asked(**fields):
    (option,) = estimate(
        Question(
            **(
                {
                    "model": "gpt2",
                    "samples": 4000,
                    "tokens_per_sample": 200.0,
                    "strategy": ["fine_tune"],
                    "gpu": "a100-sxm-80",
                    "micro_batch": 8,
                    "price": 2.0,
                }
                | fields
            )
        )
    )["options"]
    return option


def more_costs_more(less, more):
    for path in (("run", "gpu_hours"), ("run", "wall_hours"), ("cost", "usd"), ("energy_kwh",)):
        low, high = less, more
        for key in path:
            low, high = low[key], high[key]
        assert low["p50"] <= high["p50"] * (1 + 1e-9), path


@settings(max_examples=25, deadline=None)
@given(
    field=st.sampled_from(["samples", "epochs", "max_steps", "tokens_per_sample", "trials"]),
    low=st.integers(2, 900),
    factor=st.floats(1, 8),
)
def test_more_of_anything_never_costs_less(field, low, factor):
    high = int(low * factor)
    more_costs_more(asked(**{field: low}), asked(**{field: high}))


@pytest.mark.parametrize("strategy", ["fine_tune", "lora"])
def test_more_devices_are_faster_and_never_cheaper(strategy):
    found = [
        asked(gpus=gpus, global_batch=64, micro_batch=8, strategy=[strategy], samples=6400)
        for gpus in (1, 2, 4, 8)
    ]
    for fewer, more in zip(found, found[1:]):
        assert more["run"]["wall_hours"]["p50"] <= fewer["run"]["wall_hours"]["p50"]
        assert more["run"]["gpu_hours"]["p50"] >= fewer["run"]["gpu_hours"]["p50"]
        assert more["cost"]["usd"]["p50"] >= fewer["cost"]["usd"]["p50"]
