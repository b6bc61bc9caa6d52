"""Context parallelism: what a device has of a sequence, passes on and waits for."""

import json
from dataclasses import replace

import pytest

from planner.devices.lookup import find_device
from planner.errors import QuestionError
from planner.memory.peak import peak_allocated
from planner.models.resolve import resolve
from planner.parallel.model.context import passing_of, shortened
from planner.parallel.model.exchanges import (
    RING_WAITS,
    expert_sent_bytes,
    ring_seconds,
    ring_sent_bytes,
)
from planner.parallel.model.sequence import TENSOR
from planner.parallel.network.network import collective_seconds
from planner.parallel.network.which import network_of
from planner.parallel.parts import part_source
from planner.parallel.plan import ParallelPlan, plans_for
from planner.parallel.ranks import rank_facts, rank_source
from planner.parallel.shared_time import shared_time
from planner.parallel.source import collectives_of, shared_source
from planner.step_time.clock import StepClock
from planner.trace.source import trace_for
from planner.trace.table import value_of
from planner.training.recipe import Recipe

LAYERS, HIDDEN, HEADS, PAIRS = 2, 256, 8, 4
CONFIG = {
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "num_key_value_heads": PAIRS,
    "intermediate_size": 704,
    "num_hidden_layers": LAYERS,
    "vocab_size": 4096,
    "max_position_embeddings": 65536,
    "tie_word_embeddings": False,
}
POINT = {"B": 2, "S": 8192}
SPEC = find_device("h100-sxm")
#: Keys and values of a whole micro-batch in one layer, in bf16.
KEYS_AND_VALUES = 2 * 2 * POINT["B"] * POINT["S"] * PAIRS * HIDDEN // HEADS


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("context")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return resolve(str(folder), task="causal_lm", offline=True)


@pytest.fixture(scope="module")
def recipe():
    return Recipe(
        task="causal_lm",
        strategy="scratch",
        optimizer="adamw",
        precision="bf16",
        attention="flash",
        gradient_checkpointing="none",
    )


@pytest.fixture(scope="module")
def trace_of(facts, recipe):
    def made(policy="none", **degrees):
        plan, asked = ParallelPlan(**degrees), replace(recipe, gradient_checkpointing=policy)
        source = trace_for(facts, asked)
        if plan.is_split:
            source = rank_source(source, trace_for(rank_facts(facts, plan), asked), plan)
        if plan.is_parted:
            source = part_source(source, plan.unshared)
        if plan.sharding:
            source = shared_source(source, asked, plan)
        return source.at(**POINT)

    return made


def timed(trace, point=None, **degrees):
    how = {"precision": "bf16", "compiled": False, "parallel": ParallelPlan(**degrees)}
    return shared_time(StepClock(SPEC), trace, trace.dims(**(point or POINT)), **how)


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_the_work_of_all_parts_is_that_of_the_sequence(trace_of, ranks):
    whole, own = timed(trace_of()), timed(trace_of(cp=ranks), cp=ranks)
    assert ranks * own.model_flops == pytest.approx(whole.model_flops, rel=1e-3)
    assert ranks * own.by_kind["attention"] == pytest.approx(whole.by_kind["attention"], rel=0.05)
    assert own.by_kind["optimizer"] == pytest.approx(whole.by_kind["optimizer"])


