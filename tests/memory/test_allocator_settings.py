"""Settings of the allocator, against a naive one, and a cache that is given back."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from planner.answer.estimate import estimate
from planner.errors import QuestionError
from planner.memory.allocator import (
    LARGE_BUFFER,
    SMALL_SIZE,
    AllocatorConfig,
    CachingAllocator,
    DeviceOutOfMemory,
    round_size,
    rounded_up,
    segment_size,
)
from planner.memory.peak import replay
from planner.models.resolve import resolve
from planner.plan.around.allocator import allocator_lines, allocator_of
from planner.question import Question
from planner.question.importers import importer_of
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

MIB = 2**20
SIZES = st.one_of(st.integers(1, 3 * MIB), st.integers(MIB, 200 * MIB))
SCRIPTS = st.lists(
    st.one_of(st.tuples(st.just(True), SIZES), st.tuples(st.just(False), st.integers(0, 30))),
    max_size=80,
)


class Whole:
    """Large blocks beyond a limit stay whole: segments as lists of [address, size, live]; every
    search is a scan. Written from torch's description of ``max_split_size_mb``."""

    def __init__(self, most):
        self.most, self.segments, self.top = most, [], 0
        self.allocated = self.reserved = 0

    def _fits(self, part, size):
        if part[2] or part[1] < size:
            return False
        return part[1] < self.most if size < self.most else part[1] < size + LARGE_BUFFER

    def allocate(self, requested):
        size, small = round_size(requested), round_size(requested) <= SMALL_SIZE
        parts = [
            (part[1], part[0], segment, part)
            for is_small, segment in self.segments
            if is_small == small
            for part in segment
        ]
        large_enough = sorted(p for p in parts if not p[3][2] and p[0] >= size)
        found = (
            large_enough[:1] if small else [p for p in large_enough[:1] if self._fits(p[3], size)]
        )
        if not found:
            wanted = segment_size(size)
            segment = [[self.top, wanted, False]]
            self.top, self.reserved = self.top + wanted, self.reserved + wanted
            self.segments.append((small, segment))
            found = [(wanted, segment[0][0], segment, segment[0])]
        _, _, segment, part = found[0]
        rest = part[1] - size
        if (small and rest >= 512) or (not small and size < self.most and rest > SMALL_SIZE):
            segment.insert(segment.index(part) + 1, [part[0] + size, rest, False])
            part[1] = size
        part[2] = True
        self.allocated += part[1]
        return part, segment

    def free(self, held):
        part, segment = held
        part[2] = False
        self.allocated -= part[1]
        merged = [segment[0]]
        for one in segment[1:]:
            if not merged[-1][2] and not one[2]:
                merged[-1][1] += one[1]
            else:
                merged.append(one)
        segment[:] = merged


@settings(max_examples=60, deadline=None)
@given(SCRIPTS, st.sampled_from([21, 64, 128]))
def test_blocks_beyond_the_limit_are_kept_whole(script, most):
    ours = CachingAllocator(AllocatorConfig(max_split_bytes=most * MIB))
    naive = Whole(most * MIB)
    live = []
    for allocates, value in script:
        if allocates:
            live.append((ours.allocate(value), naive.allocate(value)))
            assert live[-1][0].size == live[-1][1][0][1]
        elif live:
            one, other = live.pop(value % len(live))
            ours.free(one), naive.free(other)
        assert (ours.allocated_bytes, ours.reserved_bytes) == (naive.allocated, naive.reserved)


@pytest.mark.parametrize(
    ("size", "divisions", "rounded"),
    [(1200 * 512, 4, 1280 * 512), (1024 * 512, 4, 1024 * 512), (1800 * 512, 4, 2048 * 512)]
    + [(512 * 4, 4, 512 * 4), (5 * 512, 4, 5 * 512), (1025 * 512, 2, 1536 * 512)],
)
def test_sizes_are_rounded_to_shares_of_a_power_of_two(size, divisions, rounded):
    """1,200 between 1,024 and 2,048 becomes 1,280 with four: CUDACachingAllocator.cpp."""
    assert rounded_up(size, divisions) == rounded
    assert (
        CachingAllocator(AllocatorConfig(roundup_divisions=divisions)).allocate(size).size >= size
    )


def test_the_oversized_go_first_when_memory_runs_out():
    allocator = CachingAllocator(AllocatorConfig(max_split_bytes=64 * MIB), limit_bytes=300 * MIB)
    kept, large = allocator.allocate(40 * MIB), allocator.allocate(200 * MIB)
    small = allocator.allocate(30 * MIB)
    allocator.free(large), allocator.free(small)
    allocator.allocate(120 * MIB)  # 270 MiB are reserved: the 200 go, the 30 stay
    assert allocator.reserved_bytes == (40 + 30 + 120) * MIB and kept.allocated
    with pytest.raises(DeviceOutOfMemory):
        allocator.allocate(400 * MIB)


def trace(name="llama-3.2-1b"):
    recipe = Recipe("fine_tune", "causal_lm", "bf16", "adamw")
    return trace_for(resolve(name, offline=True), recipe).at(B=4, S=512)


POINT = {"B": 4, "S": 512}


