"""The ledger keeps what it took: whole runs, for good, from several processes, and it says when
something is wrong."""

import dataclasses
import datetime
import math
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import MachineError, ProfileError, QuestionError
from planner.ledger import database as layouts
from planner.ledger.record import RunRecord, step_error
from planner.ledger.store import Ledger, default_path
from planner.ledger.values import plain


def run_of(number: int = 0, **changes) -> RunRecord:
    given = {
        "kind": "recorded",
        "source": "a test",
        "setup": {
            "model": "gpt2",
            "gpu": "NVIDIA T4",
            "strategy": "lora",
            "micro_batch": number + 1,
        },
        "measurement": {"step_seconds": 0.25, "peak_allocated_bytes": 10**9},
    } | changes
    return RunRecord.new(**given)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "runs.sqlite"


# ---------------------------------------------------------------- records


def test_what_goes_in_comes_out(path):
    run = run_of(
        3,
        question={"model": "gpt2", "samples": 5},
        estimate={"basis": "datasheet", "step_seconds": {"p10": 0.2, "p50": 0.3, "p90": 0.4}},
        versions={"torch": "2.13"},
        machine={"cores": 2},
        notes=("one", "zwei: ü"),
    )
    with Ledger(path) as ledger:
        ledger.append(run)
    with Ledger(path, create=False) as again:
        assert list(again.records()) == [run] and len(again) == 1
    assert step_error(run) == pytest.approx(0.2)
    assert (
        step_error(run_of()) is None
        and step_error(run_of(measurement={}, estimate=run.estimate)) is None
    )


def test_numbers_of_numpy_become_plain():
    import numpy as np

    run = run_of(
        measurement={
            "step_seconds": np.float32(0.5),
            "tokens": np.int64(7),
            "out_of_memory": np.bool_(True),
            "step_samples": (np.float64(1.5),),
        }
    )
    assert run.measurement == {
        "step_seconds": 0.5,
        "tokens": 7,
        "out_of_memory": True,
        "step_samples": [1.5],
    }
    assert RunRecord.from_json(run.to_json()) == run


def test_a_diverged_run_is_kept_and_said():
    run = run_of(measurement={"step_seconds": 1.0, "loss_first": 2.5, "loss_last": math.nan})
    assert run.measurement["loss_last"] is None and run.measurement["loss_first"] == 2.5
    assert "loss_last was not finite" in run.notes


WRONG = [
    ({"kind": "mesured"}, "Did you mean measured"),
    ({"source": " "}, "source is missing"),
    ({"id": "1"}, "32 hexadecimal"),
    ({"created": "yesterday"}, "not a moment"),
    ({"created": "2026-01-01T00:00:00"}, "time zone"),
    ({"setup": []}, "setup is not a mapping"),
    ({"setup": {"strategy": "lorra"}}, "not a strategy"),
    ({"setup": {"micro_batch": 0}}, "setup.micro_batch: '0' is not a whole number of at least 1"),
    ({"setup": {"compile": 1}}, "true or false"),
    ({"setup": {"=cmd": 1}}, "is not a name"),
    ({"setup": {"x": object()}}, "cannot be kept"),
    ({"measurement": {"step_seconds": 0.0}}, "above 0"),
    ({"measurement": {"step_seconds": math.inf}}, "not a finite number"),
    ({"measurement": {"wall_seconds": -1}}, "above 0"),
    ({"measurement": {"tokens": 10**400}}, "not a finite number"),
    ({"measurement": {"tokens": 1.5}}, "whole number"),
    ({"measurement": {"step_samples": [1.0, 0.0]}}, "list of finite"),
    ({"measurement": {"step_seconds_p10": 2.0, "step_seconds_p90": 1.0}}, "above step_seconds_p90"),
    ({"machine": None}, "machine is not a mapping"),
    ({"estimate": {"usd": {"p50": math.nan}}}, "estimate.usd.p50"),
]


@pytest.mark.parametrize("changes, said", WRONG)
def test_a_wrong_record_is_refused_in_one_line(changes, said):
    with pytest.raises(ProfileError) as caught:
        run_of(**changes)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "{}",
        "{",
        "[" * 100_000,
        '{"id": 1e999}',
        "1" * 5000,
        '{"id":"'
        + "a" * 32
        + '","created":"2026-01-01T00:00:00Z","kind":"measured","source":"x","setup":{},'
        + '"measurement":{},"z":1}',
    ],
)
def test_what_is_not_a_record_is_refused(text):
    with pytest.raises(ProfileError):
        RunRecord.from_json(text)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(max_size=8), _VALUES, max_size=4),
    st.lists(st.text(max_size=10), max_size=3),
)
def test_any_json_survives_the_way_through_text(machine, notes):
    run = run_of(machine=machine, notes=tuple(notes))
    assert RunRecord.from_json(run.to_json()) == run
    assert plain(run.machine, "x") == run.machine


def test_times_are_kept_in_utc():
    run = dataclasses.replace(run_of(), created="2026-03-01T01:30:00+02:00")
    assert run.created == "2026-02-28T23:30:00.000+00:00"


# ---------------------------------------------------------------- the file


