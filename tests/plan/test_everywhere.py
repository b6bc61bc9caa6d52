"""One question at every provider of every device: nothing cheaper than what is recommended, every price with its age."""

import pytest

from planner.errors import UnknownNameError
from planner.plan.answer import estimate
from planner.plan.asked import understand
from planner.plan.everywhere import everywhere
from planner.question import Question


def cells_of(model="gpt2", strategy="lora", **fields):
    question = Question(model=model, samples=20_000, tokens_per_sample=300.0, strategy=[strategy], **fields)
    return everywhere(understand(question), strategy)[0]


@pytest.fixture(scope="module")
def cells():
    return cells_of()


def test_at_least_ten_providers_and_twenty_gpus_with_dated_prices(cells):
    assert len({cell.offer.provider.partition("-")[0] for cell in cells}) >= 10 and len({cell.option.rented.spec.key for cell in cells}) >= 20
    assert all(cell.offer.age_days >= 0 and cell.bill.price_date for cell in cells)
    assert [cell.bill.usd.p50 for cell in cells if cell.option.fits] == sorted(cell.bill.usd.p50 for cell in cells if cell.option.fits)


@pytest.mark.parametrize("model, strategy, fields", [("gpt2", "lora", {}), ("gpt2", "fine_tune", {"gpus": 8}), ("Llama-3.2-1B", "lora", {"spot": True}),
                                                     ("bert-base-uncased", "fine_tune", {"provider": "gcp"})])
def test_no_cheaper_offer_exists_than_the_one_that_is_taken(model, strategy, fields):
    found = cells_of(model, strategy, **fields)
    taken = estimate(model, samples=20_000, tokens_per_sample=300.0, strategy=strategy, **fields)["options"][0]
    cheapest = min(cell.bill.usd.p50 for cell in found if cell.option.fits)
    assert taken["fits"] and taken["cost"]["usd"]["p50"] == pytest.approx(cheapest, rel=1e-6)


def test_raising_a_limit_never_raises_the_price(cells):
    able = [cell for cell in cells if cell.option.fits]
    hours = sorted({cell.option.run.wall_hours.p50 for cell in able})
    prices = [min(cell.bill.usd.p50 for cell in able if cell.option.run.wall_hours.p50 <= limit) for limit in hours]
    assert prices == sorted(prices, reverse=True)


def test_a_named_provider_stays_alone():
    assert {cell.offer.provider for cell in cells_of(provider="lambda")} == {"lambda"}
    with pytest.raises(UnknownNameError):
        cells_of(provider="lamda")


def test_interruptions_are_each_provider_s_own():
    calm, taken = cells_of(spot=True), cells_of(spot=True, interruptions_per_day=20.0)
    price = {(cell.option.rented.spec.key, cell.offer.provider): cell.bill.usd.p50 for cell in calm}
    assert all(cell.bill.usd.p50 >= price[cell.option.rented.spec.key, cell.offer.provider] * (1 - 1e-9) for cell in taken)
    assert any(cell.bill.breakdown["lost_work"] > 0 for cell in taken)
