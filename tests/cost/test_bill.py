"""From GPU hours to a bill: every part sums, rounding never pays back, and what is unknown is
said."""

import datetime
import importlib.util
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.bill import SideCosts, bill
from planner.cost.codecarbon import codecarbon_figure, constant, memory_modules, ram_watts
from planner.cost.energy import energy, grid_at, intensity_spread, load_factor
from planner.cost.owned import owned
from planner.cost.prices.offers import given as given_price
from planner.cost.prices.offers import offers
from planner.cost.repeats import extra_runs
from planner.cost.terms import (
    BillingRule,
    billed_hours,
    billing_rule,
    egress_rate,
    egress_usd,
    storage_rate,
    storage_usd,
)
from planner.devices.lookup import find_device
from planner.errors import QuestionError
from planner.figures import Estimate
from planner.units import GIB

DAY = datetime.date(2026, 11, 21)


def offer_of(provider, gpu="h100-sxm", gpus=1):
    return offers(gpu, gpus=gpus, provider=provider, on_date=DAY)[0]


@settings(max_examples=80, deadline=None)
@given(
    hours=st.floats(1e-4, 1e4),
    granularity=st.sampled_from([1, 60, 900, 3600]),
    minimum=st.sampled_from([0, 60, 3600]),
)
def test_rounding_goes_up_by_less_than_a_step_and_keeps_the_minimum(hours, granularity, minimum):
    rule = BillingRule(granularity, minimum, "test")
    paid = rule.billed_hours(hours) * 3600
    assert paid >= max(minimum, hours * 3600) * (1 - 1e-9) and paid <= max(
        minimum, hours * 3600
    ) + granularity * (1 + 1e-9)
    assert math.isclose(paid / granularity, round(paid / granularity), abs_tol=1e-6)
    assert rule.billed_hours(0) == 0


def test_rules_are_the_providers_own():
    assert billing_rule("aws", "p5.48xlarge").minimum_seconds == 60
    assert (
        billing_rule("oracle", "BM.GPU.H100.8").minimum_seconds == 3600
        and billing_rule("oracle", "VM.GPU.A10.1").minimum_seconds == 60
    )
    assert billing_rule("runpod-secure").granularity_seconds == 1 and billing_rule("verda") is None
    ten_minutes = Estimate.exact(1 / 6)
    # an hour at the least
    assert bill(ten_minutes.scale(8), offer_of("oracle", gpus=8), gpus=8).usd.p50 == pytest.approx(
        80.0
    )
    assert bill(ten_minutes, offer_of("verda")).usd.p90 == pytest.approx(
        offer_of("verda").usd_per_gpu_hour
    )
    unknown = billed_hours(ten_minutes, None)
    assert unknown.p50 == ten_minutes.p50 and unknown.p90 == 1.0
    assert any("not published" in text for text in bill(ten_minutes, offer_of("verda")).assumptions)


parts = st.floats(0, 1e5)


@settings(max_examples=100, deadline=None)
@given(
    hours=st.floats(0.01, 1e5),
    lost=st.floats(0, 1),
    trials=st.integers(1, 50),
    failed=st.floats(0, 0.9),
    labels=parts,
    storage=parts,
    egress=parts,
    api=parts,
    provider=st.sampled_from(["aws", "lambda", "verda", "oracle", "gcp"]),
    gpus=st.sampled_from([1, 2, 8]),
)
def test_the_parts_sum_whatever_is_beside(
    hours, lost, trials, failed, labels, storage, egress, api, provider, gpus
):
    offer, gpu_hours = offer_of(provider, gpus=gpus), Estimate(hours * 0.8, hours, hours * 1.5)
    beside = SideCosts(lost * hours, extra_runs(trials, failed), labels, storage, egress, api)
    paid = bill(gpu_hours, offer, gpus=gpus, side_costs=beside)
    assert sum(paid.breakdown.values()) == pytest.approx(paid.usd.p50) and all(
        value >= 0 for value in paid.breakdown.values()
    )
    assert paid.usd.p10 <= paid.usd.p50 <= paid.usd.p90
    plain = bill(gpu_hours, offer, gpus=gpus)
    assert paid.usd.p50 >= plain.usd.p50 * (1 - 1e-12)
    assert paid.breakdown["compute"] + paid.breakdown["lost_work"] == pytest.approx(plain.usd.p50)


def test_trials_multiply_the_run_not_the_labels():
    offer = given_price(2.0, "h100-sxm", on_date=DAY)
    paid = bill(
        Estimate.exact(10.0),
        offer,
        side_costs=SideCosts(extra_runs=extra_runs(4, 0.0), labels_usd=500.0),
    )
    assert paid.usd.p50 == pytest.approx(4 * 20 + 500) and paid.breakdown == pytest.approx(
        {
            "compute": 20,
            "lost_work": 0,
            "repeats": 60,
            "data": 500,
            "storage": 0,
            "egress": 0,
            "api": 0,
        }
    )


