"""The decision's document: what is recommended and why, the staged plan, what the data supports,
every rule with its source."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import tables
from planner.choose.decision import decide
from planner.choose.document import broken
from planner.choose.stages import cautions, data_support, staged_plan
from planner.plan.inputs.problem import understand
from planner.question import TRAINING_STRATEGIES, Question


def question(model="gpt2", **fields):
    return Question(**({"model": model, "samples": 20_000, "tokens_per_sample": 300.0} | fields))


@pytest.fixture(scope="module")
def whole():
    return decide(question(output_tokens=50), everywhere=True)


def test_the_document_is_plain_json_and_complete(whole):
    json.dumps(whole, allow_nan=False)
    assert [one["strategy"] for one in whole["strategies"]] == list(TRAINING_STRATEGIES)
    assert whole["recommended"]["why"] and whole["recommended"]["memory_proven"]
    assert whole["surveyed"]["providers"] >= 10 and whole["surveyed"]["gpus"] >= 20


def test_every_way_names_its_price_and_its_age(whole):
    ways = [
        whole["recommended"],
        *(one["way"] for one in whole["strategies"]),
        *whole["front"]["ways"],
        *whole["ways"],
    ]
    for way in ways:
        assert (
            way["provider"]
            and way["price_date"]
            and way["price_age_days"] >= 0
            and way["price_source"]
        )
        assert (
            sum(way["breakdown"].values()) == pytest.approx(way["usd"]["p50"])
            and way["memory_bytes"]["p90"] <= way["device_total_bytes"]
        )


def test_recommended_is_the_cheapest_of_its_strategy_everywhere(whole):
    assert whole["front"]["strategy"] == whole["recommended"]["strategy"]
    assert whole["recommended"]["usd"]["p50"] == pytest.approx(
        min(way["usd"]["p50"] for way in whole["ways"])
    )
    assert whole["cheapest"]["usd"]["p50"] == pytest.approx(
        min(one["way"]["usd"]["p50"] for one in whole["strategies"])
    )
    assert whole["front"]["ways"][0]["usd"] == whole["recommended"]["usd"]


def test_the_rules_name_the_strategy():
    few = decide(Question(model="bert-base-uncased", samples=200, tokens_per_sample=100.0))
    many = decide(Question(model="bert-base-uncased", samples=20_000, tokens_per_sample=100.0))
    assert (
        few["recommended"]["strategy"] == "feature_extraction"
        and "2202.10054" in few["recommended"]["why"]
    )
    assert (
        many["recommended"]["strategy"] == "fine_tune"
        and "1810.04805" in many["recommended"]["why"]
    )


def test_limits_are_kept_or_said_to_be_broken(whole):
    cheapest = whole["cheapest"]["usd"]["p50"]
    none = decide(question(max_usd=cheapest / 2))
    assert (
        none["recommended"] is None
        and broken(none)
        and all(one["why_not"] for one in none["strategies"])
    )
    some = decide(question(max_usd=cheapest * 1.001))
    assert some["recommended"]["usd"]["p50"] <= cheapest * 1.001 and not broken(some)
    late = decide(question(deadline="2001-01-01"))
    assert late["recommended"] is None and broken(late)


def test_a_licence_is_a_limit_on_what_uses_the_weights():
    barred = decide(question("Llama-3.2-1B", licences="apache-2.0,mit", strategy=["lora"]))
    assert barred["recommended"] is None and broken(barred) == [
        "licences apache-2.0, mit: the model's is llama3.2"
    ]
    assert decide(question(licences="MIT", strategy=["lora"]))["recommended"]["strategy"] == "lora"


def test_serving_is_part_of_the_budget():
    asked = {
        "strategy": ["lora"],
        "gpu": "l4",
        "requests_per_month": 10_000,
        "output_tokens": 20,
        "horizon_months": 2,
    }
    served = decide(question(**asked))["recommended"]
    month = served["serving"]["usd_per_month"]["p50"]
    assert (
        served["project_usd"]["p50"] == pytest.approx(served["usd"]["p50"] + 2 * month)
        and month > 0
    )
    assert decide(question(**asked, max_usd=month))["recommended"] is None
    assert (
        decide(question(**asked, max_usd=served["project_usd"]["p50"] * 1.01))["recommended"]
        is not None
    )


def test_only_what_is_paid_by_the_token():
    document = decide(
        question("Llama-3.2-1B", strategy=["prompting"], requests_per_month=1000, output_tokens=20)
    )
    assert (
        document["recommended"]["strategy"] == "prompting"
        and document["recommended"]["gpu"] is None
        and document["surveyed"]["ways"] == 0
    )
    stage = next(one for one in document["stages"] if one["strategy"] == "prompting")
    assert stage["usd"] == pytest.approx(document["recommended"]["usd"]["p50"])


@settings(max_examples=50)
@given(
    costs=st.dictionaries(
        st.sampled_from(["prompting", "rag", "lora", "qlora", "fine_tune"]),
        st.none() | st.floats(0, 1e6),
    )
)
def test_what_was_spent_is_the_sum_of_the_stages_so_far(costs):
    plan = staged_plan(understand(question()), {name: {"usd": usd} for name, usd in costs.items()})
    assert [one["strategy"] for one in plan] == ["prompting", "rag", "lora", "qlora", "fine_tune"]
    spent = 0.0
    for one in plan:
        spent += 0.0 if one["usd"] is None or one["instead"] else one["usd"]
        assert one["spent_usd"] == pytest.approx(spent) and (one["usd"] is None) == (
            one["strategy"] in one["sum_lacks"]
        )
        assert one["source"] and one["go_on_while"] and one["stop_when"]


def test_classifiers_start_frozen_and_writers_start_with_a_prompt():
    frozen = staged_plan(understand(Question(model="vit-base", samples=500, classes=5)), {})
    assert [one["strategy"] for one in frozen] == [
        "feature_extraction",
        "partial_fine_tune",
        "fine_tune",
    ]
    assert frozen[-1]["learning_rate"] == "1e-5 to 3e-5" and "base model" in frozen[-1]["stop_when"]


@pytest.mark.parametrize(
    "samples, classes, verdict", [(100, 10, "enough"), (99, 10, "fewer"), (100, None, "unknown")]
)
def test_support_counts_labels_of_each_class(samples, classes, verdict):
    found = data_support(
        understand(
            Question(model="vit-base", samples=samples, classes=classes, strategy=["fine_tune"])
        )
    )
    assert [one["verdict"] for one in found] == [verdict]


@pytest.mark.parametrize("samples, verdict", [(999, "fewer"), (1000, "enough"), (100_001, "more")])
def test_support_counts_samples(samples, verdict):
    found = data_support(understand(question(samples=samples, strategy=["lora"])))
    assert [one["verdict"] for one in found] == [verdict] and all(one["source"] for one in found)


def test_scratch_is_held_against_its_recipe():
    few, many = (
        data_support(understand(question(samples=n, strategy=["scratch"])))[0]
        for n in (1000, 10**9)
    )
    assert few["verdict"] == "fewer" and many["verdict"] == "enough" and few["source"]
    assert many["min_samples"] == pytest.approx(20 * 124e6, rel=0.02)


def test_what_speaks_against_transfer_depends_on_the_data():
    def said(**fields):
        holds, asked = cautions(understand(Question(**fields)))
        return {one["source"] for one in holds}, {one["source"] for one in asked}

    few, questions = said(model="vit-base", samples=100, classes=2)
    many, _ = said(model="vit-base", samples=200_000, classes=2)
    assert not few and len(many) == 2 and len(questions) == 3
    text, questions = said(model="gpt2", samples=10**9, tokens_per_sample=100.0)
    assert len(text) == 1 and len(questions) == 1


def test_a_smaller_model_is_priced_where_its_trace_is_shipped():
    found = decide(question("Llama-3.1-8B", strategy=["qlora"], gpu="a100-sxm-80"))["smaller"]
    assert found[-1]["model"].startswith("Llama-3.2-") and found[-1]["way"]["strategy"] == "qlora"
    assert (
        all(one["parameters"] < 8.1e9 for one in found)
        and found[0]["parameters"] > found[-1]["parameters"]
    )


def test_every_rule_has_a_source_and_a_known_strategy():
    known = {"prompting", "rag", "provider_fine_tune", *TRAINING_STRATEGIES}
    for table in ("stages", "samples", "recommendation"):
        assert all(
            row["strategy"] in known and row["source"]
            for row in tables.rows("rules", f"{table}.csv")
        )