def test_all_but_attention_is_a_shorter_sequence(trace_of):
    short = {**POINT, "S": POINT["S"] // 4}
    alone, own = timed(trace_of(), short), timed(trace_of(cp=4), cp=4)
    for kind in ("matmul", "elementwise", "reduction", "copy"):
        assert own.by_kind[kind] == pytest.approx(alone.by_kind[kind], rel=1e-6), kind
    assert own.by_kind["attention"] > 2 * alone.by_kind["attention"]


def test_keys_and_values_go_around(trace_of):
    trace = trace_of(cp=4)
    dims, passing = trace.dims(**POINT), passing_of(trace)
    assert passing is not None and passing.ranks == 4
    # forward once, backward with their gradients: three times a quarter to three others
    assert ring_sent_bytes(trace, dims) == LAYERS * 3 * 3 * KEYS_AND_VALUES / 4
    again = trace_of("full", cp=4)
    assert ring_sent_bytes(again, again.dims(**POINT)) == LAYERS * 4 * 3 * KEYS_AND_VALUES / 4
    assert ring_sent_bytes(trace_of(), dims) == expert_sent_bytes(trace, dims) == 0


def test_what_attention_does_not_cover_shows(trace_of):
    trace, network = trace_of(cp=4), network_of(SPEC, 4)
    dims = trace.dims(**POINT)
    each = StepClock(SPEC).device_seconds(trace, dims, "bf16", False)
    send = [collective_seconds("send", n * KEYS_AND_VALUES / 4, 2, network) for n in (1, 2)]
    nothing = ring_seconds(trace, dims, network, 1, 0 * each)
    assert nothing == pytest.approx(tuple(LAYERS * 3 * one for one in send))
    assert ring_seconds(trace, dims, network, 1, each + 1.0) == (0.0, 0.0)
    time = timed(trace, cp=4)
    assert time.by_kind[RING_WAITS] == pytest.approx(
        sum(ring_seconds(trace, dims, network, 1, each))
    )


def test_memory_falls_with_the_parts(trace_of):
    def peak(**degrees):
        trace = trace_of(**degrees)
        return float(peak_allocated(trace, trace.dims(**POINT)))

    peaks = [peak(cp=ranks) if ranks > 1 else peak() for ranks in (1, 2, 4, 8)]
    assert all(a > 1.6 * b for a, b in zip(peaks, peaks[1:]))


def test_state_is_shared_by_the_parts_too(trace_of):
    plan = ParallelPlan(dp_shard=2, cp=4, sharding="fsdp")
    assert (plan.shards, plan.copies, plan.data_parallel) == (8, 1, 2)
    assert ParallelPlan(dp_replicate=2, cp=4).copies == 8
    own, alone = trace_of(dp_shard=2, cp=4, sharding="fsdp"), trace_of(dp_shard=8, sharding="fsdp")
    assert own.meta["gradient_bytes"] == alone.meta["gradient_bytes"]
    sent = [sum(c.size_bytes for c in collectives_of(t).micro_batch) for t in (own, alone)]
    assert sent[0] == sent[1] > 0


def test_parts_of_parts(trace_of):
    own, alone = trace_of(cp=2, tp=4), trace_of(tp=4)
    a, b = (t.storage_bytes(t.dims(**POINT))[t.meta[TENSOR].size] for t in (own, alone))
    assert 2 * a == b
    time = timed(own, cp=2, tp=4)
    assert 8 * time.model_flops == pytest.approx(timed(trace_of()).model_flops, rel=1e-3)


def test_shares_of_a_length():
    point = {"B": 3, "S": 4096}
    assert shortened("1", 4) == "1" and shortened("B", 4) == "B"
    for name in ("S", "BS", "S*1/2", "BS*3/8"):
        assert 4 * value_of(shortened(name, 4), point) == value_of(name, point)
    assert value_of(shortened("BS^32", 4), point) == value_of("BS^128", point)


def test_what_has_no_fused_attention_is_refused_in_one_line(facts, recipe):
    eager = trace_for(facts, replace(recipe, attention="eager"))
    with pytest.raises(QuestionError, match="not everywhere one fused causal operation"):
        part_source(eager, ParallelPlan(cp=2)).at(**POINT)
    with pytest.raises(QuestionError, match="compiled steps"):
        part_source(trace_for(facts, replace(recipe, compile=True)), ParallelPlan(cp=2))
    with pytest.raises(QuestionError, match="multiple of 4"):
        plans_for(6, None, ParallelPlan(cp=4))
