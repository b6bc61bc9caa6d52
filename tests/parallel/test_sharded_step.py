"""The rewrite of a trace for devices that share state, and what its collectives hold up."""

import numpy as np
import pytest

from planner.devices.lookup import resolve_device
from planner.errors import QuestionError
from planner.memory.lifetimes import OPTIMIZER, WEIGHTS
from planner.memory.peak import replay
from planner.models.resolve import resolve
from planner.parallel.network.which import network_of
from planner.parallel.plan import ParallelPlan, plans_for
from planner.parallel.sharded import Collective, Kept
from planner.parallel.shared_time import COLLECTIVE, sent_seconds, shared_time
from planner.parallel.source import collectives_of, shared_trace
from planner.parallel.streams import exposed
from planner.parallel.units import block_names, units_of
from planner.step_time.clock import StepClock
from planner.trace.source import trace_for
from planner.trace.table import PHASES
from planner.training.recipe import Recipe

A100 = resolve_device("a100-sxm-80").spec
POINT = {"B": 2, "S": 512}


def eight(way="fsdp", replicas=1):
    return ParallelPlan(dp_replicate=replicas, dp_shard=8, sharding=way)


@pytest.fixture(scope="module")
def whole():
    facts = resolve("Llama-3.1-8B")
    recipe = Recipe(
        strategy="fine_tune",
        task=facts.task,
        precision="bf16",
        optimizer="adamw",
        gradient_checkpointing="none",
    )
    return trace_for(facts, recipe, record=False).at(**POINT)


def held(trace, category=WEIGHTS):
    sizes = trace.storage_bytes(trace.dims(**POINT))[trace.size]
    return int(sizes[(trace.birth < 0) & (trace.category == category)].sum())


def priced(trace, parallel):
    clock = StepClock(A100)
    dims = trace.dims(**POINT)
    return shared_time(clock, trace, dims, precision="bf16", compiled=False, parallel=parallel)


def test_blocks_are_what_is_numbered_beside_others():
    names = block_names(("", "model", "model.layers.0.mlp", "model.layers.1", "head.0", "x.7"))
    assert names == {2: "model.layers.0", 3: "model.layers.1"}


def test_every_block_has_its_weights_gradients_and_passes(whole):
    units = units_of(whole)
    assert len(units.blocks) == len(units.backward) == 32
    assert {len(unit.weights) for unit in units.blocks} == {9}
    assert all(sorted(unit.gradients.values()) == sorted(unit.weights) for unit in units.blocks)
    assert units.backward[0].name == "model.layers.31"
    ends = [unit.forward for unit in units.blocks]
    assert all(one[1] <= other[0] for one, other in zip(ends, ends[1:]))


def test_a_device_keeps_its_part(whole):
    shared = shared_trace(whole, eight(), Kept())
    assert held(shared) == pytest.approx(held(whole) / 8, rel=1e-4)
    assert shared.meta["gradient_bytes"] == pytest.approx(whole.meta["gradient_bytes"] / 8)
    assert shared.meta["checkpoint_bytes"] == whole.meta["checkpoint_bytes"]
    assert replay(shared, POINT).allocated_bytes < 0.5 * replay(whole, POINT).allocated_bytes


def test_under_mixed_precision_parts_are_wide_and_what_is_sent_is_not(whole):
    narrow, wide = (shared_trace(whole, eight(), kept) for kept in (Kept(), Kept(wide=True)))
    half = shared_trace(whole, eight(), Kept(True, "bfloat16"))
    assert held(wide) == pytest.approx(2 * held(narrow), rel=1e-6)

    def sent(trace, kind):
        found = collectives_of(trace).micro_batch
        return sum(one.size_bytes for one in found if one.kind == kind)

    assert sent(wide, "all_gather") == sent(narrow, "all_gather") == sent(half, "all_gather")
    assert sent(wide, "reduce_scatter") == 2 * sent(narrow, "reduce_scatter")
    assert sent(half, "reduce_scatter") == sent(narrow, "reduce_scatter")
    # once a pass, the root but once
    assert len(collectives_of(wide).micro_batch) == 33 + 32 + 33


def test_what_is_added_lives_between_its_operations(whole):
    shared = shared_trace(whole, eight(), Kept(True, "bfloat16"))
    added = slice(len(whole.size), None)
    assert (shared.birth[added] >= 0).all()
    assert (shared.birth[added] <= shared.death[added]).all()
    order = [PHASES[phase] for phase in shared.op_phase]
    assert order == sorted(order, key=lambda name: PHASES.index(name) if name != "backward" else 3)
    for one in collectives_of(shared).micro_batch:
        assert one.after < one.until <= shared.op_count


