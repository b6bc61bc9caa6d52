"""A loss in pieces holds no logits: nothing as large as all of them is left, all else stays."""

import numpy as np
import pytest

from planner.memory.fused_loss import in_pieces
from planner.memory.peak import replay
from planner.models.resolve import resolve
from planner.plan.inputs.of_its_day import view_of
from planner.question.stack import stack_of
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

POINT = {"B": 2, "S": 4096}


@pytest.fixture(scope="module")
def trace():
    facts = resolve("meta-llama/Llama-3.2-1B")
    return trace_for(
        facts, Recipe(strategy="fine_tune", precision="bf16", task="causal_lm", optimizer="adamw")
    ).at(**POINT)


def _bytes(trace):
    return trace.storage_bytes(trace.dims(**POINT))[trace.size]


def test_no_tensor_of_the_size_of_the_logits_is_left(trace):
    logits = 2 * 4096 * 128_256 * 2
    seen = in_pieces(trace)
    before, after = _bytes(trace), _bytes(seen)
    weights = trace.birth < 0
    assert (before[~weights] >= logits).sum() >= 3
    assert not (after[~weights] >= logits).any()
    assert np.array_equal(before[weights], after[weights]) and (after <= before).all()
    changed = before != after
    assert (before[changed] >= logits).all()
    assert seen.signatures is trace.signatures and in_pieces(trace) is seen


def test_the_peak_is_lower_by_what_the_loss_held(trace):
    logits = 2 * 4096 * 128_256 * 2
    saved = replay(trace, POINT).allocated_bytes - replay(in_pieces(trace), POINT).allocated_bytes
    assert logits <= saved <= 8 * logits


@pytest.mark.parametrize(
    "stack, task, fused",
    [("unsloth", "causal_lm", True), ("trainer", "causal_lm", False), ("liger", "other", False)],
)
def test_of_which_stacks(stack, task, fused):
    facts = resolve("meta-llama/Llama-3.2-1B")
    recipe = Recipe(strategy="fine_tune", precision="bf16", task=task, optimizer="adamw")
    assert (view_of(stack_of(stack), facts, recipe) is in_pieces) == fused