def test_runs_are_found_by_what_is_asked(path):
    runs = [
        dataclasses.replace(
            run_of(i, kind=kind, setup={"model": model, "gpu": gpu, "strategy": strategy}),
            created=f"2026-01-0{i + 1}T12:00:00+00:00",
        )
        for i, (kind, model, gpu, strategy) in enumerate(
            [
                ("measured", "gpt2", "NVIDIA T4", "lora"),
                ("recorded", "Llama-3.2-1B", "NVIDIA H100", "lora"),
                ("imported", "llama-7b", None, "fine_tune"),
            ]
        )
    ]
    with Ledger(path) as ledger:
        for run in reversed(runs):
            ledger.append(run)
        assert list(ledger.records()) == runs
        assert list(ledger.records(newest_first=True, limit=2)) == runs[:0:-1]
        assert (
            list(ledger.records(model="LLAMA")) == runs[1:]
            and list(ledger.records(gpu="t4")) == runs[:1]
        )
        assert (
            list(ledger.records(strategy="fine-tune")) == runs[2:]
            and list(ledger.records(kind="measured")) == runs[:1]
        )
        assert list(ledger.records(since="2026-01-02")) == runs[1:]
        assert list(ledger.records(since=datetime.date(2026, 1, 3))) == runs[2:]
        assert list(ledger.records(since="2026-01-02T13:00+01:00", strategy="lora")) == runs[1:2]
        assert list(ledger.records(id=runs[1].id[:9].upper())) == [runs[1]]
        assert list(ledger.records(model="%")) == []


@pytest.mark.parametrize(
    "filters, said",
    [
        ({"since": "soon"}, "not a date"),
        ({"strategy": "lorra"}, "Did you mean lora"),
        ({"kind": "x"}, "Known:"),
        ({"id": "%"}, "hexadecimal"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(path, filters, said):
    with Ledger(path) as ledger, pytest.raises(QuestionError, match=said):
        list(ledger.records(**filters))


def test_a_run_is_never_changed_nor_deleted_nor_written_twice(path):
    run = run_of()
    with Ledger(path) as ledger:
        ledger.append(run)
        with pytest.raises(ProfileError, match="there already"):
            ledger.append(run)
    with sqlite3.connect(path) as database:
        for statement in (
            "UPDATE runs SET kind = 'imported'",
            "DELETE FROM runs",
            "INSERT OR REPLACE INTO runs SELECT * FROM runs",
            "REPLACE INTO runs SELECT seq, 'b', created, kind, model, gpu, strategy, digest, "
            "record FROM runs",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                database.execute(statement)
    with Ledger(path) as ledger:
        assert list(ledger.records()) == [run]


def test_merging_takes_each_run_once_and_leaves_the_other_file_alone(path, tmp_path):
    mine, shared, theirs = run_of(0), run_of(1), run_of(2)
    other = tmp_path / "colleague's ?# ledger.sqlite"
    for place, runs in ((path, (mine, shared)), (other, (shared, theirs))):
        with Ledger(place) as ledger:
            for run in runs:
                ledger.append(run)
    before = other.read_bytes()
    with Ledger(path) as ledger:
        assert ledger.merge(other) == (1, 1) and ledger.merge(other) == (0, 2)
        assert {run.id for run in ledger.records()} == {mine.id, shared.id, theirs.id}
        with pytest.raises(QuestionError, match="itself"):
            ledger.merge(path)
    assert other.read_bytes() == before and [
        f.name for f in tmp_path.iterdir() if f.name.startswith("coll")
    ] == [other.name]


def test_the_default_place(monkeypatch, tmp_path):
    monkeypatch.setenv("PLANNER_LEDGER", str(tmp_path / "mine.sqlite"))
    assert default_path() == tmp_path / "mine.sqlite"
    monkeypatch.delenv("PLANNER_LEDGER")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_path() == tmp_path / "planner" / "runs.sqlite"


def test_files_that_are_no_ledger_are_refused(path, tmp_path):
    with pytest.raises(ProfileError, match="there is no ledger"):
        Ledger(path, create=False)
    with pytest.raises(ProfileError, match="folder"):
        Ledger(tmp_path)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE t (x)")
    with pytest.raises(ProfileError, match="another program"):
        Ledger(other)
    text = tmp_path / "text.sqlite"
    text.write_text("not a database " * 100)
    with pytest.raises(ProfileError, match="planner runs rescue"):
        Ledger(text)
    with pytest.raises(MachineError, match="PLANNER_LEDGER"):
        Ledger("/proc/none/runs.sqlite")


def test_a_newer_planners_ledger_is_refused(path):
    Ledger(path).close()
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {layouts.LAYOUT + 1}")
    with pytest.raises(ProfileError, match="newer planner") as caught:
        Ledger(path)
    assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written_is_said_and_still_read(tmp_path):
    """In a process without root's rights, as root is refused nothing."""
    folder = Path(tempfile.mkdtemp())  # not tmp_path: its parents are closed to others
    path, run = folder / "runs.sqlite", run_of()
    try:
        with Ledger(path) as ledger:
            ledger.append(run)
        path.chmod(0o444)
        folder.chmod(0o555)
        child = os.fork()
        if child == 0:
            os._exit(_as_nobody(path, run))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def _as_nobody(path, run) -> int:
    try:
        if os.getuid() == 0:
            os.setuid(65534)
        with Ledger(path, create=False) as ledger:
            if list(ledger.records()) != [run]:
                return 2
            with pytest.raises(MachineError, match="cannot be written") as caught:
                ledger.append(run_of())
        with pytest.raises(MachineError, match="cannot be"):
            Ledger(path.parent / "deeper" / "new.sqlite")
        return 0 if caught.value.exit_code == 3 else 3
    except BaseException:
        return 1