def test_the_update_is_of_the_part(whole):
    alone, shared = (
        priced(whole, ParallelPlan()),
        priced(shared_trace(whole, eight(), Kept()), eight()),
    )
    assert shared.optimizer_seconds == pytest.approx(alone.optimizer_seconds / 8, rel=0.1)


def test_what_shows_is_at_least_what_has_nothing_to_hide_behind(whole):
    trace, network = shared_trace(whole, eight(), Kept()), network_of(A100, 8)
    sent = [sent_seconds(one, eight(), network) for one in collectives_of(trace).micro_batch]
    found = priced(trace, eight())
    assert sent[0] + sent[-1] < found.by_kind[COLLECTIVE] < sum(sent)
    assert sum(found.by_kind.values()) == pytest.approx(found.device_busy_seconds)
    assert found.seconds == pytest.approx(
        found.forward_seconds + found.backward_seconds + found.optimizer_seconds
    )


@pytest.mark.parametrize(("way", "own"), [("zero1", 1), ("zero2", 1), ("zero3", 8)])
def test_zero_keeps_wide_copies_of_its_part(whole, way, own):
    shared, numbers = shared_trace(whole, eight(way), Kept()), held(whole) / 2
    assert held(shared) == pytest.approx(held(whole) / own, rel=1e-4)
    # two states and the copy, all in float32
    assert held(shared, OPTIMIZER) == pytest.approx(3 * 4 * numbers / 8, rel=1e-3)
    gradients = shared.meta["gradient_bytes"]
    assert gradients == pytest.approx(2 * numbers / (1 if way == "zero1" else 8), rel=1e-4)
    assert shared.meta["checkpoint_bytes"] == 2 * whole.meta["checkpoint_bytes"]


def test_the_stages_of_zero_hold_less_and_less(whole):
    peaks = [
        replay(shared_trace(whole, eight(way), Kept()), POINT).allocated_bytes
        for way in ("zero1", "zero2", "zero3")
    ]
    assert peaks == sorted(peaks, reverse=True)
    first, second = (
        collectives_of(shared_trace(whole, eight(way), Kept())) for way in ("zero1", "zero2")
    )
    assert first.micro_batch == second.micro_batch
    assert (first.times(4), second.times(4)) == (1, 4)
    assert sum(one.size_bytes for one in first.update) == pytest.approx(held(whole), rel=1e-6)


def test_copies_of_the_sharing_devices_sum_their_parts(whole):
    trace = shared_trace(whole, eight(), Kept())
    two = eight(replicas=2)
    assert priced(trace, two).seconds > priced(trace, eight()).seconds


def test_collectives_take_turns_and_waits_add_up():
    ends = np.array([[1.0], [2.0], [3.0], [4.0]])
    first = Collective("all_gather", 1, "float32", -1, 0, False)
    ahead = Collective("all_gather", 1, "float32", 0, 2, False)
    late = Collective("reduce_scatter", 1, "float32", 2, 4, True)

    def waits(seconds, collectives=(first, ahead, late)):
        return exposed(ends, collectives, seconds, forward_end=2, slowdown=0.0)

    found = waits([0.5, 1.0, 0.25])
    assert (found.forward, found.backward) == (0.5, 0.0)  # the last hides behind operation 3
    assert waits([0.5, 1.5, 0.25]).backward == pytest.approx(0.5)
    assert waits([0.5, 1.0, 1.75]).backward == pytest.approx(0.75)
    slowed = exposed(ends, [ahead], [1.0], forward_end=2, slowdown=0.1)
    assert slowed.forward == pytest.approx(0.1) and slowed.backward == 0


def test_which_plans_are_tried():
    assert plans_for(1, "fsdp") == (ParallelPlan(),)
    assert plans_for(4, "ddp") == (ParallelPlan(dp_replicate=4),)
    assert [plan.sharding for plan in plans_for(4)] == ["", "fsdp"]
    assert plans_for(4, "fsdp") == (ParallelPlan(dp_shard=4, sharding="fsdp"),)
    with pytest.raises(QuestionError, match="dp_shard 4"):
        ParallelPlan(dp_shard=4)
