"""Padding is computed on and is no data: counts, rates and bills are of real tokens."""

import numpy as np
import pytest

from planner import estimate
from planner.datasets.profile import DatasetProfile
from planner.plan.by_token.provider_tuning import tuned_by_providers
from planner.plan.inputs.problem import understand
from planner.question import Question

LENGTHS = np.array([40] * 60 + [400] * 30 + [1600] * 10)


@pytest.fixture
def uneven(monkeypatch):
    """A hundred records of which a tenth is forty times as long as most."""
    data = DatasetProfile("text", 5000, LENGTHS, sampled=100, source="counted", format="jsonl")
    monkeypatch.setattr("planner.plan.inputs.problem._data", lambda *_: data)
    return data


def asked(**fields):
    return Question(
        **({"model": "Llama-3.2-1B", "samples": 5000, "tokens_per_sample": 1.0} | fields)
    )


@pytest.mark.parametrize("padding", ["longest", "max", "packed"])
def test_scratch_counts_the_tokens_that_the_data_has(uneven, padding):
    fields = {"padding": padding, "max_length": 1600, "strategy": ["scratch"], "gpu": "h100-sxm"}
    (option,) = estimate(asked(**fields))["options"]
    (warning,) = [line for line in option["warnings"] if "from scratch" in line]
    real = LENGTHS.mean() * 5000
    assert f"the data has {real / 1e6:.2f}M" in warning
    step, run = option["step"], option["run"]
    hours = run["of_which_hours"]["training"]["steps"]
    assert step["tokens_per_second"] <= step["padded_tokens_per_second"] * (1 + 1e-9)
    trained = step["tokens_per_second"] * hours * 3600 / run["epochs"]
    assert trained == pytest.approx(
        real, rel=0.02
    )  # the last step of an epoch may be a smaller one
    # hours of what would be enough, from the real rate
    enough = option["scratch"]
    hours = enough["tokens_or_samples_needed"] / step["tokens_per_second"] / 3600
    assert enough["gpu_hours"]["p50"] == pytest.approx(hours)


def test_padding_makes_the_difference_of_the_two_rates(uneven):
    fields = {"strategy": ["lora"], "gpu": "h100-sxm", "micro_batch": 8}
    (option,) = estimate(asked(**fields))["options"]
    step = option["step"]
    assert step["padded_tokens_per_second"] > 1.8 * step["tokens_per_second"]
    assert step["tokens_per_second"] == pytest.approx(step["samples_per_second"] * LENGTHS.mean())


def test_providers_bill_what_is_left_of_each_record(uneven):
    question = asked(
        strategy=["provider_fine_tune"], max_length=400, epochs=1, model="Llama-3.1-8B"
    )
    options = tuned_by_providers(understand(question))
    kept = np.minimum(LENGTHS, 400).mean() * 5000
    assert kept < LENGTHS.mean() * 5000
    noted = [line for option in options for line in option.assumptions if "tokens billed" in line]
    assert noted and all(f"{kept / 1e6:.2f}M" in line or "validation" in line for line in noted)


def test_packed_records_are_evaluated_packed(uneven):
    def evaluated(**fields):
        (option,) = estimate(asked(strategy=["lora"], gpu="h100-sxm", micro_batch=4, **fields))[
            "options"
        ]
        return option["run"]["breakdown_hours"]["evaluation"]

    packed = evaluated(padding="packed", max_length=1600)
    assert packed < evaluated(padding="max", max_length=1600) * 0.25