def test_a_cache_that_is_given_back_holds_less_and_is_asked_for_again():
    plain, every, seldom = (replay(trace(), POINT, emptied=n) for n in (None, 1, 10))
    assert every.reserved_bytes < plain.reserved_bytes
    assert every.reserved_bytes >= every.allocated_bytes
    assert plain.regrown == 0 and every.regrown > 0 and seldom.regrown > 0
    # steps between fill it as if nothing had been given back
    assert seldom.reserved_bytes > every.reserved_bytes
    # a block of a fresh segment may not be split where one of the cache's would be
    assert every.allocated_bytes == pytest.approx(plain.allocated_bytes, rel=0.01)


def test_segments_that_grow_waste_less():
    plain, grown = (
        replay(trace(), POINT, config=config)
        for config in (AllocatorConfig(), AllocatorConfig(expandable_segments=True))
    )
    assert grown.fragmentation_bytes < plain.fragmentation_bytes / 2


def asked(text):
    return allocator_of(Question(model="gpt2", samples=1, tokens_per_sample=8, allocator=text))


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("expandable_segments:True", AllocatorConfig(expandable_segments=True)),
        ("PYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:512", AllocatorConfig(False, 512 * MIB)),
        (
            "PYTORCH_ALLOC_CONF='roundup_power2_divisions:4'",
            AllocatorConfig(False, None, (4,) * 16),
        ),
        (
            "roundup_power2_divisions:[256:1,512:2,1024:4,>:8],expandable_segments:True",
            AllocatorConfig(True, None, (1,) * 9 + (2, 4) + (8,) * 5),
        ),
        ("roundup_power2_divisions:[4:2]", AllocatorConfig(False, None, (2,) * 3 + (0,) * 13)),
        ("roundup_power2_divisions:1", AllocatorConfig()),
        (
            "garbage_collection_threshold:0.8",
            AllocatorConfig(garbage_collection_threshold=0.8),
        ),
        (
            "max_split_size_mb:64,max_non_split_rounding_mb:32",
            AllocatorConfig(max_split_bytes=64 * MIB, non_split_bytes=32 * MIB),
        ),
        ("backend:native, expandable_segments:False", AllocatorConfig()),
        ("pinned_use_cuda_host_register:True", AllocatorConfig()),
        ("", AllocatorConfig()),
    ],
)
def test_settings_are_read_as_torch_reads_them(text, config):
    assert asked(text) == config


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("garbage_collection_threshold:1.5", "no setting"),
        ("garbage_collection_threshold:often", "no setting"),
        ("per_process_memory_fraction:0.5", "less memory"),
        ("max_non_split_rounding_mb:19", "at least 20"),
        ("backend:cudaMallocAsync", "its own way"),
        ("max_split_size_mb:16", "more than 20"),
        ("roundup_power2_divisions:3", "no setting"),
        ("roundup_power2_divisions:[256:3,>:8]", "no setting"),
        ("roundup_power2_divisions:[255:1]", "no setting"),
        ("roundup_power2_divisions:[256:1", "no setting"),
        ("expandable_segments", "no setting"),
        ("segments:True", "no setting"),
    ],
)
def test_what_the_replay_cannot_do_is_refused_in_one_line(text, why):
    with pytest.raises(QuestionError, match=why) as error:
        asked(text)
    assert "\n" not in str(error.value)


ASKED = {
    "samples": 2000,
    "tokens_per_sample": 500,
    "strategy": ["fine_tune"],
    "gpu": "a100-sxm-80",
    "micro_batch": 4,
    "global_batch": 8,
}


def answered(**fields):
    document = estimate(Question(model="llama-3.2-1b", **ASKED | fields))
    return document["options"][0], [line["text"] for line in document["first_lines"]]


def test_both_are_said_and_change_what_is_reserved_and_the_time():
    plain, _ = answered()
    emptied, lines = answered(empty_cache_steps=1, allocator="expandable_segments:True")
    assert any("after the forward pass of every step" in line for line in lines)
    assert any("replayed with segments that grow" in line for line in lines)
    reserved = [option["memory"]["reserved_bytes"]["p50"] for option in (emptied, plain)]
    assert reserved[0] < reserved[1]
    alone, _ = answered(empty_cache_steps=1)
    parts = alone["run"]["of_which_hours"]["training"]
    assert parts["empty_cache"] > 0
    seldom, lines = answered(empty_cache_steps=100)
    assert any("lowers no peak" in line for line in lines)
    assert seldom["run"]["of_which_hours"]["training"]["empty_cache"] < parts["empty_cache"]
    assert emptied["training"]["allocator"] == "expandable_segments:True"


def test_trainers_key_is_the_question_s():
    document = {"model_name_or_path": "gpt2", "torch_empty_cache_steps": 4}
    found = importer_of(document).read(document, 1)
    assert found.values["empty_cache_steps"] == 4


def test_a_threshold_without_a_limit_is_said_to_change_nothing():
    question = Question(
        model="gpt2",
        samples=1,
        tokens_per_sample=8,
        allocator="garbage_collection_threshold:0.6,roundup_power2_divisions:[1:2,>:8]",
    )
    replayed, idle = allocator_lines(question)
    assert "2 or 8 steps" in replayed.text and not replayed.warning
    assert "changes nothing" in idle.text and idle.warning
