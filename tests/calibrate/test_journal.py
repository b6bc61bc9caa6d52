"""The journal loses nothing: cut short, damaged, killed, on a full disk, asked for twice at
once."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.calibrate import journal
from planner.calibrate.journal import Journal, journal_file, pooled, read
from planner.errors import MachineError, QuestionError


def _written(path, *records, **how):
    with Journal(path, **how) as kept:
        for record in records:
            kept.append(record)
    return path


def _host(name, value=1.0):
    return {"record": "host", "name": name, "value": value}


def _operation(key, samples, **more):
    ordered = sorted(samples)
    return {
        "record": "operation",
        "key": key,
        "seconds": ordered[len(ordered) // 2],
        "low": ordered[0],
        "high": ordered[-1],
        "samples": samples,
        "repeats": len(samples),
        "joules": None,
        **more,
    }


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(min_size=1), JSON, max_size=4), max_size=6),
    st.integers(0, 400),
)
def test_a_journal_cut_anywhere_keeps_every_whole_line_and_grows_on(
    tmp_path_factory, contents, cut
):
    path = tmp_path_factory.mktemp("j") / "a.journal.jsonl"
    records = [{**content, "record": "fact"} for content in contents]
    _written(path, *records)
    assert list(read(path).records) == records
    data = path.read_bytes()
    whole = data[:cut].count(b"\n")
    path.write_bytes(data[:cut])
    before = read(path)
    assert (
        before.damaged == 0
        and list(before.records)[:whole] == records[:whole]
        and len(before.records) <= whole + 1
    )
    _written(path, _host("next"))
    after = read(path)
    assert after.damaged == 0 and list(after.records) == [*before.records, _host("next")]


def test_damaged_lines_are_skipped_and_counted(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"record": "host"}\n{"rec\xff\xfe\n[1]\n"text"\n{"name": "no kind"}\n\n'
        + b"[" * 50_000
        + b'\n{"record": "fact"}\n'
    )
    found = read(path)
    assert [r["record"] for r in found.records] == ["host", "fact"] and found.damaged == 5
    assert read(tmp_path / "nothing.jsonl") == journal.Contents((), 0)


def test_what_is_no_number_is_written_as_unknown(tmp_path):
    path = _written(
        tmp_path / "a.jsonl", {"record": "fact", "value": float("nan"), "list": (1.5, float("inf"))}
    )
    assert read(path).records[0] == {"record": "fact", "value": None, "list": [1.5, None]}


def test_again_starts_afresh_and_keeps_the_old_one(tmp_path):
    path = _written(tmp_path / "a.journal.jsonl", _host("old"))
    for _ in range(2):  # the second time the first name is taken
        os.utime(path, (1e9, 1e9))
        with Journal(path, again=True) as kept:
            kept.append(_host("new"))
        assert [r["name"] for r in read(path).records] == ["new"] and kept.renamed.exists()
    names = sorted(read(p).records[0]["name"] for p in tmp_path.glob("*.jsonl"))
    assert names == ["new", "new", "old"]


def test_two_at_once_are_refused_in_one_line_and_nothing_is_touched(tmp_path):
    path = _written(tmp_path / "a.jsonl", _host("first"))
    script = (
        "import sys, pathlib\nfrom planner.calibrate.journal import Journal\n"
        "with Journal(pathlib.Path(sys.argv[1])):\n print('held', flush=True)\n sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(MachineError, match="another calibration") as refused,
            Journal(path, again=True),
        ):
            pass
        assert refused.value.exit_code == 3 and "\n" not in str(refused.value)
        assert read(path).records == (_host("first"),)
        holder.stdin.close()
        holder.wait(30)
    _written(path, _host("second"))
    assert len(read(path).records) == 2


def test_sigkill_loses_no_line_and_frees_the_lock(tmp_path):
    path = tmp_path / "a.jsonl"
    script = (
        "import sys, pathlib\nfrom planner.calibrate.journal import Journal\n"
        "with Journal(pathlib.Path(sys.argv[1])) as j:\n for i in range(10**9):\n  "
        "j.append({'record': 'fact', 'value': i}); print(i, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        for line in writer.stdout:
            if int(line) >= 50:
                break
        writer.send_signal(signal.SIGKILL)
    values = [r["value"] for r in read(path).records]
    assert values == list(range(len(values))) and len(values) > 50
    _written(path, _host("next"))
    assert read(path).damaged == 0 and len(read(path).records) >= len(values) + 1


def test_a_full_disk_is_one_line_and_leaves_whole_lines(tmp_path, monkeypatch):
    path, room, really = tmp_path / "a.jsonl", 100, os.write

    def full(file, data):
        nonlocal room
        taken = really(file, bytes(data)[:room]) if room else 0
        room -= taken
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return taken

    with Journal(path) as kept:
        kept.append(_host("first"))
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(MachineError, match="No space left.*--out") as refused:
            for _ in range(9):
                kept.append(_host("more"))
        monkeypatch.undo()
        kept.append(_host("last"))  # somebody made room
    assert refused.value.exit_code == 3
    names = [r["name"] for r in read(path).records]
    assert (
        names[0] == "first"
        and names[-1] == "last"
        and set(names[1:-1]) == {"more"}
        and read(path).damaged == 0
    )


def test_folders_that_cannot_be_written_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="--out"), Journal(tmp_path / "file" / "a.jsonl"):
        pass
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(QuestionError, match="folder"), Journal(tmp_path / "a.jsonl"):
        pass
    if os.getuid():  # root may write anywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(MachineError, match="--out"), Journal(tmp_path / "closed" / "a.jsonl"):
            pass


def test_pooling_takes_the_median_over_all_visits_that_agree(tmp_path):
    first, second = _operation("a", [1.0, 3.0, 9.0]), _operation("a", [3.0, 3.5])
    (one,) = pooled([first, second])
    assert (
        one["seconds"] == 3.0
        and one["samples"] == [1.0, 3.0, 3.0, 3.5, 9.0]
        and one["repeats"] == 5
        and 1 <= one["low"] < one["high"] <= 9
    )
    disturbed = _operation("a", [9.0, 9.5])
    assert pooled([first, disturbed]) == pooled([disturbed, first]) == [first]
    failed = {"record": "operation", "key": "a", "failed": "out of memory"}
    assert (
        pooled([failed, second]) == [second]
        and pooled([second, failed]) == [second]
        and pooled([failed]) == [failed]
    )


def test_pooling_says_everything_once():
    records = [
        _host("x", 1.0),
        {"record": "stage", "name": "host"},
        _host("x", 2.0),
        _host("y"),
        {"record": "trust", "what": "load 1.5", "mend": "m"},
        {"record": "trust", "what": "load 2.7", "mend": "m"},
        {
            "record": "loader",
            "modality": "text",
            "stage": "workers",
            "workers": 1,
            "samples_per_second": 5.0,
        },
        {
            "record": "loader",
            "modality": "text",
            "stage": "workers",
            "workers": 2,
            "samples_per_second": 9.0,
        },
    ]
    found = pooled(records)
    assert [r["value"] for r in found if r["record"] == "host"] == [2.0, 1.0]
    assert [r["what"] for r in found if r["record"] == "trust"] == ["load 2.7"] and sum(
        r["record"] == "loader" for r in found
    ) == 2
    assert not any(r["record"] == "stage" for r in found)


def test_the_journal_lies_beside_its_profile(tmp_path):
    assert journal_file(tmp_path / "h200.json") == tmp_path / "h200.journal.jsonl"


def test_lines_reach_the_file_at_once(tmp_path):
    path = tmp_path / "a.jsonl"
    with Journal(path) as kept:
        kept.append({"record": "fact", "at": time.time()})
        assert json.loads(path.read_text())["record"] == "fact"
