import datetime
import math

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from planner.cost.bill import bill
from planner.cost.energy import energy, grid_intensity, load_factor
from planner.cost.prices import offers as offer_table
from planner.cost.prices.offers import (
    PER_GPU,
    STALE_DAYS,
    given,
    no_offer,
    offers,
    price_range,
    price_rows,
    providers,
)
from planner.cost.terms import billed_hours, billing_rule
from planner.devices.lookup import find_device
from planner.errors import QuestionError, UnknownNameError
from planner.figures import Estimate
from planner.moment import one_moment

DAY = datetime.date(2026, 11, 21)
PRICED = sorted({row["gpu_key"] for row in price_rows() if row["gpu_key"]})


@pytest.mark.parametrize("key", PRICED)
@pytest.mark.parametrize("gpus", [1, 3, 8])
@pytest.mark.parametrize("spot", [False, True])
def test_offers_are_sorted_current_and_whole(key, gpus, spot):
    found = offers(key, gpus=gpus, spot=spot, on_date=DAY)
    costs = [offer.usd_per_hour_for(gpus) for offer in found]
    assert costs == sorted(costs)
    for offer in found:
        assert (
            offer.usd_per_gpu_hour > 0
            and offer.gpu_key == key
            and offer.spot is spot
            and offer.captured_date <= DAY
            and offer.source
        )
        assert offer.instances_for(gpus) * (offer.gpu_count or 1) >= gpus
        assert math.isclose(
            offer.usd_per_instance_hour, offer.usd_per_gpu_hour * (offer.gpu_count or 1)
        )


def test_known_prices():
    azure = offers("h100-sxm", gpus=8, provider="azure", on_date=DAY)
    assert any(
        offer.usd_per_gpu_hour == pytest.approx(12.29) and offer.gpu_count == 8 for offer in azure
    )
    lambda_ = offers("h100-sxm", gpus=8, provider="lambda", on_date=DAY)
    assert lambda_[0].usd_per_hour_for(8) == pytest.approx(31.92)


def test_two_gpus_of_an_eight_gpu_instance_cost_eight():
    offer = next(
        offer
        for offer in offers("h100-sxm", gpus=2, provider="oracle", on_date=DAY)
        if offer.gpu_count == 8
    )
    assert offer.usd_per_hour_for(2) == pytest.approx(80.0) and offer.instances_for(9) == 2
    assert any("6 are paid and not used" in text for text in offer.caveats(2))
    paid = bill(Estimate(2.0, 2.0, 2.0), offer, gpus=2)  # two devices for one hour
    assert paid.usd.p50 == pytest.approx(80.0) and paid.usd_per_gpu_hour == pytest.approx(40.0)


def test_a_price_after_the_date_is_not_known_yet():
    early = datetime.date(2026, 7, 1)
    assert all(
        offer.captured_date <= early for key in PRICED for offer in offers(key, on_date=early)
    )
    assert offers("h100-sxm", provider="vast", on_date=early) == []


def test_an_old_price_says_its_age():
    later = DAY + datetime.timedelta(days=365)
    offer = offers("h100-sxm", provider="lambda", on_date=later)[0]
    assert (
        offer.is_stale
        and offer.age_days > STALE_DAYS
        and any("days old" in text for text in offer.caveats(1))
    )


def test_a_stale_price_yields_to_a_fresh_one_of_the_same_provider():
    found = offers("h100-sxm", provider="crusoe", on_date=DAY)
    assert found and all(offer.captured_date.year == 2026 for offer in found)


def test_refused_rows_are_never_offered():
    for key in PRICED:
        for offer in offers(key, on_date=DAY):
            assert offer.provider not in ("fireworks", "spot-index")
    assert (
        offers("tpu-v3", on_date=DAY) == []
        and offers("v100-sxm2-16", provider="lambda", on_date=DAY) == []
    )


def test_providers_regions_and_marketplaces():
    assert {offer.provider for offer in offers("h100-sxm", provider="runpod", on_date=DAY)} >= {
        "runpod",
        "runpod-secure",
    }
    assert {
        offer.region
        for offer in offers("h100-sxm", provider="gcp", region="us-central1", on_date=DAY)
    } == {"us-central1"}
    assert not any(offer.is_marketplace for offer in offers("h100-sxm", on_date=DAY))
    assert all(offer.is_marketplace for offer in offers("h100-sxm", provider="vast", on_date=DAY))
    with pytest.raises(UnknownNameError, match="lambda"):
        offers("h100-sxm", provider="lamda")
    with pytest.raises(UnknownNameError):
        offers("h100")
    assert "gpu_names" not in providers()


def test_a_given_price_is_an_offer():
    offer = given(2.5, "h100-sxm", on_date=DAY)
    assert offer.provider == "given" and offer.usd_per_hour_for(3) == 7.5 and offer.caveats(3) == ()
    for wrong in (-1, math.inf, math.nan):
        with pytest.raises(QuestionError):
            given(wrong, "h100-sxm")


def test_the_range_spans_the_providers():
    found = offers("h100-sxm", gpus=8, on_date=DAY)
    spread = price_range(found, 8)
    prices = [offer.usd_per_hour_for(8) / 8 for offer in found]
    assert min(prices) <= spread.p10 <= spread.p50 <= spread.p90 <= max(prices)
    assert spread.p90 / spread.p10 > 2 and price_range([]) is None


