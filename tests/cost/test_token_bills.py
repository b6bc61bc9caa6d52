"""Bills by the token: properties of the arithmetic, and the providers' own worked examples."""

import datetime
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cost.api_prices import ApiPrice, training_prices
from planner.cost.token_bills import (
    CostCurve,
    RequestTokens,
    hourly_tuning_usd,
    request_usd,
    store_for,
    store_price,
    store_prices,
    tuning_rule,
    tuning_rules,
    tuning_usd,
    vector_dimensions,
    why_not_chat,
)
from planner.errors import QuestionError, UnknownNameError

PRICE = ApiPrice(
    "somebody",
    "a-model",
    "inference",
    "",
    2e-6,
    8e-6,
    None,
    None,
    None,
    datetime.date(2026, 11, 1),
    "high",
    "made up",
    0.5e-6,
)
counts = st.floats(0, 1e6)
shares = st.floats(0, 1)
tokens = st.builds(RequestTokens, counts, counts, counts, counts, shares)
rates = st.floats(0, 10)
lines = st.builds(CostCurve, rates, rates, rates, rates, rates, rates, st.floats(1, 1e6))


@given(tokens, st.sampled_from(["prompt", "output", "examples", "retrieved"]), counts)
def test_more_tokens_never_cost_less(asked, which, more):
    assert request_usd(
        replace(asked, **{which: getattr(asked, which) + more}), PRICE
    ) >= request_usd(asked, PRICE) * (1 - 1e-12)


@given(tokens, shares)
def test_cached_input_is_never_dearer(asked, share):
    fresh = replace(asked, cached_share=0.0)
    for cached in (None, 0.1e-6, 2e-6, 5e-6):
        assert request_usd(
            replace(asked, cached_share=share), replace(PRICE, usd_per_cached_input_token=cached)
        ) <= request_usd(fresh, PRICE) * (1 + 1e-12)


def test_a_request_by_hand():
    assert request_usd(
        RequestTokens(600, 100, examples=400, cached_share=0.5), PRICE
    ) == pytest.approx(500 * 2e-6 + 500 * 0.5e-6 + 100 * 8e-6)


def test_a_model_without_a_price_is_refused():
    with pytest.raises(QuestionError, match="output"):
        request_usd(RequestTokens(10, 10), replace(PRICE, usd_per_output_token=None))
    assert request_usd(RequestTokens(10, 0), replace(PRICE, usd_per_output_token=None)) > 0


@given(lines, st.floats(1, 1e7), st.floats(1, 1e7), st.floats(0.1, 100))
def test_more_requests_never_cost_less(line, few, more, months):
    few, more = sorted((few, more))
    assert (
        line.usd(more, months)
        >= line.usd(few, months) * (1 - 1e-9)
        >= line.up_front_usd * (1 - 1e-9)
    )


@given(st.floats(1, 1e12), st.floats(1, 1e12))
def test_a_larger_corpus_is_no_smaller_a_store(one, other):
    small, large = (store_for(size, 1536) for size in sorted((one, other)))
    assert (
        small.vectors <= large.vectors
        and small.stored_bytes <= large.stored_bytes
        and small.embedded_tokens >= min(one, other)
    )


def test_qdrants_worked_example_of_memory():
    """A million vectors of 1,024 dimensions: 6,144,000,000 bytes (Qdrant, capacity planning)."""
    store = store_for(400_000_400, 1024)  # 800 tokens a piece of which 400 are shared
    assert store.vectors == 1_000_000 and store.memory_bytes == 6_144_000_000


@given(st.floats(1e3, 1e11), st.floats(0, 1e8))
def test_the_chosen_store_is_the_cheapest_and_keeps_its_minimum(corpus, queries):
    store = store_for(corpus, 1536)
    chosen = store_price(None, store, queries)
    month = chosen.cost_curve(store).monthly_usd(queries)
    assert month >= (chosen.least_usd_per_month or 0) - 1e-9
    assert all(
        month <= other.cost_curve(store).monthly_usd(queries) + 1e-9 for other in store_prices()
    )


