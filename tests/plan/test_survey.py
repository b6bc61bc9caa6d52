"""The market of ways: figures as the full plan has them, nothing cheaper under the same limits, a
front that is one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import estimate
from planner.choose.decision import decide
from planner.devices.lookup import find_device
from planner.errors import ModelError, QuestionError, UnknownNameError
from planner.plan.inputs.hardware import own_offer
from planner.plan.inputs.problem import understand
from planner.plan.limits import Allowed
from planner.plan.survey.candidate import pareto
from planner.plan.survey.survey import COUNTS, survey
from planner.question import Question
from planner.trace.source import TraceSource


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
    whole.prove_all()
    assert all(place.is_proven for place in whole.placed())
    return whole


@pytest.mark.parametrize(
    "model, fields",
    [
        ("gpt2", {"strategy": None}),
        ("Llama-3.1-8B", {"samples": 3000, "strategy": None}),
        # with the loader's default of 4 workers all devices wait for them, and all have to be asked
        (
            "resnet50",
            {
                "tokens_per_sample": None,
                "strategy": ["fine_tune", "distillation"],
                "prepared": True,
                "loader_workers": 16,
            },
        ),
        ("Llama-3.2-1B", {"gpus": 2, "padding": "max", "max_length": 1024}),
        ("gpt2", {"micro_batch": 4, "max_steps": 300, "strategy": ["partial_fine_tune"]}),
        ("gpt2", {"unfreezing": "gradual", "strategy": ["partial_fine_tune"]}),
        ("bert-base-uncased", {"global_batch": 1, "strategy": ["fine_tune"]}),
        ("Llama-3.2-1B", {"compile": True, "strategy": ["lora", "scratch"]}),
    ],
)
def test_a_bound_is_below_every_price_and_the_walk_finds_what_looking_at_all_finds(model, fields):
    counts = (fields.get("gpus", 1),)
    hasty, thorough = (
        survey(understand(question(model, **fields)), counts=counts) for _ in range(2)
    )
    for place in thorough.places():
        thorough._bound(place)
    bounds = {place.key: (place.usd, place.hours) for place in thorough.places()}
    for place in thorough.placed():
        usd, hours = bounds[place.key]
        assert 0 < usd <= min(way.usd for way in place.candidates)
        assert 0 < hours <= min(way.hours for way in place.candidates)
    looked = 0
    for strategy in hasty.strategies:
        quick, whole = hasty.cheapest(strategy), thorough.cheapest(strategy)
        assert (quick and quick.order) == (whole and whole.order)
        assert hasty.fastest(strategy).order == thorough.fastest(strategy).order
        looked += sum(place.promise is not None for place in hasty.places(strategy))
    # the bound is of the device alone: where every place waits for the host it saves no look
    waits_for_the_host = fields.get("global_batch") == 1
    assert looked < len(thorough.placed()) + waits_for_the_host


def test_what_fits_nowhere_is_shown_where_least_is_missing():
    market = market_of("Llama-3.1-8B", strategy=["scratch"], micro_batch=512)
    shown = market.least_short("scratch")
    assert market.cheapest("scratch") is None and not shown.placement.fits
    largest = max(spec.total_memory_bytes for spec in market.hardware.specs)
    assert shown.placement.spec.total_memory_bytes == largest
    assert shown.placement.shown.proven_memory.short_by_bytes > 0


def test_what_comes_nearest_to_a_limit(market):
    cheapest, fastest = market.cheapest("lora"), market.fastest("lora")
    assert market.nearest("lora", Allowed(usd=cheapest.usd / 2)) is cheapest
    assert market.nearest("lora", Allowed(hours=fastest.hours / 2)) is fastest
    hours = (fastest.hours + cheapest.hours) / 2
    both = market.nearest("lora", Allowed(usd=cheapest.usd, hours=hours))
    assert both is market.cheapest("lora", Allowed(hours=hours)) and both.usd > cheapest.usd
    assert market.nearest("lora", Allowed(usd=2 * cheapest.usd)) is cheapest


def test_what_cannot_be_recorded_is_tried_once_and_said_once(monkeypatch):
    tried = []

    def fails(source, regime, length):
        tried.append((source.stem, source.recipe.strategy, regime))
        raise ModelError("its forward pass asks for values")

    monkeypatch.setattr(TraceSource, "_record", fails)
    monkeypatch.setattr(TraceSource, "_find", lambda self, name: None)
    asked = question("Qwen3-0.6B", samples=100, strategy=None)
    decision = decide(asked)
    assert decision["recommended"] is None and len(tried) == len(set(tried))
    (left_out,) = [line for line in decision["warnings"] if "left out" in line]
    assert left_out.startswith("feature_extraction, partial_fine_tune, fine_tune, lora, qlora")
    with pytest.raises(QuestionError, match="no strategy can be planned") as refused:
        estimate(asked)
    assert str(refused.value).count("fine_tune, lora, qlora") == 1


def test_own_hardware_known_in_part_is_refused():
    asked = question()
    spec = find_device("l4")
    assert own_offer(asked, spec) is None
    with pytest.raises(QuestionError, match="whole or not at all"):
        own_offer(asked.model_copy(update={"owned_usd": 5000.0}), spec)
    whole = {"owned_years": 4.0, "owned_utilisation": 0.5, "usd_per_kwh": 0.2}
    assert own_offer(asked.model_copy(update={"owned_usd": 5000.0} | whole), spec).provider == (
        "owned"
    )


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
    market.prove_all()
    planned = [
        option for option in estimate(question(model, **fields))["options"] if option["fits"]
    ]
    # several kinds of machines with such devices are places of their own
    assert planned and len(planned) == len({place.variant.name for place in market.placed()})
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
    limited = Allowed(usd=max(1e-6, share**4 * dearest), hours=hours)
    able = [way for way in proven.of() if way.keeps(limited)]
    for asked in (market, market_of()):  # all of it looked at, or nothing yet
        found = asked.cheapest("lora", limited)
        assert (found is None) == (not able)
        if found is not None:
            assert found.placement.proven and found.keeps(limited)
            assert found.order == min(way.order for way in able)


@settings(max_examples=40, deadline=None)
@given(low=st.floats(0.02, 20), more=st.floats(1, 10))
def test_raising_a_limit_never_raises_the_price(market, low, more):
    tight, loose = (market.cheapest("lora", Allowed(hours=hours)) for hours in (low, low * more))
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

    def names(way):
        return way.placement.parallel.devices, way.offer.provider, way.offer.instance_type

    price = {names(way): way.usd for way in calm.of()}
    assert all(way.usd >= price[names(way)] * (1 - 1e-9) for way in taken.of())
    assert any(way.bill.breakdown["lost_work"] > 0 for way in taken.of())


@pytest.mark.parametrize(
    "fields, error",
    [
        ({"provider": "lamda"}, UnknownNameError),
        ({"gpu": "h1000"}, UnknownNameError),
        ({"exact": True}, QuestionError),
        ({"provider": "gcp", "region": "atlantis"}, UnknownNameError),
        ({"gpu": "cpu"}, QuestionError),
    ],
)
def test_what_cannot_be_rented_is_refused(fields, error):
    with pytest.raises(error):
        market_of(**fields)
