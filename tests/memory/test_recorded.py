"""The replay against what torch's allocator really did: a short recording, event by event, and
recordings made by a plain allocator that follows torch's functions."""

import csv
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from reference_allocator import Reference

from benchmarks.allocator_replay import (
    Event,
    Recording,
    decisions,
    from_empty,
    history,
    in_order,
    judged,
    main,
    played,
    read,
    started,
)

FILE = Path(__file__).parent / "recordings" / "attention.csv"
MIB = 2**20


@pytest.fixture(scope="module")
def attention():
    return read(FILE)


def test_every_decision_is_torch_s(attention):
    asked, right = decisions(attention)
    assert (asked, right) == (36, 36)


def test_every_event_leaves_what_torch_counts(attention):
    for count in range(1, len(attention.events) + 1):
        part = Recording("part", {}, attention.events[:count])
        last = part.events[-1]
        allocator = played(part, *started(part))
        assert allocator.allocated_bytes == last.allocated
        # a segment comes with the request that follows it in the recording
        if last.action != "segment_alloc":
            assert allocator.reserved_bytes == last.reserved
    assert allocator.peak_reserved_bytes == attention.peak_reserved == 3_781_165_056
    assert allocator.peak_allocated_bytes == attention.peak_allocated == 3_249_144_832


def test_a_block_elsewhere_is_a_wrong_decision(attention):
    """The check can fail: the first request that a free block serves is moved to another gap."""
    events = list(attention.events)
    at = next(
        i
        for i in range(1, len(events))
        if (events[i - 1].action, events[i].action) == ("free_completed", "alloc")
    )
    wrong = replace(events[at], offset=events[at].offset + 512)
    asked, right = decisions(Recording("moved", {}, [*events[:at], wrong]))
    assert asked - right == 1


SCRIPTS = st.lists(
    st.one_of(
        st.tuples(st.just(True), st.one_of(st.integers(1, 3 * MIB), st.integers(MIB, 64 * MIB))),
        st.tuples(st.just(False), st.integers(0, 30)),
    ),
    min_size=1,
    max_size=80,
)


def recorded(script, plain, live, name="made"):
    """What a plain allocator does with a script, as a recording; its live blocks at the start."""
    found = Recording(name)
    sizes: dict[int, int] = {}
    for part in plain.parts:
        sizes[part.segment] = sizes.get(part.segment, 0) + part.size
    places = [(p.segment, p.ptr, p.size, p.requested) for p in plain.parts if p.state == "live"]
    bases = {s: min(p.ptr for p in plain.parts if p.segment == s) for s in sizes}
    for segment, size in sorted(sizes.items()):
        blocks = [(a - bases[s], n, r) for s, a, n, r in sorted(places) if s == segment]
        found.segments[f"s{segment}"] = size, blocks
    for allocates, value in script:
        if allocates:
            before = plain.segments
            part = plain.malloc(value)
            if plain.segments > before:
                bases[part.segment] = part.ptr
                size = sum(p.size for p in plain.parts if p.segment == part.segment)
                sizes[part.segment] = size
                found.events.append(_event("segment_alloc", part, 0, size, plain))
            found.events.append(_event("alloc", part, part.ptr - bases[part.segment], value, plain))
            live.append(part)
        elif live:
            part = live.pop(value % len(live))
            offset, size = part.ptr - bases[part.segment], part.requested
            plain.free(part)
            found.events.append(_event("free_completed", part, offset, size, plain))
    return found


def _event(action, part, offset, size, plain):
    return Event(action, f"s{part.segment}", offset, size, None, plain.allocated, plain.reserved)


@settings(max_examples=100, deadline=None)
@given(SCRIPTS, SCRIPTS)
def test_a_recording_from_the_middle_is_gone_on_with_exactly(first, second):
    plain, live = Reference(), []
    recorded(first, plain, live)
    middle = recorded(second, plain, live)
    asked, right = decisions(middle)
    assert asked == right
    allocator = played(middle, *started(middle))
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (
        plain.allocated,
        plain.reserved,
    )


@settings(max_examples=50, deadline=None)
@given(SCRIPTS)
def test_a_recording_from_empty_is_exact(script):
    plain = Reference()
    found = judged(recorded(script, plain, []), [])
    assert found.decisions == found.right
    assert found.known_error == found.empty_error == found.in_order_error == 0
    assert found.known_allocated_error == 0


def test_what_a_process_ran_before_is_found_by_what_it_left():
    plain, live = Reference(), []
    first = recorded([(True, 30 * MIB), (True, 50 * MIB), (False, 0)], plain, live, "first")
    second = recorded([(True, 20 * MIB), (True, 40 * MIB)], plain, live, "second")
    assert [r.name for r in history(second, [first, second])] == ["first", "second"]
    assert [r.name for r in history(first, [first, second])] == ["first"]
    # without the history a free block is missing, with it nothing is
    assert in_order([first, second]).peak_reserved_bytes == second.peak_reserved
    assert from_empty(second).peak_reserved_bytes != second.peak_reserved


def test_the_command_names_what_it_judged(tmp_path, capsys, monkeypatch):
    import gzip

    with gzip.open(tmp_path / "alloc_attention.csv.gz", "wb") as handle:
        handle.write(FILE.read_bytes())
    monkeypatch.setattr("sys.argv", ["allocator_replay.py", str(tmp_path)])
    assert main() == 0
    out = capsys.readouterr().out
    assert "36 of 36 decisions right" in out and "| attention |" in out
    monkeypatch.setattr("sys.argv", ["allocator_replay.py", str(tmp_path / "none")])
    assert main() == 2


def test_the_extract_is_small():
    with FILE.open(newline="", encoding="utf-8") as handle:
        assert len(list(csv.DictReader(handle))) == 71
