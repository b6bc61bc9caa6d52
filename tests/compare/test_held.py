"""What a snapshot held: peaks and what was alive then, also where the oldest events are gone."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.compare.snapshot.held import BEFORE, held
from planner.compare.snapshot.reading import read_snapshot
from planner.errors import QuestionError

SEGMENT = 2 << 20


def frames(*places):
    return [{"filename": file, "line": line, "name": name} for file, line, name in places]


def alloc(address, size, *places):
    return {"action": "alloc", "addr": address, "size": size, "frames": frames(*places)}


def freed(address, size):
    return [
        {"action": action, "addr": address, "size": size, "frames": []}
        for action in ("free_requested", "free_completed")
    ]


def snapshot(alive, events, *, reserved=SEGMENT, device=0):
    """``alive``: (address, bytes) at the end."""
    blocks = [
        {"address": address, "size": size, "state": "active_allocated", "frames": []}
        for address, size in alive
    ]
    segment = {"device": device, "address": 0, "total_size": reserved, "blocks": blocks}
    traces = [[] for _ in range(device)] + [events]
    return {"segments": [segment], "device_traces": traces, "allocator_settings": {}}


def test_the_peak_and_what_was_alive_by_what_took_it(tmp_path):
    model, update = ("/home/me/train.py", 12, "forward"), ("/x/torch/optim/adamw.py", 5, "step")
    functional = ("/x/torch/nn/functional.py", 9, "linear")
    events = [
        alloc(1, 1024, functional, model),
        alloc(2, 4096, ("torch/csrc/autograd/engine.cpp", 1, "torch::autograd::Engine::run")),
        *freed(2, 4096),
        alloc(3, 512, update),
        *freed(9, 2048),
    ]
    seen = held(snapshot([(1, 1024), (3, 512), (7, 10240)], events), tmp_path)
    # 10240 and 2048 were there before
    assert seen.peak_allocated_bytes == 10240 + 2048 + 1024 + 4096
    assert seen.end_allocated_bytes == 11776 and not seen.is_whole and seen.has_stacks
    assert seen.by_origin() == {BEFORE: 12288, "backward": 4096, "forward and all else": 1024}
    assert seen.by_place()["me/train.py:12 forward"] == 1024
    assert sum(block.bytes for block in seen.live) == seen.peak_allocated_bytes


@st.composite
def runs(draw):
    """(events of allocations and frees, what is alive after each)."""
    events, alive, levels = [], {}, [{}]
    for number in range(draw(st.integers(1, 30))):
        if alive and draw(st.booleans()):
            address = draw(st.sampled_from(sorted(alive)))
            events += [e for e in freed(address, alive[address])[:1]]
            alive = {a: s for a, s in alive.items() if a != address}
        else:
            size = draw(st.integers(1, 9)) * 512
            events.append(alloc(number + 100, size))
            alive = {**alive, number + 100: size}
        levels.append(alive)
    return events, levels


@given(runs(), st.data())
def test_the_peak_is_that_of_the_events_that_are_left(tmp_path_factory, run, data):
    events, levels = run
    gone = data.draw(st.integers(0, len(events) - 1))
    seen = held(snapshot(levels[-1].items(), events[gone:]), tmp_path_factory.getbasetemp())
    wanted = max(levels[gone:], key=lambda alive: sum(alive.values()))
    assert seen.peak_allocated_bytes == sum(wanted.values())
    assert sum(block.bytes for block in seen.live) == seen.peak_allocated_bytes
    assert seen.is_whole == (not levels[gone])
    assert seen.end_allocated_bytes == sum(levels[-1].values())


def test_reserved_memory_follows_the_segments(tmp_path):
    events = [
        {"action": "segment_alloc", "addr": 1, "size": 3 * SEGMENT},
        {"action": "segment_free", "addr": 1, "size": 3 * SEGMENT},
        {"action": "oom", "size": 1},
    ]
    seen = held(snapshot([], events), tmp_path)
    assert seen.peak_reserved_bytes == 4 * SEGMENT and seen.end_reserved_bytes == SEGMENT
    assert seen.ran_out == 1 and seen.segments == 1


def test_several_devices_need_a_name(tmp_path):
    both = snapshot([(1, 512)], [alloc(1, 512)], device=1)
    both["segments"].append({**both["segments"][0], "device": 0})
    with pytest.raises(QuestionError, match="several devices: cuda:0, cuda:1.*--device cuda:0"):
        held(both, tmp_path)
    assert held(both, tmp_path, 1).events == 1 and held(both, tmp_path, 0).events == 0
    with pytest.raises(QuestionError, match="nothing of cuda:5"):
        held(both, tmp_path, 5)


def test_a_snapshot_of_nothing_is_one_line(tmp_path):
    with pytest.raises(QuestionError, match="of nothing"):
        held({"segments": [], "device_traces": [[]]}, tmp_path)


JUNK = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
EVENT = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["alloc", "free_requested", "free_completed", "segment_map"])
        | JUNK,
        "addr": st.integers(0, 3) | JUNK,
        "size": st.integers() | JUNK,
        "frames": st.lists(JUNK, max_size=2) | JUNK,
    },
)
SEGMENTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "device": st.integers(0, 1) | JUNK,
            "address": st.integers() | JUNK,
            "total_size": st.integers() | JUNK,
            "blocks": st.lists(st.fixed_dictionaries({}, optional={"state": JUNK, "size": JUNK}))
            | JUNK,
        },
    ),
    max_size=3,
)


@given(SEGMENTS, st.lists(st.lists(EVENT, max_size=6), max_size=2))
def test_whatever_it_holds_the_end_is_figures_or_one_line(tmp_path_factory, segments, traces):
    path = tmp_path_factory.getbasetemp() / "junk.pickle"
    path.write_bytes(pickle.dumps({"segments": segments, "device_traces": traces}))
    try:
        seen = held(read_snapshot(path), path)
    except QuestionError as error:
        assert "\n" not in str(error)
    else:
        assert seen.peak_allocated_bytes >= seen.end_allocated_bytes
        assert seen.by_place() is not None and seen.by_origin() is not None


@pytest.mark.parametrize("size", [None, -5, float("nan"), "8", 2**70, True, [1]])
def test_a_size_that_is_none_is_refused_where_it_stands(size):
    events = [alloc(4, 512), *freed(4, 512)]
    for change, where in (
        (lambda s: s["segments"][0].update(total_size=size), "segment 0"),
        (lambda s: s["segments"][0]["blocks"][0].update(size=size), "block 0 of segment 0"),
        (lambda s: s["device_traces"][0][1].update(size=size), "event 1"),
    ):
        found = snapshot([(1, 512)], [dict(event) for event in events])
        change(found)
        with pytest.raises(QuestionError, match=f"the size of {where} is no number of bytes"):
            held(found, Path("s.pickle"))
