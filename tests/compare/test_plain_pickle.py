"""Snapshots are read and never unpickled: what plain containers need is read as ``pickle`` does,
and nothing else is."""

import math
import os
import pickle
import pickletools
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.compare.snapshot import plain_pickle
from planner.compare.snapshot.plain_pickle import NotPlain, load
from planner.compare.snapshot.reading import read_snapshot
from planner.errors import QuestionError

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
    ),
    max_leaves=40,
)


@given(PLAIN, st.sampled_from([3, 4, 5]))
def test_plain_containers_are_read_as_pickle_reads_them(value, protocol):
    found = load(pickle.dumps(value, protocol))
    assert found == value and repr(found) == repr(value)


def test_protocol_2_and_what_is_shared():
    shared = {"name": "f", "line": 3}
    found = load(pickle.dumps({"a": [shared, shared], "b": (1, 2, 3, 4), "c": -7}, 2))
    assert found["a"][0] is found["a"][1] and found["b"] == (1, 2, 3, 4)
    many = [{"i": i, "x": "é" * 300} for i in range(3000)]
    assert load(pickle.dumps(many, 2)) == many == load(pickle.dumps(many, 4))


class Runs:
    """What is called when this is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def extension():
    return b"\x80\x02\x82\x01."


HOSTILE = {
    "a reduction": (pickle.dumps({"segments": [Runs()]}), "GLOBAL"),
    "a reduction of protocol 2": (pickle.dumps(Runs(), 2), "GLOBAL"),
    "an old instance": (b"(ios\nmkdir\n(S'executed'\nt.", "INST"),
    "a name": (b"cos\nsystem\n(S'mkdir executed'\ntR.", "GLOBAL"),
    "an extension": (extension(), "EXT1"),
    "a persistent name": (b"\x80\x04\x8c\x01aQ.", "BINPERSID"),
    "a state": (b"\x80\x04}}b.", "BUILD"),
    "a class": (pickle.dumps(math.nan.__class__), "GLOBAL"),
    "a set": (pickle.dumps({1, 2}), "the byte 143"),
    "a buffer beside": (b"\x80\x05\x97.", "the byte 151"),
    "an array in bytes": (pickle.dumps(bytearray(b"abc"), 5), "the byte 150"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_run_something_is_refused_by_its_name(name, tmp_path, monkeypatch):
    data, said = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotPlain, match=said):
        load(data)
    path = tmp_path / "snapshot.pickle"
    path.write_bytes(data)
    with pytest.raises(QuestionError, match="is no snapshot of plain containers") as raised:
        read_snapshot(path)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "executed").exists()


def test_the_hostile_ones_would_run_where_they_are_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(HOSTILE["a reduction"][0])
    assert (tmp_path / "executed").is_dir()


def test_no_operation_that_is_read_can_import_call_or_build():
    harmless = set(plain_pickle._RUNS) | {"."}
    for operation in pickletools.opcodes:
        if operation.name in {
            "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX",
            "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER",
        }:  # fmt: skip
            assert operation.code not in harmless


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04",
        b"\x80\x04}",
        b".",
        b"(.",
        b"\x80\x04(}u.",
        b"\x80\x04a.",
        b"\x80\x04Na.",
        b"\x80\x04h\x05.",
        b"\x80\x04\x86.",
        b"\x80\x04]]]s.",
        b"\x80\x09N.",
        b"\x80\x04X\xff\xff\xff\xffabc.",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"x.",
        b"\x80\x04\x8a\xff" + b"\x01" * 255 + b".",
        b"\x80\x04}]Ns.",
        b"\x80\x04\x8c\x01\xff.",
        b"\x80\x04(\x94.",
        b"not a pickle at all",
    ],
)
def test_what_is_damaged_is_said_and_nothing_else_happens(data):
    with pytest.raises(NotPlain):
        load(data)


def test_a_memo_of_four_billion_places_takes_none():
    found = load(b"\x80\x02]r\xff\xff\xff\xff.")
    assert found == []


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_are_a_value_or_refused(data):
    try:
        load(b"\x80\x04" + data)
    except NotPlain as error:
        assert "\n" not in str(error)


@given(PLAIN, st.data())
def test_a_pickle_with_a_byte_changed_is_a_value_or_refused(value, data):
    whole = bytearray(pickle.dumps(value, 4))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        load(bytes(whole))
    except NotPlain:
        pass


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


#: A tuple that holds the one before twice, forty times: 2^40 values in 300 bytes, put in a list of
#: its own. Place 40 of the memo is the last.
TWICE = b"(K\x01\x85q\x00" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(40)) + b"t"


def test_a_key_that_holds_itself_twice_is_refused_and_never_hashed():
    with pytest.raises(NotPlain, match="a key is no plain value"):
        load(b"\x80\x02}" + TWICE + b"K\x01s.")
    with pytest.raises(NotPlain, match="a key is no plain value"):
        load(b"\x80\x02}(" + TWICE + b"K\x01u.")


@pytest.mark.parametrize("where", ["filename", "name", "line", "action", "addr"])
def test_text_that_holds_itself_twice_is_never_written_out(where, tmp_path):
    from planner.compare.snapshot.held import held

    frame = b"}(" + b"".join(
        text(k) + (b"h\x28" if k == where else text(k)) for k in ("filename", "name", "line")
    ) + b"u"  # fmt: skip
    event = b"}(" + b"".join(
        text(k) + (b"h\x28" if k == where else v)
        for k, v in {"action": text("alloc"), "addr": b"K\x05", "size": b"K\x09"}.items()
    ) + text("frames") + b"]" + frame + b"a" + b"u"  # fmt: skip
    path = tmp_path / "snapshot.pickle"
    path.write_bytes(
        b"\x80\x02}(" + text("rest") + TWICE + text("segments") + b"]"
        + text("device_traces") + b"]](" + event + b"eau."
    )  # fmt: skip
    seen = held(read_snapshot(path), path)
    assert seen.events == 1
    assert all(len(block.place) < 100 for block in seen.live)


def test_more_events_than_any_recording_has_are_refused(tmp_path, monkeypatch):
    from planner.compare.snapshot import reading

    monkeypatch.setattr(reading, "MOST_EVENTS", 9)
    path = tmp_path / "snapshot.pickle"
    path.write_bytes(pickle.dumps({"segments": [], "device_traces": [[{}] * 5, [{}] * 5]}))
    with pytest.raises(QuestionError, match="more than 9 events.*max_entries"):
        read_snapshot(path)


@pytest.mark.parametrize("place", ["/dev/zero", "pipe"])
def test_what_has_no_end_is_no_file(place, tmp_path):
    path = tmp_path / "pipe" if place == "pipe" else Path(place)
    if place == "pipe":
        os.mkfifo(path)
    with pytest.raises(QuestionError, match="is no regular file"):
        read_snapshot(path)


@pytest.mark.parametrize("data", [b"PK\x03\x04rest", b"\x1f\x8brest", b"{}", b"(dp0\n."])
def test_other_files_are_said_to_be_no_pickle(data, tmp_path):
    path = tmp_path / "snapshot.pickle"
    path.write_bytes(data)
    with pytest.raises(QuestionError, match="no pickle of protocol 2 or later"):
        read_snapshot(path)
