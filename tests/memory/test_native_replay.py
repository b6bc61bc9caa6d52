"""The fast replay against the allocator that goes request by request."""

from dataclasses import replace

import numpy as np
import pytest
from handmade_traces import traces
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import QuestionError
from planner.memory import peak as peak_module
from planner.memory.allocator import PLAIN, AllocatorConfig, CachingAllocator
from planner.memory.native_replay import NativeReplay, plays
from planner.memory.peak import Pieces, replay, replay_by_request
from planner.models.resolve import resolve
from planner.trace.source import TraceSource
from planner.training.recipe import Recipe

MIB = 2**20
SIZES = st.one_of(
    st.integers(0, 4096),
    st.integers(1, 3 * MIB),
    st.integers(MIB, 64 * MIB),
    st.sampled_from([512, MIB, MIB + 1, 10 * MIB, 20 * MIB]),
)


@st.composite
def runs(draw):
    """Sizes of keys and steps of allocations and releases, of keys that are not there too."""
    sizes = draw(st.lists(SIZES, min_size=1, max_size=40))
    steps, alive = [], set()
    for _ in range(draw(st.integers(1, 3))):
        step = []
        for key in draw(st.lists(st.integers(0, len(sizes) - 1), max_size=80)):
            release = key in alive or draw(st.integers(0, 9)) == 0
            step.append(~key if release else key)
            (alive.discard if release else alive.add)(key)
        steps.append(step)
    return sizes, steps


CONFIGS = st.sampled_from(
    [
        PLAIN,
        AllocatorConfig(expandable_segments=True),
        AllocatorConfig(roundup_divisions=4),
        AllocatorConfig(roundup_divisions=(1, 8, 0, 2) + (4,) * 12),
        AllocatorConfig(expandable_segments=True, roundup_divisions=8),
    ]
)


@settings(max_examples=300, deadline=None)
@given(runs(), CONFIGS)
def test_every_step_leaves_what_the_allocator_leaves(run, config):
    assert plays(config)
    sizes, steps = run
    fast, allocator, blocks = NativeReplay(np.array(sizes), config), CachingAllocator(config), {}
    best, alive_then = 0, {}
    for step in steps:
        fast.play(np.array(step, dtype=np.int64), np.arange(len(step)))
        for key in step:
            if key < 0:
                allocator.free(blocks.pop(~key, None))
            elif (block := allocator.allocate(sizes[key])) is not None:
                blocks[key] = block
                if allocator.allocated_bytes > best:
                    best, alive_then = (
                        allocator.allocated_bytes,
                        {k: b.size for k, b in blocks.items()},
                    )
        assert fast.reserved_bytes == allocator.reserved_bytes
        free = sorted(
            size * 512 for pool in fast._pools for size in (block >> 40 for block in pool.order)
        )
        assert free == sorted(
            size for pool in (allocator.small, allocator.large) for size, _ in pool.order
        )
    moment = fast.peak()
    assert moment.allocated_bytes == best == moment.block_bytes.sum()
    assert dict(zip(moment.keys.tolist(), moment.block_bytes.tolist())) == alive_then


@settings(max_examples=150, deadline=None)
@given(
    traces(),
    st.integers(1, 40),
    st.integers(1, 300),
    st.integers(1, 4),
    st.sampled_from([(), (8 * MIB,), (8 * MIB, 3 * MIB)]),
    CONFIGS,
)
def test_the_same_answer_as_request_by_request(
    trace, batch, length, accumulation, workspace, config
):
    point = {"B": batch, "S": length}
    sizes = trace.storage_bytes(trace.dims(**point))[trace.size]
    slow = replay_by_request(
        trace, Pieces(trace, sizes, accumulation, workspace), CachingAllocator(config)
    )
    asked = {"accumulation": accumulation, "workspace": workspace, "config": config}
    # of what a step maps anew the fast way says nothing
    assert replay(trace, point, **asked) == replace(slow, regrown=0)


@pytest.mark.parametrize(
    "strategy, batch, length, accumulation, config",
    [
        ("fine_tune", 2, 512, 1, PLAIN),
        ("fine_tune", 3, 77, 4, PLAIN),
        ("feature_extraction", 5, 300, 2, PLAIN),
        ("fine_tune", 2, 512, 1, AllocatorConfig(expandable_segments=True)),
        ("fine_tune", 3, 77, 4, AllocatorConfig(expandable_segments=True)),
        ("fine_tune", 2, 512, 1, AllocatorConfig(roundup_divisions=4)),
    ],
)
def test_the_same_answer_of_a_recorded_step(strategy, batch, length, accumulation, config):
    trace = TraceSource(resolve("Llama-3.2-1B"), Recipe(strategy, "causal_lm", "bf16", "adamw")).at(
        B=batch, S=length
    )
    point, workspace = {"B": batch, "S": length}, (32 * MIB, 8 * MIB)
    sizes = trace.storage_bytes(trace.dims(**point))[trace.size]
    slow = replay_by_request(
        trace, Pieces(trace, sizes, accumulation, workspace), CachingAllocator(config)
    )
    asked = {"accumulation": accumulation, "workspace": workspace, "config": config}
    assert replay(trace, point, **asked) == replace(slow, regrown=0)
    assert slow.reserved_bytes >= slow.allocated_bytes > slow.requested_bytes * 0.99


def test_a_limit_that_is_kept_needs_no_second_replay(monkeypatch):
    trace = TraceSource(
        resolve("Llama-3.2-1B"), Recipe("fine_tune", "causal_lm", "bf16", "adamw")
    ).at(B=2, S=64)
    free = replay(trace, {"B": 2, "S": 64})
    tight = replay(trace, {"B": 2, "S": 64}, limit_bytes=free.reserved_bytes - 1)
    assert tight.retries or not tight.fits
    monkeypatch.setattr(peak_module, "replay_by_request", lambda *_: pytest.fail("replayed again"))
    assert replay(trace, {"B": 2, "S": 64}, limit_bytes=free.reserved_bytes) == free


@pytest.mark.parametrize("config", [PLAIN, AllocatorConfig(expandable_segments=True)])
def test_what_lies_beyond_the_addresses_is_refused(config):
    run = NativeReplay(np.array([2**48, 2**48, 2**48]), config)
    events = np.array([0, 1, 2])
    with pytest.raises(QuestionError, match="more than 511 TiB"):
        run.play(events, events)
