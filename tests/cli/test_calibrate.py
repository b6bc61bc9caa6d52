"""``planner calibrate`` from flags to exit code, with a device of the test's own and the real
fitting."""

import json
import sys
import tempfile
import types
from pathlib import Path

import pytest

from planner.calibrate import session
from planner.calibrate.session import recording
from planner.cli import main
from planner.devices import profile
from planner.errors import MachineError

sys.path.insert(0, str(Path(__file__).parents[1] / "calibrate"))
from session_fakes import Backend, Timing, World  # noqa: E402


@pytest.fixture
def planner(capsys, monkeypatch, tmp_path):
    """Run ``planner calibrate`` on a fake device: (code, stdout, stderr). ``world`` and ``backend``
    may be replaced."""
    from planner.calibrate.fitting import profile_from

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path / "own"))
    box = types.SimpleNamespace(world=World(30), backend=Backend(), asked=[])

    def backend(name=None, index=0):
        box.asked.append((name, index))
        return box.backend

    def measure(backend, path, plan, **more):
        monkeypatch.setattr(recording, "time", box.world.clock())
        return session_measure(
            backend, path, _replaced(plan, box.world.now), using=box.world.tools(), **more
        )

    session_measure = session.measure
    box.world.fit = profile_from
    monkeypatch.setitem(
        sys.modules, "planner.calibrate.operations.backends", types.SimpleNamespace(backend=backend)
    )
    monkeypatch.setattr(session, "measure", measure)

    def call(*arguments):
        code = main.run(["calibrate", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    call.box = box
    return call


def _replaced(plan, now):
    import dataclasses

    return dataclasses.replace(plan, started=now)


def test_a_calibration_says_what_was_measured_and_how_to_use_it(planner, tmp_path):
    code, out, err = planner("--seconds", "15")
    file = tmp_path / "own" / "fake-9000.json"
    assert code == 0 and "Measuring Fake 9000" in err
    for said in (
        "30 timings",
        "elementwise",
        "an operation, forward",
        "another process uses the device. Stop it",
        str(file),
        "--gpu local",
    ):
        assert said in " ".join(out.split()) or said in out.replace("\n", ""), said
    assert profile.load(file).cases == 30


def test_json_is_one_document_and_quiet_one_line(planner, tmp_path):
    code, out, err = planner("--json", "--quiet", "--out", tmp_path / "mine.json")
    document = json.loads(out)
    assert (
        (code, err) == (0, "")
        and document["run"]["measured"] == 30
        and document["file"] == str(tmp_path / "mine.json")
    )
    assert (
        document["kinds"][0]["kind"] == "elementwise"
        and document["doubts"]
        and document["run"]["stopped"] is None
    )
    code, out, err = planner("--quiet", "--out", tmp_path / "mine.json")
    assert (code, out, err) == (0, f"{tmp_path / 'mine.json'}\n", "")


def test_a_profile_elsewhere_is_used_by_its_file(planner, tmp_path):
    _, out, _ = planner("--out", tmp_path / "mine.json")
    assert f"--gpu {tmp_path / 'mine.json'}" in out.replace("\n", "")


@pytest.mark.parametrize(
    "asked, reaches",
    [([], (None, 0)), (["--device", "cuda:1"], ("cuda", 1)), (["--device", "cpu"], ("cpu", 0))],
)
def test_the_device_asked_for_is_measured(planner, asked, reaches):
    assert planner("-q", *asked)[0] == 0 and planner.box.asked == [reaches]


def test_no_gpu_is_a_normal_case(planner):
    planner.box.backend.kind = "cpu"
    code, _, err = planner()
    assert code == 0 and "No GPU here: measuring the processor" in err


def test_ctrl_c_keeps_what_was_measured_and_leaves_with_130(planner, tmp_path):
    def behaviour(one):
        if one.sizes[0] == 1024 * 8:
            raise KeyboardInterrupt
        return Timing(1e-3, 1e-3, 1e-3, (1e-3,))

    planner.box.world.behaviour = behaviour
    code, out, err = planner("--json")
    assert (
        code == 130
        and json.loads(out)["run"]["stopped"] == "interrupted"
        and "running it again goes on" in err
    )
    assert profile.load(tmp_path / "own" / "fake-9000.json").cases == 7
    planner.box.world.behaviour = lambda _: Timing(1e-3, 1e-3, 1e-3, (1e-3,))
    code, out, _ = planner()
    assert code == 0 and "7 were known" in " ".join(out.split())


def test_a_dead_device_leaves_with_3_and_one_line(planner):
    def behaviour(one):
        if one.sizes[0] == 1024 * 8:
            raise MachineError("the device stopped answering: launch failure")
        return Timing(1e-3, 1e-3, 1e-3, (1e-3,))

    planner.box.world.behaviour = behaviour
    code, _, err = planner("-q")
    assert code == 3 and err.count("\n") == 1 and "stopped answering" in err


WRONG = [
    (["--seconds", "0"], "--seconds"),
    (["--seconds", "nan"], "--seconds"),
    (["--seconds", "many"], "not a valid float"),
    (["--gpu", "h100"], "--device"),
    (["--from", "x.csv", "--device", "cpu"], "--from measures nothing"),
    (["--from", "nothere.csv"], "nothere.csv"),
    (["--data", "nothere"], "no such file"),
    (["--image-size", "224"], "--data"),
    (["--out", "profile.txt"], ".json"),
    (["--device", "cuda:x"], "cuda:1"),
    (["--devise", "cpu"], "--device"),
]


@pytest.mark.parametrize("arguments, says", WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_wrong_questions_are_one_line_and_measure_nothing(planner, arguments, says):
    code, out, err = planner(*arguments)
    assert (
        code == 2
        and out == ""
        and says.lower() in err.lower()
        and err.count("\n") == 1
        and not planner.box.world.timed
    )


def test_folders_that_cannot_be_written_are_one_line(planner, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = planner("--out", tmp_path / "file" / "x.json", "-q")
    assert (
        code == 3
        and out == ""
        and err.count("\n") == 1
        and "--out" in err
        and not planner.box.world.timed
    )


TABLE = (
    "status,op,direction,dtype,shape,device_us_median,device_us_p10,device_us_p90,host_us_median,repeats,device,torch\n"
    + "".join(
        f'ok,linear,forward,bf16,"{{""m"": {m}, ""n"": 1024, ""k"": '
        f'1024}}",{m / 40},{m / 41},{m / 39},3.0,20,NVIDIA H200,2.11.0\n'
        for m in (64, 256, 1024, 4096, 8192)
    )
)


def test_a_table_from_another_machine_becomes_a_profile(planner, tmp_path):
    table = tmp_path / "ops.csv"
    table.write_text(TABLE)
    code, out, err = planner("--from", table, "--gpu", "h200-sxm")
    saved = profile.load(tmp_path / "own" / "h200-sxm.json")
    assert (
        code == 0
        and "--gpu h200-sxm" in out.replace("\n", "")
        and "matmul" in out
        and "ops.csv" in out
    )
    assert (
        saved.cases == 5 and saved.provenance["torch"] == "2.11.0" and not planner.box.world.timed
    )
    (tmp_path / "own" / "h200-sxm.journal.jsonl").write_text("")
    code, _, err = planner("--from", table)
    assert code == 2 and "--out" in err


def test_data_is_timed_first_and_a_data_error_costs_no_minute(planner, tmp_path, monkeypatch):
    from planner.errors import DataError

    given = []

    def measure_loader(path, *, seconds, **how):
        given.append((path, seconds, how))
        yield {"record": "trust", "what": "timed the loader", "mend": ""}
        if path.name == "bad":
            raise DataError("no readable sample", where=str(path))

    monkeypatch.setitem(
        sys.modules,
        "planner.datasets.loader.measure",
        types.SimpleNamespace(measure_loader=measure_loader),
    )
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    code, out, _ = planner("--data", tmp_path / "good", "--image-size", "96", "--json")
    assert code == 0 and given[0][2]["image_size"] == 96 and given[0][1] > 1
    assert "timed the loader" in [d["what"] for d in json.loads(out)["doubts"]]
    planner.box.world.timed.clear()
    code, out, err = planner("--data", tmp_path / "bad", "--again", "-q")
    assert code == 2 and "no readable sample" in err and not planner.box.world.timed


#: Whatever else runs on this machine: what a test finds must not depend on it.
_AS_IF_QUIET = """
import sys
from planner.calibrate.operations.reference import Reference
Reference.__call__ = lambda self, part: {"mean": 1.1e-3, "least": 1e-3, "clock_mhz": None}
from planner.cli import main
sys.exit(main.run(sys.argv[1:]))
"""


@pytest.mark.slow
def test_the_real_processor_is_measured_and_ctrl_c_keeps_it(tmp_path):
    """The whole of it, in a process of its own: real operations, a real signal, and a run after it
    that goes on."""
    import os
    import signal
    import subprocess
    import time

    from planner.calibrate import journal

    file = tmp_path / "here.json"
    command = [
        sys.executable,
        "-c",
        _AS_IF_QUIET,
        "calibrate",
        "--device",
        "cpu",
        "--out",
        str(file),
        "--json",
    ]
    how = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "env": {**os.environ, "TMPDIR": str(tmp_path)},
        # a shell's background jobs ignore it
        "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    }

    def timed():
        return sum(
            r["record"] == "operation" and r.get("seconds", 0) > 0
            for r in journal.read(journal.journal_file(file)).records
        )

    with subprocess.Popen([*command, "--seconds", "600"], **how) as process:
        while timed() < 3 and process.poll() is None:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert json.loads(out)["run"]["stopped"] == "interrupted" and "Traceback" not in err
    before = profile.load(file)
    assert len(before.exact) == timed() >= 3
    done = subprocess.run([*command, "--seconds", "5"], **how)
    assert done.returncode == 0 and json.loads(done.stdout)["run"]["remembered"] == len(
        before.exact
    ), done.stderr
    assert set(before.exact) <= set(profile.load(file).exact)


@pytest.mark.gpu
def test_a_gpu_is_measured_for_15_seconds(tmp_path):
    import os
    import subprocess

    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    command = [
        sys.executable,
        "-m",
        "planner.cli.main",
        "calibrate",
        "--device",
        "cuda",
        "--seconds",
        "15",
        "--json",
        "--out",
        str(tmp_path / "gpu.json"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert {"matmul", "attention", "elementwise", "normalization"} <= {
        one["kind"] for one in record["kinds"]
    }
    assert (
        record["host_seconds"]["forward_seconds"] > 0
        and record["kind"] == "cuda"
        and record["run"]["measured"] > 50
    )
