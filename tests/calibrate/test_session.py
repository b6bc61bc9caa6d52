"""A calibration keeps its budget, and whatever ends it early keeps what was measured."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from session_fakes import Backend, CannotRun, Timing, World

from planner.calibrate import journal, session
from planner.calibrate.session import Plan, measure, recording
from planner.devices import profile
from planner.devices.processors import processor_spec
from planner.errors import MachineError, QuestionError


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Calibrate a fake device into a folder of the test: the outcome. Locks stay in that folder
    too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    def call(world, *, backend=None, path=None, seconds=10.0, **plan):
        monkeypatch.setattr(recording, "time", world.clock())
        return measure(
            backend or Backend(),
            path or tmp_path / "fake.json",
            Plan(seconds=seconds, started=world.now, **plan),
            using=world.tools(),
        )

    return call


def _kinds(path):
    return [r["record"] for r in journal.read(path).records]


def test_a_run_writes_a_profile_from_everything_it_measured(run, tmp_path):
    world = World()
    done = run(world)
    saved = profile.load(done.path)
    assert (done.measured, done.left, done.failed, done.stopped, done.exit_code) == (
        40,
        0,
        0,
        None,
        0,
    )
    measured = {"operations": 40, "context_bytes": 3e8, "import_seconds.loop": 3.0}
    assert saved.facts == measured and saved.host == {"forward_seconds": 5e-6}
    assert saved.doubts == (("another process uses the device", "Stop it"),)
    first = journal.read(done.journal).records[0]
    assert (
        first["record"] == "session"
        and first["device"]["name"] == "Fake 9000"
        and first["python"]
        and first["planner"]
    )
    operation = next(r for r in journal.read(done.journal).records if r["record"] == "operation")
    assert (
        operation["watts"] == 250.0
        and operation["key"] == world.cases[0].key
        and operation["case"]["op"] == "aten.add.Tensor"
    )
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("seconds", [5, 15, 60, 300])
@pytest.mark.parametrize("cases, case_seconds", [(4000, None), (4000, 0.5), (300, None), (30, 0.9)])
def test_the_budget_is_kept(run, seconds, cases, case_seconds):
    world = World(cases, case_seconds=case_seconds, host_seconds=99)
    start = world.now
    run(world, seconds=seconds)
    assert world.now - start <= 1.1 * seconds + 0.5


def test_most_telling_cases_come_first_and_operations_before_host_costs(run):
    world = World(500)
    done = run(world, seconds=15)
    assert (
        world.timed == [one.key for one in world.cases[: len(world.timed)]]
        and done.left == 500 - done.measured > 0
    )
    kinds = _kinds(done.journal)
    assert 10 < kinds.index("host") < 300 and "fact" in kinds[kinds.index("host") :]


def test_a_second_run_goes_on_where_the_first_ended(run):
    world = World(500)
    first = run(world, seconds=10)
    second = run(world, seconds=10)
    assert (
        second.remembered == first.measured
        and len(world.timed) == len(set(world.timed)) == first.measured + second.measured
    )
    assert _kinds(second.journal).count("host") == 1  # measured once
    assert profile.load(second.path).facts["operations"] == first.measured + second.measured


def test_host_costs_are_measured_again_by_a_run_with_more_time_for_them(run):
    world = World(2000)
    run(world, seconds=10)
    assert _kinds(run(world, seconds=10).journal).count("host") == 1
    assert _kinds(run(world, seconds=60).journal).count("host") == 2


def test_starting_a_script_is_measured_once(run):
    world = World(2000)
    for _ in range(2):
        done = run(world, seconds=20)
    assert profile.load(done.path).facts["import_seconds.loop"] == 3.0
    records = journal.read(done.journal).records
    assert sum(r.get("name") == "import_seconds.loop" for r in records) == 1


def test_what_compiling_saves_is_measured_once_when_asked(run):
    world = World(2000)
    assert "compile_host_share" not in profile.load(run(world).path).facts
    for _ in range(2):
        done = run(world, seconds=20, compiled=True)
    assert profile.load(done.path).facts["compile_host_share"] == 0.4
    assert (
        sum(r.get("name") == "compile_host_share" for r in journal.read(done.journal).records) == 1
    )


def test_again_measures_everything_again_and_keeps_the_old_journal(run, tmp_path):
    world = World(20)
    run(world)
    done = run(world, again=True)
    assert (
        done.remembered == 0
        and world.timed[:20] == world.timed[20:40]
        and any("is kept as" in note for note in done.notes)
    )
    assert len(list(tmp_path.glob("fake.journal*.jsonl"))) == 2


def test_other_libraries_are_another_device(run):
    world = World(20)
    run(world, backend=Backend(torch="2.6.0"))
    done = run(world)
    assert (
        done.remembered == 0
        and done.measured == 20
        and any("20 operations" in note for note in done.notes)
    )
    assert (
        profile.load(done.path).facts["operations"] == 20
        and _kinds(done.journal).count("operation") == 40
    )


def test_a_disturbed_operation_is_timed_again_and_forgotten(run):
    from planner.calibrate.fitting import profile_from

    world, disturbed = World(40), 1024 * 20

    def behaviour(one):
        seconds = 1e-6 + one.sizes[0] * 1e-11
        seconds *= 30 if one.sizes[0] == disturbed and world.timed.count(one.key) == 1 else 1
        return Timing(seconds, seconds, seconds, (seconds,) * 5)

    def fit(records, search=True):
        world.now += 0.2
        return profile_from(records, search)

    world.behaviour, world.fit = behaviour, fit
    saved = profile.load(run(world, seconds=15).path)
    twice = {key for key in world.timed if world.timed.count(key) > 1}
    assert twice == {one.key for one in world.cases if one.sizes[0] == disturbed}
    (curve,) = saved.curves.values()
    assert curve.error.p95 < 0.1 and max(p.seconds for p in curve.points) < 2e-6


def test_time_left_over_goes_to_what_scatters(run):
    def behaviour(one):
        wide = 3e-3 if one.sizes == (2048,) else 1.01e-3
        return Timing(1e-3, 1e-3, wide, (1e-3, 1e-3, wide))

    world = World(10, behaviour)
    done = run(world, seconds=60)
    again = {key for key in world.timed if world.timed.count(key) > 1}
    assert again == {one.key for one in world.cases if one.sizes == (2048,)} and done.measured > 10


def test_failed_operations_are_recorded_and_tried_last_next_time(run):
    def behaviour(one):
        if one.sizes[0] <= 2048:
            raise CannotRun("out of memory")
        return Timing(1e-3, 1e-3, 1e-3, (1e-3,))

    world = World(30, behaviour)
    done = run(world)
    assert done.failed == 2 and done.measured == 28 and done.stopped is None
    assert [r["failed"] for r in journal.read(done.journal).records if "failed" in r] == [
        "out of memory"
    ] * 2
    world.timed.clear()
    assert run(world).failed == 2 and len(world.timed) == 2


@pytest.mark.parametrize(
    "error, code, says",
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("CUDA error: launch failure"), 3, "stopped answering"),
    ],
)
def test_an_early_end_keeps_what_was_measured(run, error, code, says):
    backend = Backend()

    def behaviour(one):
        if one.sizes[0] == 1024 * 8:
            backend.alive = isinstance(error, KeyboardInterrupt)
            raise error
        return Timing(1e-3, 1e-3, 1e-3, (1e-3,))

    done = run(World(30, behaviour), backend=backend)
    assert done.exit_code == code and says in done.stopped and "\n" not in done.stopped
    assert profile.load(done.path).facts["operations"] == 7 == done.measured
    done = run(World(30))
    assert done.remembered == 7 and done.measured == 23 and done.exit_code == 0


def test_an_error_on_a_living_device_is_a_failed_operation(run):
    def behaviour(one):
        if one.sizes[0] == 1024 * 8:
            raise RuntimeError("CUDNN_STATUS_NOT_SUPPORTED\nsecond line")
        return Timing(1e-3, 1e-3, 1e-3, (1e-3,))

    done = run(World(30, behaviour))
    assert (done.measured, done.failed, done.exit_code) == (29, 1, 0)

    def broken(_one):
        raise RuntimeError("libcublas is missing")

    with pytest.raises(MachineError, match="20 operations in a row failed.*libcublas"):
        run(World(30, broken), again=True)


def test_host_costs_that_fail_are_a_doubt(run):
    world = World(10)

    def host(_backend, *, budget_seconds):
        yield {"record": "host", "name": "forward_seconds", "value": 5e-6}
        raise RuntimeError("no such thing")

    world.host = host
    saved = profile.load(run(world).path)
    assert saved.host == {"forward_seconds": 5e-6} and any(
        "no such thing" in what for what, _ in saved.doubts
    )


def test_interrupted_before_anything_was_measured(run):
    def behaviour(_one):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(World(5, behaviour))


def test_sigterm_ends_it_like_ctrl_c(run):
    def behaviour(one):
        if one.sizes[0] == 1024 * 8:
            os.kill(os.getpid(), signal.SIGTERM)
        return Timing(1e-3, 1e-3, 1e-3, (1e-3,))

    before = signal.getsignal(signal.SIGTERM)
    done = run(World(30, behaviour))
    assert (
        done.exit_code == 128 + signal.SIGTERM
        and done.stopped == "terminated"
        and profile.load(done.path).facts["operations"] >= 7
    )
    assert signal.getsignal(signal.SIGTERM) == before


def test_profiles_are_written_on_the_way(run):
    world = World(4000)
    seen = []

    def behaviour(one):
        seen.append(list(Path(tempfile.gettempdir()).parent.glob("fake.json")) != [])
        return Timing(1e-3, 1e-3, 1e-3, (1e-3,))

    world.behaviour = behaviour
    run(world, seconds=60)
    assert seen.index(True) < len(seen) / 2 and 3 <= world.fits <= 6


def test_a_disk_that_fills_up_saves_elsewhere_and_loses_nothing(run, tmp_path, monkeypatch):
    append, written = journal.Journal.append, 0

    def full(self, record):
        nonlocal written
        written += 1
        if written > 20 and self.path.parent == tmp_path:
            raise MachineError(
                "the journal cannot be written: No space left on device", where=str(self.path)
            )
        append(self, record)

    save = profile.save
    monkeypatch.setattr(journal.Journal, "append", full)
    monkeypatch.setattr(
        profile,
        "save",
        lambda what, file: save(what, file) if Path(file).parent != tmp_path else _refuse(file),
    )
    done = run(World(500))
    assert (
        done.exit_code == 3
        and "No space left" in done.stopped
        and done.path.parent.parent == tmp_path / "temporary"
    )
    assert (
        profile.load(done.path).facts["operations"]
        == done.measured
        == _kinds(done.journal).count("operation")
    )


def _refuse(file):
    raise MachineError("cannot write the device profile: No space left on device", where=str(file))


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_measured(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    world = World(5)
    with pytest.raises(MachineError, match="--out"):
        run(world, path=tmp_path / "file" / "fake.json")
    assert world.timed == []


def test_two_at_once_on_one_device_wherever_they_write(run, tmp_path):
    def behaviour(_one):
        with pytest.raises(MachineError, match="another calibration of fake:0 is running"):
            run(World(3), path=tmp_path / "other" / "fake.json")
        return Timing(1e-3, 1e-3, 1e-3, (1e-3,))

    assert run(World(2, behaviour)).measured == 2


@pytest.mark.parametrize(
    "content",
    ["{", "mine, not yours", json.dumps({profile.MARK: profile.FORMAT + 1, "device": {}})],
)
def test_what_cannot_be_read_is_never_written_over(run, tmp_path, content):
    (tmp_path / "fake.json").write_text(content)
    done = run(World(5))
    assert profile.load(done.path).facts["operations"] == 5
    assert [file.read_text() for file in tmp_path.glob("fake.json.unread*")] == [content] and any(
        "unread" in note for note in done.notes
    )


def test_exactly_timed_operations_are_remembered(run):
    done = run(World(5))
    profile.save(profile.load(done.path).remembering({"k": 1e-3}), done.path)
    assert profile.load(run(World(8)).path).exact == {"k": 1e-3}
    assert profile.load(run(World(8), again=True).path).exact == {}


@pytest.mark.parametrize(
    "facts, key",
    [
        ({"kind": "cpu", "name": "whatever torch says"}, processor_spec().key),
        ({"kind": "cuda", "name": "NVIDIA H200"}, "h200-sxm"),
        ({"kind": "cuda", "name": "NVIDIA X1"}, "nvidia-x1"),
        ({"kind": "cuda", "name": "NVIDIA H200", "mig": "1g.18gb"}, "h200-sxm-1g-18gb"),
    ],
)
def test_a_profile_lies_where_the_planner_looks_for_it(tmp_path, facts, key):
    backend = Backend()
    backend.facts = lambda: facts
    assert session.place(backend, tmp_path) == tmp_path / f"{key}.json"


@pytest.mark.parametrize("seconds", [0, -1, 1, float("nan"), float("inf")])
def test_no_time_to_measure_in(seconds):
    with pytest.raises(QuestionError, match="--seconds"):
        Plan(seconds=seconds)


def test_sigkill_half_way_leaves_a_journal_that_the_next_run_goes_on_from(run, tmp_path):
    script = (
        "import sys, tempfile, pathlib\nfrom session_fakes import *\nfrom "
        "planner.calibrate.session import Plan, measure\n"
        "tempfile.tempdir = sys.argv[2]\nworld = World(100000, case_seconds=1e-9)\nseen = "
        "world.behaviour\n"
        "def behaviour(one):\n print('.', flush=True)\n return seen(one)\nworld.behaviour = "
        "behaviour\n"
        "measure(Backend(), pathlib.Path(sys.argv[1]), Plan(seconds=500), using=world.tools())"
    )
    command = [
        sys.executable,
        "-c",
        script,
        str(tmp_path / "fake.json"),
        str(tmp_path / "temporary"),
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as half:
        for _ in range(50):
            assert half.stdout.readline() == b".\n"
        half.kill()
        half.stdout.read()
    done = run(World(200))
    assert (
        done.remembered >= 49
        and done.measured + done.remembered >= 200
        and profile.load(done.path).facts["operations"] >= 200
    )