def test_storage_and_egress_are_rows_or_unknown():
    rate = storage_rate("runpod-secure")
    assert storage_usd(100 * GIB, 730, rate) == pytest.approx(7.0) and rate.source
    aws = egress_rate("aws")
    assert egress_usd(50 * GIB, aws) == 0 and egress_usd(150 * GIB, aws) == pytest.approx(50 * 0.09)
    assert (
        egress_rate("lambda").usd_per_gib == 0
        and egress_rate("verda") is None
        and storage_rate("gcp") is None
    )


def test_owned_hardware_is_purchase_over_its_hours_and_electricity():
    spec = find_device("a100-sxm-80")
    offer = owned(
        spec,
        usd=15_000,
        years=4,
        utilisation=0.5,
        usd_per_kwh=0.30,
        on_date=DAY,
        watts=Estimate.exact(350),
    )
    # the overhead is the median of the clouds' that publish theirs
    electricity = 0.35 * 0.30 * 1.125
    assert offer.usd_per_gpu_hour == pytest.approx(
        15_000 / (4 * 8766 * 0.5) + electricity, rel=0.02
    )
    busier = owned(spec, usd=15_000, years=4, utilisation=1.0, usd_per_kwh=0.30, on_date=DAY)
    assert (
        busier.usd_per_gpu_hour < offer.usd_per_gpu_hour
        and "repairs" in offer.source
        and offer.caveats(3) == ()
    )
    assert (
        owned(spec, usd=0, years=1, utilisation=1, usd_per_kwh=0.1, on_date=DAY).usd_per_gpu_hour
        > 0
    )
    for wrong in (
        {"usd": -1},
        {"years": 0},
        {"utilisation": 0},
        {"utilisation": 1.1},
        {"usd_per_kwh": math.nan},
    ):
        with pytest.raises(QuestionError):
            owned(spec, **{"usd": 1, "years": 1, "utilisation": 0.5, "usd_per_kwh": 0.1} | wrong)
    with pytest.raises(QuestionError, match="not published"):
        owned(find_device("gh200-96"), usd=1, years=1, utilisation=0.5, usd_per_kwh=0.1)


def test_carbon_has_the_grid_s_range_and_date():
    found = energy(
        find_device("a100-sxm-80"), Estimate.exact(100.0), provider="gcp", region="us-central1"
    )
    assert found.grid.year and found.grid.place and found.grid.assumption is None
    grams = found.grid.grams_co2e_per_kwh
    assert grams.p10 < grams.p50 < grams.p90 and 0.05 < intensity_spread() < 0.5
    spread = math.hypot(math.log(found.kwh.p90 / found.kwh.p50), math.log(grams.p90 / grams.p50))
    assert math.log(found.co2_kg.p90 / found.co2_kg.p50) == pytest.approx(spread)
    assert grid_at(None, None).assumption and grid_at(None, None).grams_co2e_per_kwh.p50 == 475


def test_codecarbon_s_figure_is_its_method_by_hand():
    watts = Estimate.exact(300.0)
    found = codecarbon_figure(watts, Estimate.exact(10.0), gpus=2, grams_per_kwh=400.0, ram_gib=256)
    assert found.kwh.p50 == pytest.approx(
        10 * (600 + 42.5 + 38.0) / 1000
    ) and found.co2_kg.p50 == pytest.approx(found.kwh.p50 * 0.4)
    assert "left out" in codecarbon_figure(watts, Estimate.exact(1), gpus=1, grams_per_kwh=1).method
    assert codecarbon_figure(
        watts, Estimate.exact(1), gpus=16, machines=2, grams_per_kwh=1
    ).kwh.p50 == pytest.approx((16 * 300 + 2 * 42.5) / 1000)


#: codecarbon 3.3.2's own answers: memory in GB → (modules, watts).
THEIRS = {
    1: (1, 10),
    8: (2, 10),
    16: (2, 10),
    32: (4, 20),
    48: (4, 20),
    64: (4, 20),
    100: (8, 38),
    128: (8, 38),
    256: (8, 38),
    512: (8, 38),
    1152: (9, 42),
    2048: (16, 70),
}


@pytest.mark.parametrize("memory", [*THEIRS])
def test_memory_is_counted_as_codecarbon_counts_it(memory):
    if memory > 16 or memory <= 2:
        assert memory_modules(memory) == THEIRS[memory][0]
    assert ram_watts(memory) == pytest.approx(THEIRS[memory][1])


@pytest.mark.skipif(
    importlib.util.find_spec("codecarbon") is None, reason="codecarbon is not installed"
)
def test_the_constants_are_those_of_the_installed_codecarbon():
    from codecarbon.external import hardware, ram

    assert (
        hardware.POWER_CONSTANT,
        hardware.CONSUMPTION_PERCENTAGE_CONSTANT,
        ram.RAM_SLOT_POWER_X86,
    ) == (constant("cpu_tdp_watts"), constant("cpu_load_share"), constant("ram_watts_per_dimm"))


def test_the_load_factor_is_the_measured_one():
    assert energy(find_device("v100-sxm2-16"), Estimate.exact(1)).watts.p50 == pytest.approx(
        load_factor()[0].p50 * find_device("v100-sxm2-16").tdp_watts
    )
