"""The range of a run's hours: that of whole runs, joined with what they do not hold."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner
from planner import Question
from planner.figures import Estimate
from planner.uncertainty.runs import AROUND, WHOLE, RunSpread, kinds, peak_spread, run_spread

STEP = Estimate.with_spread(1.0, 0.3)


def test_the_steps_own_error_is_not_counted_twice():
    """By hand: hours that hold the step's error alone get the row's sides, 10·exp(-0.5) = 6.07 and
    10·exp(1) = 27.2."""
    found = RunSpread(0.5, 1.0, WHOLE, 50, 11).around(STEP.scale(10), STEP)
    assert (found.p10, found.p50, found.p90) == pytest.approx((6.065, 10.0, 27.183), rel=1e-3)


def test_what_the_step_does_not_hold_is_joined():
    hours = STEP.scale(10) * Estimate.with_spread(1.0, 0.4)  # the size of the data
    found = RunSpread(0.5, 1.0, WHOLE, 50, 11).around(hours, STEP)
    beyond = 1.2815515594600038 * 0.4
    assert math.log(found.p90 / found.p50) == pytest.approx(math.hypot(1.0, beyond))
    assert math.log(found.p50 / found.p10) == pytest.approx(math.hypot(0.5, beyond))


def test_around_a_measured_step_the_rest_is_joined():
    found = RunSpread(0.1, 0.1, AROUND, 0, 0).around(STEP.scale(10), STEP)
    own = 1.2815515594600038 * 0.3
    assert math.log(found.p90 / 10) == pytest.approx(math.hypot(0.1, own))


@given(
    st.floats(1e-6, 1e6),
    st.floats(0, 2),
    st.floats(0, 2),
    st.floats(0, 3),
    st.floats(0, 3),
    st.sampled_from([WHOLE, AROUND]),
)
def test_the_middle_stays_and_the_order_holds(middle, step, data, lower, upper, holds):
    one = Estimate.with_spread(1.0, step)
    hours = (one * Estimate.with_spread(1.0, data)).scale(middle)
    found = RunSpread(lower, upper, holds, 1, 1).around(hours, one)
    assert found.p50 == hours.p50
    assert 0 < found.p10 <= found.p50 <= found.p90


def test_nothing_takes_no_time():
    assert RunSpread(0.5, 1.0, WHOLE, 1, 1).around(Estimate.exact(0.0), STEP) == Estimate.exact(0.0)


def test_every_basis_has_rows_and_a_measured_step_is_surer():
    own = kinds("causal_lm", "qlora", "trainer", 1)
    rented, calibrated, exact = (
        run_spread(basis, own) for basis in ("datasheet", "calibrated", "exact")
    )
    assert rented.holds == WHOLE and rented.runs >= 40 and rented.sources >= 8
    assert calibrated.holds == exact.holds == AROUND
    assert max(calibrated.upper, exact.upper) < rented.upper


def test_an_unknown_kind_takes_that_of_all_runs():
    new = run_spread("datasheet", {"modality": "smell"})
    assert new == run_spread("datasheet", {})


def test_an_answer_says_whose_range_it_is_and_its_parts_sum():
    answer = planner.estimate(
        Question(
            model="gpt2",
            samples=20_000,
            tokens_per_sample=300,
            strategy=["fine_tune"],
            gpu="a10g",
            offline=True,
        )
    )
    option = answer["options"][0]
    run = option["run"]
    hours = run["wall_hours"]
    assert sum(run["breakdown_hours"].values()) == pytest.approx(hours["p50"])
    assert hours["p10"] < hours["p50"] < hours["p90"]
    taught = run_spread("datasheet", kinds("causal_lm", "fine_tune", "trainer", 1))
    assert math.log(hours["p90"] / hours["p50"]) == pytest.approx(taught.upper, rel=0.1)
    assert any("whole runs that" in text for text in option["assumptions"])
    parts = run["of_which_hours"]["training"]
    assert sum(parts.values()) == pytest.approx(run["breakdown_hours"]["training"])
    clean = run["breakdown_hours"]["training"] - parts["beyond_clean_steps"]
    assert run["breakdown_hours"]["training"] == pytest.approx(clean * taught.longer)
    assert parts["steps"] == pytest.approx(run["steps"] * option["step"]["seconds"]["p50"] / 3600)
    assert any("longer than clean steps" in text for text in option["assumptions"])


def test_no_more_is_added_to_steps_that_were_measured():
    """What surrounds a measured step is not known to take long runs any longer."""
    assert run_spread("exact", {}).longer == run_spread("calibrated", {}).longer == 1
    assert run_spread("datasheet", {}).longer > 1


@given(
    st.floats(1e9, 1e11),
    st.floats(0, 0.3),
    st.floats(0, 1),
    st.floats(0, 2),
    st.floats(1e9, 2e11),
)
def test_a_peaks_range_is_widened_up_to_the_device(middle, own, lower, upper, most):
    peak = Estimate.with_spread(middle, own)
    found = RunSpread(lower, upper, WHOLE, 20, 1).around_peak(peak, most)
    assert found.p50 == peak.p50
    assert found.p10 <= peak.p10 and found.p90 >= peak.p90
    assert found.p90 <= max(peak.p90, most)


def test_only_a_trainer_that_reports_peaks_has_their_range():
    assert peak_spread("trainer") is None and peak_spread("loop") is None
    taught = peak_spread("unsloth")
    assert taught is not None and taught.runs >= 20 and taught.sources == 1
    assert taught.upper > taught.lower > 0


def test_the_range_of_a_peak_never_decides_whether_it_fits():
    """A peak that Unsloth's runs may double fits as it did; its range ends at the device."""
    asked = {"samples": 500, "tokens_per_sample": 300, "strategy": ["qlora"], "gpu": "t4"}
    asked |= {"model": "Llama-3.1-8B", "price": 0.4, "offline": True, "micro_batch": 2}
    asked |= {"kbit_preparation": "none", "global_batch": 8, "gradient_checkpointing": "full"}
    plain, wide = (
        planner.estimate(Question(**asked, stack=stack))["options"][0]
        for stack in ("trainer", "unsloth")
    )
    assert plain["fits"] and wide["fits"]
    used = wide["memory"]["device_used_bytes"]
    assert (
        used["p90"] / used["p50"]
        > plain["memory"]["device_used_bytes"]["p90"]
        / (plain["memory"]["device_used_bytes"]["p50"])
    )
    assert used["p90"] <= wide["memory"]["device_total_bytes"]
    assert wide["memory"]["verdict"] == "fits" and wide["memory"]["chance_out_of_memory"] < 0.1
    assert any("the range of the memory is that of" in text for text in wide["assumptions"])
