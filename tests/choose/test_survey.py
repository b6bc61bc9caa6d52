"""The market of ways: figures as the full plan has them, nothing cheaper under the same limits, a
front that is one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import estimate
from planner.choose.candidate import keeps_limits, pareto
from planner.choose.survey import COUNTS, survey
from planner.errors import QuestionError, UnknownNameError
from planner.plan.inputs.problem import understand
from planner.question import Question


def question(model="gpt2", **fields):
    return Question(
        **(
            {"model": model, "samples": 20_000, "tokens_per_sample": 300.0, "strategy": ["lora"]}
            | fields
        )
    )


def market_of(*arguments, **fields):
    return survey(understand(question(*arguments, **fields)))


@pytest.fixture(scope="module")
def market():
    return market_of()


@pytest.fixture(scope="module")
def proven():
    """The same market with every place replayed: what brute force looks through."""
    whole = market_of()
    whole.prove_all(whole.placements)
    assert all(placement.proven for placement in whole.placements.values())
    return whole


def test_at_least_ten_providers_and_twenty_gpus_with_the_age_of_every_price(market):
    ways = market.of("lora")
    assert (
        len({way.offer.provider.partition("-")[0] for way in ways}) >= 10
        and len({way.placement.spec.key for way in ways}) >= 20
    )
    assert {way.placement.parallel.devices for way in ways} == set(COUNTS)
    assert all(way.offer.age_days >= 0 and way.bill.price_date for way in ways)


@pytest.mark.parametrize(
    "model, strategy, gpu, gpus, provider",
    [
        ("gpt2", "lora", "h100-sxm", 1, "lambda"),
        ("gpt2", "fine_tune", "a100-sxm-80", 8, "gcp"),
        ("Llama-3.2-1B", "fine_tune", "l4", 4, "aws"),
        ("bert-base-uncased", "feature_extraction", "t4", 1, "aws"),
        ("resnet50", "distillation", "a10g", 2, "aws"),
        ("Llama-3.1-8B", "qlora", "rtx-3090", 1, "runpod"),
    ],
)
def test_a_way_costs_what_the_full_plan_of_it_costs(model, strategy, gpu, gpus, provider):
    """The survey prices without planning; what is proven is the plan that ``planner estimate``
    would make."""
    fields = {"strategy": [strategy], "gpu": gpu, "gpus": gpus, "provider": provider}
    market = market_of(model, **fields)
    market.prove_all(market.placements)
    planned = [
        option for option in estimate(question(model, **fields))["options"] if option["fits"]
    ]
    assert planned and len(planned) == len(market.placements)
    for option in planned:
        way = min(
            (way for way in market.of() if way.placement.variant.name == option["variant"]),
            key=lambda way: way.usd,
        )
        assert way.placement.setting.micro_batch == option["step"]["micro_batch_size"]
        assert way.hours == pytest.approx(option["run"]["wall_hours"]["p50"], rel=1e-6)
        assert way.usd == pytest.approx(option["cost"]["usd"]["p50"], rel=1e-6)
        assert way.bill.breakdown == pytest.approx(option["cost"]["breakdown"], rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1.2), hours=st.floats(0.02, 20))
def test_no_cheaper_way_exists_under_the_same_limits(market, proven, share, hours):
    """Brute force over every strategy's ways on every device, count and provider, all of them
    replayed."""
    dearest = max(way.usd for way in proven.of())
    limited = question(max_usd=max(1e-6, share**4 * dearest), max_hours=hours)
    able = [way for way in proven.of() if keeps_limits(limited, way)]
    found = market.cheapest("lora", lambda way: keeps_limits(limited, way))
    assert (found is None) == (not able)
    if found is not None:
        assert found.placement.proven and keeps_limits(limited, found)
        assert found.usd == pytest.approx(min(way.usd for way in able), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(low=st.floats(0.02, 20), more=st.floats(1, 10))
def test_raising_a_limit_never_raises_the_price(market, low, more):
    tight, loose = (
        market.cheapest("lora", lambda way, hours=hours: way.hours <= hours)
        for hours in (low, low * more)
    )
    assert tight is None or loose is not None and loose.usd <= tight.usd


def test_the_front_is_one(market, proven):
    """Nobody beats a way of it, everybody off it is beaten, and dollars rise as hours fall."""
    front, every = market.front("lora"), proven.of()
    assert [way.usd for way in front] == sorted(way.usd for way in front) and [
        way.hours for way in front
    ] == sorted((way.hours for way in front), reverse=True)
    assert all(way.placement.proven for way in front) and len(front) > 3
    points = [(way.usd, way.hours) for way in front]
    for other in every:
        assert any(
            usd <= other.usd * (1 + 1e-9) and hours <= other.hours * (1 + 1e-9)
            for usd, hours in points
        )
        assert not any(
            other.usd < usd * (1 - 1e-9) and other.hours < hours * (1 - 1e-9)
            for usd, hours in points
        )
    assert front[0].usd == pytest.approx(market.cheapest("lora").usd) and points == [
        (way.usd, way.hours) for way in pareto(every)
    ]


def test_what_does_not_fit_is_no_way():
    """8B in 16 bits with all its optimizer states needs far more than 24 GiB."""
    market = market_of("Llama-3.1-8B", strategy=["fine_tune"])
    assert {way.placement.spec.key for way in market.of()}.isdisjoint(
        {"rtx-4090", "l4", "t4", "a10g"}
    )
    cheapest = market.cheapest("fine_tune")
    assert cheapest is not None and cheapest.placement.spec.total_memory_bytes > 60 * 2**30
    assert all(setting.memory.fits for setting in cheapest.placement.settings)


def test_terms_are_kept():
    assert {way.offer.provider for way in market_of(provider="lambda").of()} == {"lambda"}
    assert all(way.offer.spot for way in market_of(spot=True).of())
    assert {
        way.placement.parallel.devices for way in market_of(gpus=3, gpu="a100-sxm-80").of()
    } == {3}
    given = market_of(gpu="rtx-4090", price=0.0)
    assert given.cheapest("lora").usd == 0 and {way.offer.provider for way in given.of()} == {
        "given"
    }


def test_interruptions_are_each_provider_s_own():
    calm, taken = (
        market_of(spot=True, gpu="a100-sxm-80"),
        market_of(spot=True, gpu="a100-sxm-80", interruptions_per_day=20.0),
    )
    price = {(way.placement.parallel.devices, way.offer.provider): way.usd for way in calm.of()}
    assert all(
        way.usd >= price[way.placement.parallel.devices, way.offer.provider] * (1 - 1e-9)
        for way in taken.of()
    )
    assert any(way.bill.breakdown["lost_work"] > 0 for way in taken.of())


@pytest.mark.parametrize(
    "fields, error",
    [
        ({"provider": "lamda"}, UnknownNameError),
        ({"gpu": "h1000"}, UnknownNameError),
        ({"exact": True}, QuestionError),
        ({"provider": "gcp", "region": "atlantis"}, QuestionError),
        ({"gpu": "cpu"}, QuestionError),
    ],
)
def test_what_cannot_be_rented_is_refused(fields, error):
    with pytest.raises(error):
        market_of(**fields)