def test_pinecones_read_units():
    """A query is 1 read unit a GB of namespace, at least 0.25, at $16 a million (docs.pinecone.io,
    understanding cost)."""
    pinecone = store_price("pinecone", store_for(1, 8), 0)
    assert pinecone.usd_per_query(replace(store_for(1, 8), stored_bytes=7.14e9)) == pytest.approx(
        7.14 * 16e-6
    )
    assert pinecone.usd_per_query(replace(store_for(1, 8), stored_bytes=1e6)) == pytest.approx(
        0.25 * 16e-6
    )
    with pytest.raises(UnknownNameError, match="pinecone"):
        store_price("pinecon", store_for(1, 8), 0)


def test_oris_worked_example():
    bill = tuning_usd(5e6, 3, 0.46e-6, tuning_rule("ori"), validation_tokens=1e6, evaluations=3)
    assert bill.billed_tokens == 16e6 and bill.usd == pytest.approx(7.36)


def test_togethers_worked_example_counts_every_evaluation():
    bill = tuning_usd(
        8192 * 8 * 1000, 1, 1e-6, tuning_rule("together"), validation_tokens=1e6, evaluations=10
    )
    assert bill.billed_tokens == 65_536_000 + 10_000_000


def test_azures_worked_examples():
    assert tuning_usd(
        1e6, 2, 2e-6, tuning_rule("azure"), validation_tokens=40_000, evaluations=2
    ).usd == pytest.approx(4.0)
    assert hourly_tuning_usd(4, 100, tuning_rule("azure")) == pytest.approx(400)
    assert hourly_tuning_usd(80, 100, tuning_rule("azure")) == 5000  # a job is ended there


def test_openais_hours_are_rounded_to_two_places():
    assert hourly_tuning_usd(2.5512, 100, tuning_rule("openai")) == pytest.approx(255)


def test_the_bill_that_a_user_published():
    """13.5M tokens of a 30B model at rank 16: $40.59; the price is found by the model's size."""
    price = next(
        p for p in training_prices(30_000_000_000, provider="fireworks") if p.method == "LoRA SFT"
    )
    assert tuning_usd(
        13.5e6, 1, price.usd_per_training_token, tuning_rule("fireworks")
    ).usd == pytest.approx(40.59, rel=0.005)


@given(
    st.sampled_from(sorted(tuning_rules())),
    st.floats(1, 1e12),
    st.floats(0.1, 50),
    st.floats(0, 1e9),
    st.floats(0, 100),
)
def test_parts_of_a_tuning_bill_sum_and_more_never_costs_less(
    provider, size, epochs, validation, evaluations
):
    rule = tuning_rule(provider)
    bill = tuning_usd(
        size, epochs, 1e-6, rule, validation_tokens=validation, evaluations=evaluations
    )
    assert sum(bill.parts_usd.values()) == pytest.approx(bill.usd)
    assert (
        tuning_usd(
            size, epochs * 2, 1e-6, rule, validation_tokens=validation, evaluations=evaluations
        ).usd
        >= bill.usd
    )


def test_a_provider_without_rules_states_nothing():
    rule = tuning_rule("nobody")
    assert rule.validation is None and rule.least_usd is None and rule.served is None
    assert (
        "not state" in tuning_usd(1e6, 1, 1e-6, rule, validation_tokens=1e5, evaluations=1).notes[0]
    )


def test_a_minimum_is_asked_for_small_jobs():
    rule = replace(tuning_rule("fireworks"), least_usd=3.0)
    bill = tuning_usd(1e5, 1, 1e-6, rule)
    assert bill.usd == pytest.approx(3.0) and bill.parts_usd["minimum"] == pytest.approx(2.9)


def test_what_cannot_be_prompted_says_why():
    assert (
        "images" in why_not_chat("fireworks_ai/accounts/fireworks/models/flux-1-dev")
        and why_not_chat("gpt-4.1-mini") is None
    )
    assert all(size > 0 for size in vector_dimensions().values())


def test_old_undated_and_weak_prices_say_so():
    assert PRICE.trust_warning is None or "days old" in PRICE.trust_warning
    assert "undated" in replace(PRICE, captured_date=None).trust_warning
    assert "low" in replace(PRICE, confidence="low-medium (one file)").trust_warning
    assert "days old" in replace(PRICE, captured_date=datetime.date(2020, 1, 1)).trust_warning
