"""What autograd of older versions kept beside what it reads: live bytes move, operations do not."""

import numpy as np
import pytest

from planner.memory.inputs_kept import OPERATIONS, kept
from planner.memory.live_bytes import peak_allocated
from planner.models.resolve import resolve
from planner.plan.inputs.of_its_day import view_of
from planner.question.stack import stack_of
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

SOFTMAX, RELU = OPERATIONS["softmax_input"], OPERATIONS["relu_input"]
SIDE = 512  # of segformer's images


@pytest.fixture(scope="module")
def asked():
    facts = resolve("segformer-b0", offline=True)
    return facts, Recipe("fine_tune", facts.task, "amp_bf16", "adamw")


@pytest.fixture(scope="module")
def trace(asked):
    return trace_for(*asked).at(B=2)


def test_a_losss_logits_are_held_twice(trace):
    """Float32 scores of each pixel, which the backward pass of log_softmax does not read."""
    older, dims = kept(trace, SOFTMAX), trace.dims(B=2)
    more = float(peak_allocated(older, dims)) - float(peak_allocated(trace, dims))
    classes = trace.meta["own_classes"]
    assert more == pytest.approx(2 * classes * SIDE * SIDE * 4, rel=0.01)


def test_only_lives_change_and_nothing_ends_earlier(trace):
    older = kept(trace, SOFTMAX + RELU)
    assert (older.death >= trace.death).all() and (older.death > trace.death).any()
    assert (older.birth == trace.birth).all() and older.signatures == trace.signatures
    assert np.array_equal(older.op_signature, trace.op_signature)
    assert kept(trace, SOFTMAX + RELU) is older


def test_a_trace_without_such_operations_is_as_it_was(trace):
    assert (kept(trace, ("aten.no_such.default",)).death == trace.death).all()


def test_the_day_of_a_stack_decides(asked):
    """Softmaxes until torch 1.11 of 2022-03, ReLU until torch 1.10 of 2021-10."""
    views = [
        view_of(stack_of(name), *asked)
        for name in ("loop", "loop-2022-03", "loop-2022-02", "loop-2021-09")
    ]
    assert views[0] is None and views[1] is None
    assert views[2] is not None and views[3] is not None and views[2] is not views[3]
    assert views[3] is view_of(stack_of("trainer-2021-08"), *asked)
