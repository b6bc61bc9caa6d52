"""Everything that no recording exercises, against a plain allocator that follows torch's own
functions: several streams, blocks that other streams work on, graphs, garbage collection, limits,
and every rounding."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from reference_allocator import OutOfMemory, Reference

from planner.memory.allocator import AllocatorConfig, CachingAllocator, DeviceOutOfMemory
from planner.memory.blocks import block_size

MIB = 2**20
SIZES = st.one_of(
    st.integers(1, 3 * MIB),
    st.integers(MIB, 90 * MIB),
    st.sampled_from([512, MIB, MIB + 1, 10 * MIB, 20 * MIB, 64 * MIB]),
)
STREAMS = st.integers(0, 2)
DIVISIONS = st.one_of(
    st.just((0,) * 16),
    st.lists(st.sampled_from([0, 1, 2, 4, 8, 16]), min_size=16, max_size=16).map(tuple),
)
SCRIPTS = st.lists(
    st.one_of(
        st.tuples(st.just("allocate"), SIZES, STREAMS),
        st.tuples(st.just("allocate"), SIZES, st.just(0)),
        st.tuples(st.just("free"), st.integers(0, 40), st.just(0)),
        st.tuples(st.just("record"), st.integers(0, 40), STREAMS),
        st.tuples(st.just("passed"), st.just(0), STREAMS),
        st.tuples(st.just("empty"), st.just(0), st.just(0)),
        st.tuples(st.just("begin"), st.integers(0, 1), STREAMS),
        st.tuples(st.just("end"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("destroy"), st.integers(0, 1), st.just(0)),
    ),
    max_size=90,
)


class Pair:
    """Ours and the reference, asked the same; ``live``: what both hold."""

    def __init__(self, config, reference, limit):
        self.ours, self.plain = CachingAllocator(config, limit), reference
        self.live = []
        self.ended = set()

    def allocate(self, size, stream):
        try:
            one = self.ours.allocate(size, stream)
        except DeviceOutOfMemory:
            one = None
        try:
            other = self.plain.malloc(size, stream)
        except OutOfMemory:
            other = None
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert (one.ptr, one.size) == (other.ptr, other.size)
            self.live.append((one, other))

    def free(self, at, _):
        if self.live:
            one, other = self.live.pop(at % len(self.live))
            self.ours.free(one), self.plain.free(other)

    def record(self, at, stream):
        if self.live:
            one, other = self.live[at % len(self.live)]
            self.ours.record_stream(one, stream), self.plain.record_stream(other, stream)

    def passed(self, _, stream):
        self.ours.passed(stream), self.plain.passed(stream)

    def empty(self, *_):
        if self.plain.capturing:
            with pytest.raises(ValueError, match="captured"):
                self.ours.release_cached()
        else:
            self.ours.release_cached(), self.plain.empty_cache()

    def begin(self, graph, stream):
        taken = {s for streams in self.plain.capturing.values() for s in streams}
        if graph not in self.plain.capturing and stream not in taken and graph not in self.ended:
            self.ours.begin_capture(graph, (stream,))
            self.plain.capturing[graph] = {stream}

    def end(self, graph, _):
        if graph in self.plain.capturing:
            self.ours.end_capture(graph)
            del self.plain.capturing[graph]

    def destroy(self, graph, _):
        if graph not in self.plain.capturing:
            self.ended.add(graph)
            self.ours.destroy_graph(graph)
            self.plain.freeable.add(graph)


@settings(max_examples=300, deadline=None)
@given(
    SCRIPTS,
    DIVISIONS,
    st.sampled_from([None, 21 * MIB, 64 * MIB]),
    st.sampled_from([None, 0.3, 0.8]),
    st.sampled_from([None, 120 * MIB, 400 * MIB]),
)
def test_as_torch_s_own_functions(script, divisions, most, threshold, limit):
    config = AllocatorConfig(
        max_split_bytes=most,
        roundup_divisions=divisions if any(divisions) else None,
        garbage_collection_threshold=threshold,
    )
    pair = Pair(
        config, Reference(divisions=divisions, max_split=most, gc=threshold, limit=limit), limit
    )
    for what, number, stream in script:
        getattr(pair, what)(number, stream)
        ours, plain = pair.ours, pair.plain
        assert (ours.allocated_bytes, ours.reserved_bytes) == (plain.allocated, plain.reserved)
        free = sorted(
            (size, ptr) for pools in ours._pools.values() for p in pools for size, ptr in p.order
        )
        assert free == sorted((p.size, p.ptr) for p in plain.parts if p.state == "free")


@given(SIZES, DIVISIONS)
def test_sizes_are_rounded_by_the_interval_that_they_lie_in(size, divisions):
    config = AllocatorConfig(roundup_divisions=divisions)
    assert block_size(size, config) == Reference(divisions=divisions).rounded(size)


def test_a_stream_s_blocks_serve_no_other_stream():
    allocator = CachingAllocator()
    allocator.free(allocator.allocate(40 * MIB))
    allocator.allocate(40 * MIB, stream=1)
    assert allocator.reserved_bytes == 80 * MIB
    allocator.allocate(40 * MIB)
    assert allocator.reserved_bytes == 80 * MIB


def test_a_block_that_another_stream_works_on_waits_for_it():
    allocator = CachingAllocator()
    block = allocator.allocate(40 * MIB)
    allocator.record_stream(block, 1)
    allocator.free(block)
    assert allocator.allocated_bytes == 0  # torch counts it as given back
    allocator.allocate(40 * MIB)
    assert allocator.reserved_bytes == 80 * MIB  # and cannot use it again yet
    allocator.passed(1)
    allocator.allocate(40 * MIB)
    assert allocator.reserved_bytes == 80 * MIB


def test_memory_that_runs_out_waits_for_the_streams():
    allocator = CachingAllocator(limit_bytes=60 * MIB)
    block = allocator.allocate(40 * MIB)
    allocator.record_stream(block, 1)
    allocator.free(block)
    allocator.allocate(50 * MIB)
    assert allocator.reserved_bytes == 50 * MIB and allocator.retries == 1


def test_a_graph_keeps_its_most_to_itself():
    allocator = CachingAllocator()
    allocator.begin_capture(7)
    allocator.free(allocator.allocate(100 * MIB))
    allocator.end_capture(7)
    allocator.allocate(100 * MIB)
    assert allocator.reserved_bytes == 200 * MIB
    allocator.release_cached()
    assert allocator.reserved_bytes == 200 * MIB
    allocator.destroy_graph(7)
    allocator.release_cached()
    assert allocator.reserved_bytes == 100 * MIB


def test_garbage_collection_takes_what_was_not_used_for_longest():
    config = AllocatorConfig(garbage_collection_threshold=0.5)
    allocator = CachingAllocator(config, limit_bytes=400 * MIB)
    allocator.allocate(MIB + 1)
    old, new = allocator.allocate(100 * MIB), allocator.allocate(120 * MIB)
    allocator.free(old)
    for _ in range(5):
        allocator.allocate(MIB + 1)
    allocator.free(new)
    allocator.allocate(150 * MIB)  # 240 MiB are reserved, more than half: the oldest goes
    assert allocator.reserved_bytes == (120 + 20 + 150) * MIB and allocator.retries == 0
    # without a limit there is nothing that the threshold is a share of
    idle = CachingAllocator(config)
    idle.free(idle.allocate(100 * MIB))
    idle.allocate(150 * MIB)
    assert idle.reserved_bytes == 250 * MIB


def test_growing_segments_of_two_streams_are_apart():
    allocator = CachingAllocator(AllocatorConfig(expandable_segments=True))
    allocator.free(allocator.allocate(30 * MIB))
    allocator.allocate(30 * MIB, stream=1)
    assert allocator.reserved_bytes == 80 * MIB


def test_a_segment_that_was_there_is_taken_as_it_is():
    allocator = CachingAllocator()
    live = allocator.adopt(20 * MIB, [(0, 4 * MIB, 4 * MIB), (8 * MIB, 2 * MIB, 2 * MIB - 5)])
    assert [b.size for b in live] == [4 * MIB, 2 * MIB]
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (6 * MIB, 20 * MIB)
    assert allocator.allocate(4 * MIB).ptr == 4 * MIB  # the smaller gap
    for block in live:
        allocator.free(block)
    assert allocator.requested_bytes == 4 * MIB