def test_a_family_counts_once_in_the_range():
    family = [
        offer for offer in offers("h100-sxm", on_date=DAY) if offer.provider.startswith("runpod")
    ]
    assert len({offer.provider for offer in family}) > 1
    assert price_range(family) == Estimate.exact(min(offer.usd_per_gpu_hour for offer in family))


def test_an_instance_larger_than_needed_is_stale_only_against_as_small_a_one():
    single = offers("h100-sxm", gpus=1, provider="gcp", on_date=DAY)[0]
    assert single.instance_type == "a3-highgpu-1g" and single.gpu_count == 1 and single.is_stale
    eight = offers("h100-sxm", gpus=8, provider="gcp", on_date=DAY)
    assert any(
        offer.instance_type == "a3-highgpu-8g" and offer.gpu_count == 8 and not offer.is_stale
        for offer in eight
    )


def test_a_newer_capture_of_an_offer_wins_and_the_older_one_stays_known():
    """CoreWeave's H100 was read on 2026-09-20 and again on 2026-10-10, when an index gave the price
    per GPU as well."""
    rows = [
        row
        for row in price_rows()
        if (row["provider"], row["instance_type"]) == ("coreweave", "hgx-h100")
    ]
    assert {"2026-09-20", "2026-10-10"} <= {row["captured_date"] for row in rows}
    now = [
        offer
        for offer in offers("h100-sxm", provider="coreweave", on_date=DAY)
        if offer.instance_type == "hgx-h100"
    ]
    assert [(str(offer.captured_date), offer.price_type != PER_GPU) for offer in now] == [
        ("2026-10-10", True)
    ]
    before = offers("h100-sxm", provider="coreweave", on_date=datetime.date(2026, 9, 30))
    assert [str(offer.captured_date) for offer in before] == ["2026-09-20"]


def test_a_place_without_offers_is_refused_with_a_way_out():
    assert offers("h100-sxm", provider="aws", region="eu-west-3", on_date=DAY) == []
    assert "aws (us-east-1)" in str(
        no_offer("h100-sxm", provider="aws", region="eu-west-3", on_date=DAY)
    )
    assert "--price" in str(no_offer("tpu-v3", on_date=DAY))


@for_all(
    st.floats(0.01, 1e6),
    st.floats(0, 2),
    st.floats(0, 2),
    st.integers(1, 64),
    st.sampled_from(PRICED),
    st.floats(0, 100),
)
def test_the_bill_adds_up(hours, below, above, gpus, key, api_usd):
    gpu_hours = Estimate(hours / (1 + below), hours, hours * (1 + above))
    found = offers(key, gpus=gpus, on_date=DAY)
    for offer in found[:2]:
        paid = bill(gpu_hours, offer, gpus=gpus, prices=price_range(found, gpus), api_usd=api_usd)
        assert sum(paid.breakdown.values()) == pytest.approx(paid.usd.p50)
        rule = billing_rule(offer.provider, offer.instance_type)
        billed = billed_hours(gpu_hours.scale(1 / gpus), rule).p50 * gpus
        assert hours * (1 - 1e-9) <= billed <= hours + gpus
        assert paid.usd.p50 == pytest.approx(billed * paid.usd_per_gpu_hour + api_usd)
        assert paid.usd_per_gpu_hour >= offer.usd_per_gpu_hour * (1 - 1e-12)
        fixed = bill(gpu_hours, offer, gpus=gpus, api_usd=api_usd)
        assert paid.usd.p10 <= fixed.usd.p10 * (1 + 1e-9) and paid.usd.p90 >= fixed.usd.p90 * (
            1 - 1e-9
        )
        assert paid.price_date == offer.captured_date.isoformat() and paid.assumptions


def test_energy_is_power_by_time():
    spec, load = find_device("a100-sxm-80"), load_factor()[0]
    found = energy(spec, Estimate.exact(100.0), provider="gcp", region="us-central1")
    assert found.kwh.p50 == pytest.approx(100 * 0.4 * load.p50 * 1.10)
    assert found.co2_kg.p50 == pytest.approx(found.kwh.p50 * 0.41272)
    assert found.kwh.p10 < found.kwh.p50 < found.kwh.p90 <= 100 * 0.4 * 1.10 + 1e-9
    assert len(found.sources) == 3 and not found.warnings


def test_an_unknown_place_is_said_to_be_the_world():
    grams, source, assumption = grid_intensity(None, None)
    assert grams == 475 and source and "world average" in assumption
    assert grid_intensity("aws", "us-east-1")[2] is None and grid_intensity(None, "FRA")[0] < 100
    assert "atlantis" in grid_intensity("aws", "atlantis")[2]
    cleaner, dirtier = (
        energy(find_device("t4"), Estimate.exact(10), region=region).co2_kg.p50
        for region in ("FRA", "POL")
    )
    assert cleaner < dirtier / 5


def test_no_board_power_means_no_energy():
    found = energy(find_device("gh200-96"), Estimate.exact(10))
    assert found.kwh is None and found.co2_kg is None and "not published" in found.warnings[0]


def test_one_answer_looks_for_the_same_offers_once(monkeypatch):
    looked = []

    def counted(*asked):
        looked.append(asked)
        return found(*asked)

    found = offer_table._offers
    monkeypatch.setattr(offer_table, "_offers", counted)
    with one_moment():
        first, second = offers("l4"), offers("l4")
        assert first == second and first is not second and len(looked) == 1
        assert offers("l4", spot=True) != first and len(looked) == 2
    assert offers("l4") == first and len(looked) == 3
