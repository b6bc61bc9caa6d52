"""The allocator's replay against a naive one that scans every segment, and its own invariants."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from planner.memory.allocator import (
    LARGE_BUFFER,
    MIN_LARGE,
    ROUND_LARGE,
    SMALL_BUFFER,
    SMALL_SIZE,
    AllocatorConfig,
    CachingAllocator,
    DeviceOutOfMemory,
    round_size,
)

MIB = 2**20
SIZES = st.one_of(
    st.integers(1, 4096),
    st.integers(1, 3 * MIB),
    st.integers(MIB, 64 * MIB),
    st.sampled_from([512, MIB, MIB + 1, 10 * MIB, 20 * MIB]),
)
#: (True, size) allocates; (False, n) frees the n-th live block
SCRIPTS = st.lists(
    st.one_of(st.tuples(st.just(True), SIZES), st.tuples(st.just(False), st.integers(0, 30))),
    max_size=120,
)


def run(allocator, script):
    live, places = [], []
    for allocate, value in script:
        if allocate:
            live.append(allocator.allocate(value))
            places.append(live[-1].ptr if hasattr(live[-1], "ptr") else live[-1][0])
        elif live:
            allocator.free(live.pop(value % len(live)))
    return live, places


class Naive:
    """Segments as lists of [address, size, live]; every search is a scan. Written from the
    description, not the code."""

    def __init__(self):
        self.segments, self.top, self.allocated = [], 0, 0

    def allocate(self, requested):
        size = max(512, (requested + 511) // 512 * 512)
        small = size <= SMALL_SIZE
        fits = [
            (part[1], part[0], segment, part)
            for is_small, segment in self.segments
            if is_small == small
            for part in segment
            if not part[2] and part[1] >= size
        ]
        if fits:
            _, _, segment, part = min(fits, key=lambda f: f[:2])
        else:
            total = (
                SMALL_BUFFER
                if small
                else LARGE_BUFFER
                if size < MIN_LARGE
                else (size + ROUND_LARGE - 1) // ROUND_LARGE * ROUND_LARGE
            )
            part = [self.top, total, False]
            segment = [part]
            self.segments.append((small, segment))
            self.top += total
        rest = part[1] - size
        if rest >= 512 if small else rest > SMALL_SIZE:
            segment.insert(segment.index(part) + 1, [part[0] + size, rest, False])
            part[1] = size
        part[2] = True
        self.allocated += part[1]
        return part[0], part[1], segment

    def free(self, handle):
        address, size, segment = handle
        self.allocated -= size
        next(p for p in segment if p[0] == address)[2] = False
        merged = []
        for part in segment:
            if merged and not merged[-1][2] and not part[2]:
                merged[-1][1] += part[1]
            else:
                merged.append(part)
        segment[:] = merged

    @property
    def reserved(self):
        return sum(p[1] for _, segment in self.segments for p in segment)


@settings(max_examples=150, deadline=None)
@given(SCRIPTS)
def test_agrees_with_the_naive_allocator(script):
    fast, naive = CachingAllocator(), Naive()
    assert run(fast, script)[1] == run(naive, script)[1]
    assert (fast.allocated_bytes, fast.reserved_bytes) == (naive.allocated, naive.reserved)


@settings(max_examples=100, deadline=None)
@given(SCRIPTS, st.booleans())
def test_invariants(script, expandable):
    allocator = CachingAllocator(AllocatorConfig(expandable))
    live, _ = run(allocator, script)
    ranges = sorted((b.ptr, b.ptr + b.size) for b in live)
    assert all(end <= start for (_, end), (start, _) in zip(ranges, ranges[1:]))
    assert allocator.allocated_bytes == sum(b.size for b in live) <= allocator.reserved_bytes
    assert allocator.requested_bytes == sum(b.requested for b in live)
    assert (
        allocator.allocated_bytes <= allocator.peak_allocated_bytes <= allocator.peak_reserved_bytes
    )
    free = sum(size for pool in (allocator.small, allocator.large) for size, _ in pool.order)
    assert free + allocator.allocated_bytes == allocator.reserved_bytes
    for block in live:
        allocator.free(block)
    left = [b for pool in (allocator.small, allocator.large) for b in pool.at.values()]
    assert all(b.prev is None and (b.next is None or not b.next.mapped) for b in left), (
        "a segment is not one free block"
    )
    allocator.release_cached()
    assert allocator.reserved_bytes == 0


@settings(max_examples=60, deadline=None)
@given(SCRIPTS)
def test_a_repeated_step_reserves_nothing_more(script):
    allocator = CachingAllocator()
    for _ in range(2):
        for block in run(allocator, script)[0]:
            allocator.free(block)
    reserved = allocator.reserved_bytes
    for block in run(allocator, script)[0]:
        allocator.free(block)
    assert allocator.reserved_bytes == reserved


def test_documented_sizes():
    allocator = CachingAllocator()
    allocator.allocate(1)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (512, 2 * MIB)
    allocator.allocate(MIB + 1)
    assert allocator.reserved_bytes == 22 * MIB
    # 1 MiB less 512 B is not split off, and counts as allocated
    assert allocator.allocate(19 * MIB + 512).size == 20 * MIB
    assert allocator.reserved_bytes == 42 * MIB
    assert round_size(513) == 1024


def test_cached_segments_are_given_back_before_memory_runs_out():
    allocator = CachingAllocator(limit_bytes=100 * MIB)
    allocator.free(allocator.allocate(60 * MIB))
    assert allocator.allocate(80 * MIB).size == 80 * MIB
    assert (allocator.reserved_bytes, allocator.retries) == (80 * MIB, 1)
    with pytest.raises(DeviceOutOfMemory):
        allocator.allocate(30 * MIB)


def test_expandable_segments_reuse_what_is_given_back():
    allocator = CachingAllocator(AllocatorConfig(expandable_segments=True), limit_bytes=100 * MIB)
    first, second = allocator.allocate(39 * MIB), allocator.allocate(30 * MIB)
    assert allocator.reserved_bytes == 80 * MIB
    allocator.free(first)
    # 39 MiB lie free below; the 20 MiB page that is whole and free is moved behind
    allocator.allocate(45 * MIB)
    assert (allocator.reserved_bytes, allocator.retries) == (100 * MIB, 1)
    allocator.free(second)


@settings(max_examples=60, deadline=None)
@given(SCRIPTS, st.booleans(), st.integers(2, 200))
def test_the_limit_holds(script, expandable, limit_mib):
    allocator = CachingAllocator(AllocatorConfig(expandable), limit_bytes=limit_mib * MIB)
    live = []
    for allocate, value in script:
        try:
            if allocate:
                live.append(allocator.allocate(value))
            elif live:
                allocator.free(live.pop(value % len(live)))
        except DeviceOutOfMemory:
            pass
        assert (
            allocator.allocated_bytes
            <= allocator.reserved_bytes
            <= allocator.peak_reserved_bytes
            <= limit_mib * MIB
        )
