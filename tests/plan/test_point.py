"""Memory at a point: parts sum, and a full device fits only as far as a replay under its limit
goes."""

import dataclasses

import pytest

from planner.datasets.profile import from_counts
from planner.devices.lookup import find_device
from planner.models.resolve import resolve
from planner.plan.inputs.defaults import choose
from planner.plan.steps.point import evaluate, memory_at
from planner.question import Question
from planner.trace.source import trace_for

POINT = {"B": 8, "S": 512, "T": None}


@pytest.fixture(scope="module")
def source():
    facts = resolve("Llama-3.2-1B", offline=True)
    question = Question(model=facts.name, samples=100, tokens_per_sample=512)
    recipe = choose(
        question, facts, from_counts(100, 512), "fine_tune", find_device("h100-sxm")
    ).with_checkpointing("none")
    return trace_for(facts, recipe)


def on(source, total_bytes):
    return memory_at(
        source,
        dataclasses.replace(find_device("h100-sxm"), total_memory_bytes=int(total_bytes)),
        POINT,
    )


def test_a_device_that_holds_the_tensors_but_not_the_cache_fits_by_giving_back(source):
    roomy = on(source, 80e9)
    assert roomy.fits and not roomy.gives_back
    verdicts = [
        on(source, share * roomy.device_used_bytes.p90) for share in (1.001, 0.999, 0.97, 0.9, 0.5)
    ]
    # less memory never helps
    assert [m.fits for m in verdicts] == sorted((m.fits for m in verdicts), reverse=True)
    assert verdicts[0].fits and not verdicts[-1].fits and verdicts[-1].short_by_bytes > 0
    for memory in verdicts:
        assert sum(memory.breakdown.values()) == pytest.approx(memory.device_used_bytes.p50)
        assert all(part >= 0 for part in memory.breakdown.values())
        assert memory.device_used_bytes.p90 <= memory.device_total_bytes or not memory.fits


def test_evaluate_says_the_same_as_its_parts(source):
    spec = find_device("h100-sxm")
    result = evaluate(source.facts, source.recipe, spec, micro_batch=8, sequence_length=512)
    assert result.allocated_bytes == on(source, spec.total_memory_bytes).allocated_bytes
    accumulated = evaluate(
        source.facts, source.recipe, spec, micro_batch=8, sequence_length=512, accumulation=4
    )
    # one update for four micro-batches
    assert result.step_seconds.p50 < accumulated.step_seconds.p50 < 4 * result.step_seconds.p50
