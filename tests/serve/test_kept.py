"""What is kept between questions changes no answer: each equals the one asked alone."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import Question, estimate
from planner.models.resolve import resolve
from planner.plan.inputs.kept import Kept, keeping
from planner.trace.source import NotRecordedError

BASE = {"model": "gpt2", "samples": 5000, "tokens_per_sample": 150, "gpu": "t4"}
MOVES = (
    {},
    {"epochs": 7.5},
    {"price": 0.9},
    {"global_batch": 64},
    {"max_length": 128},
    {"gpus": 2},
    {"gpus": 2, "global_batch": 64, "epochs": 2},
    {"max_usd": 0.01},
    {"stack": "trainer-2022"},
    {},
)


def alone(fields):
    return json.loads(json.dumps(estimate(Question(**fields))))


def beside(kept, fields):
    with keeping(kept):
        return alone(fields)


@pytest.mark.parametrize("strategy", ["lora", "fine_tune"])
def test_a_moved_slider_answers_as_if_it_were_asked_alone(strategy):
    kept = Kept()
    for move in MOVES:
        fields = {**BASE, "strategy": [strategy], **move}
        assert beside(kept, fields) == alone(fields), move


@settings(max_examples=12, deadline=None)
@given(
    order=st.lists(
        st.fixed_dictionaries(
            {
                "epochs": st.floats(0.1, 20),
                "global_batch": st.sampled_from([1, 8, 24, 32]),
                "gpu": st.sampled_from(["t4", "a100-sxm-80", "l4"]),
            }
        ),
        min_size=2,
        max_size=3,
    )
)
def test_in_whatever_order_questions_come(order):
    kept = Kept()
    for move in order:
        fields = {**BASE, "strategy": ["lora"], **move}
        assert beside(kept, fields) == alone(fields)


def test_models_that_nobody_asks_for_are_forgotten():
    kept = Kept(most=2)
    for name in ("gpt2", "bert-base-uncased", "distilbert-base-uncased"):
        kept.sources(resolve(name), None)
    assert len(kept) == 2


def test_another_model_of_the_same_name_shares_no_trace():
    from dataclasses import replace

    kept, facts = Kept(), resolve("gpt2")
    kept.sources(facts, None)["a"] = "source"
    assert kept.sources(facts, None) == {"a": "source"}
    assert kept.sources(replace(facts, fingerprint="another"), None) == {}
    assert kept.sources(facts, "trainer-2022") == {}


def test_a_trace_that_lies_nowhere_is_not_recorded_where_it_must_not_be(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_CACHE", str(tmp_path))
    question = Question(**{**BASE, "strategy": ["lora"], "lora_rank": 13})
    with keeping(Kept(record=False)), pytest.raises(NotRecordedError):
        estimate(question)


def test_a_clock_keeps_no_price_of_another_device_precision_or_point():
    from planner.devices.lookup import find_device
    from planner.step_time.clock import StackKernels, StepClock
    from planner.trace.source import trace_for
    from planner.training.recipe import Recipe

    trace = trace_for(resolve("gpt2"), _recipe(Recipe)).at(B=4, S=128)
    seen = {}
    for gpu in ("t4", "a100-sxm-80"):
        for length in (64, 128):
            for share in (1.0, 0.5):
                clock = StepClock(find_device(gpu), StackKernels(share))
                dims = trace.dims(B=4, S=length)
                seen[gpu, length, share] = float(clock.price(trace, dims, precision="fp16").seconds)
                fresh = clock._priced(trace, dims, "fp16", False, None, 0.0, True)
                assert seen[gpu, length, share] == float(fresh.seconds)
    assert len(set(seen.values())) == len(seen)


def _recipe(recipe):
    """That of a shipped trace."""
    kept = Kept()
    beside(kept, {**BASE, "strategy": ["fine_tune"]})
    return next(iter(kept.sources(resolve("gpt2"), None).values())).recipe
