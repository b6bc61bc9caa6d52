"""The runs on this machine: they can all be asked and built, are kept and read back, and are summed
up rightly."""

import csv
import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
if not all(importlib.util.find_spec(name) for name in ("transformers", "timm", "peft")):
    pytest.skip("the model libraries are not installed", allow_module_level=True)

from benchmarks import local_kept, local_report, local_runs  # noqa: E402
from benchmarks.local_runs import (  # noqa: E402
    BASES,
    GPU_RUNS,
    PROCESSOR_RUNS,
    LocalRun,
    Predicted,
)
from planner import version  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def finished() -> list[LocalRun]:
    runs = [LocalRun(case) for case in PROCESSOR_RUNS[:3]]
    runs[0].visits, runs[1].visits, runs[2].failed = [0.9, 1.1], [2.0], "no such thing"
    runs[0].predicted = {
        "datasheet": Predicted(0.3, 0.5, 0.7),
        "calibrated": Predicted(0.8, 1.2, 1.5),
        "exact": Predicted(0.9, 0.99, 1.1),
    }
    runs[1].predicted = {
        "datasheet": Predicted(2.0, 3.0, 4.0),
        "calibrated": Predicted(refused="not calibrated"),
        "exact": Predicted(1.9, 2.02, 2.1),
    }
    return runs


@pytest.mark.parametrize("cases", [PROCESSOR_RUNS, GPU_RUNS])
def test_the_runs_cover_families_and_strategies(cases):
    assert len({c.id for c in cases}) == len(cases) >= 12
    assert {c.strategy for c in cases} >= {
        "fine_tune",
        "lora",
        "feature_extraction",
        "partial_fine_tune",
    }
    assert {c.task for c in cases} >= {
        "causal_lm",
        "text_classification",
        "seq2seq_lm",
        "image_classification",
        "audio_classification",
    }


@pytest.mark.parametrize(
    "case", [*PROCESSOR_RUNS, *GPU_RUNS], ids=lambda c: f"{c.model}-{c.strategy}-{c.precision}"
)
def test_every_run_can_be_put_to_the_planner_and_built(case, tmp_path):
    from planner.trace.recorder.regimes import build_for

    facts, recipe, sizes = local_runs.question(case, tmp_path)
    built = build_for(facts, recipe)
    batch = built.batch(sizes["micro_batch"], sizes["sequence_length"], sizes["target_length"])
    assert next(iter(batch.values())).shape[0] == case.micro_batch


@pytest.mark.slow
def test_a_run_is_measured_and_predicted(tmp_path):
    runs = local_runs.runs_for("cpu", ["table-full"])
    lines = []
    local_runs.visit(runs, "cpu", tmp_path, 0.05, lines.append)
    local_runs.visit(runs, "cpu", tmp_path, 0.05, lines.append)
    local_runs.predict(runs, "cpu", tmp_path, ("datasheet",), lines.append)
    run = runs[0]
    assert len(run.visits) == 2 and min(run.visits) <= run.measured <= max(run.visits)
    assert (
        run.predicted["datasheet"].p10
        < run.predicted["datasheet"].p50
        < run.predicted["datasheet"].p90
    )
    assert (
        run.error("datasheet") == pytest.approx(run.predicted["datasheet"].p50 / run.measured - 1)
        and len(lines) == 3
    )


def test_a_run_that_fails_is_told_and_not_visited_again(tmp_path, monkeypatch):
    from planner.errors import ModelError

    calls = []

    def fails(*args, **kwargs):
        calls.append(1)
        raise ModelError("broken")

    monkeypatch.setattr("planner.measure.real_run.measure", fails)
    runs = local_runs.runs_for("cpu", ["table-full"])
    for _ in range(2):
        local_runs.visit(runs, "cpu", tmp_path, 0.1)
    assert (
        runs[0].failed == "broken"
        and len(calls) == 1
        and "broken" in local_report.markdown(runs, {"device_name": "x", "description": "y"})
    )


def kept_of(runs, file):
    kept = local_kept.Kept(file, "cpu", "2026-01-01")
    for run in runs:
        visits, run.visits = run.visits, []
        for seconds in visits or [None]:
            kept.begin(run)
            run.visits += [seconds] if seconds else []
            kept.end(run)
    return kept


def test_measurements_are_kept_and_read_back(tmp_path):
    runs = finished()
    runs[1].peaks = {"allocated": 7, "reserved": 9}
    kept_of(runs, tmp_path / "runs.csv")
    again = [LocalRun(case) for case in PROCESSOR_RUNS[:3]]
    local_kept.read((tmp_path / "runs.csv").read_text(), again)
    assert (
        [r.visits for r in again] == [[0.9, 1.1], [2.0], []]
        and again[1].peaks == runs[1].peaks
        and again[0].peaks == {}
        and again[2].failed == "no such thing"
    )
    with pytest.raises(SystemExit, match="not a file of --keep"):
        local_kept.read("a,b\n1,2\n", again)


def test_a_file_from_before_is_still_read():
    (run,) = again = [LocalRun(PROCESSOR_RUNS[0])]
    head = ",".join(local_kept.OLDER)
    local_kept.read(f"{head}\n{run.case.id},cpu,2026-01-01,1,0.5,,,0\n", again)
    assert run.visits == [0.5] and not run.failed


def test_a_row_that_was_cut_short_is_taken_away(tmp_path):
    runs, file = finished()[:1], tmp_path / "runs.csv"
    kept = kept_of(runs, file)
    whole = file.read_bytes()
    file.write_bytes(whole + b"decoder-full,cp")
    assert local_kept.whole_bytes(file) == len(whole)
    kept.begin(runs[0])
    text = file.read_text()
    assert text.startswith(whole.decode()) and text.count("began") == 3
    local_kept.read(text, [LocalRun(PROCESSOR_RUNS[0])])


def test_a_run_that_ends_the_process_twice_is_left_out(tmp_path):
    file = tmp_path / "runs.csv"
    for times, failed in ((1, None), (2, "it ended the process 2 times")):
        (run,) = runs = [LocalRun(PROCESSOR_RUNS[0])]
        local_kept.Kept(file, "cpu", "2026-01-01").begin(run)
        local_kept.read(file.read_text(), runs)
        assert run.failed == failed, times


def test_predictions_of_this_planner_are_gone_on_with(tmp_path):
    runs = finished()
    kept = local_kept.Kept(tmp_path / "runs.csv", "cpu", "2026-01-01")
    for run in runs[:2]:
        for basis in run.predicted:
            kept.predicted(run, basis)
    again = [LocalRun(case) for case in PROCESSOR_RUNS[:3]]
    local_kept.read_predictions(kept.predictions, again, ("exact", "calibrated"))
    assert again[0].predicted == {b: runs[0].predicted[b] for b in ("calibrated", "exact")}
    assert again[1].predicted["calibrated"].refused == "not calibrated"
    other = kept.predictions.read_text().replace(version.__version__, "0.0.0")
    kept.predictions.write_text(other)
    local_kept.read_predictions(kept.predictions, [untouched := LocalRun(PROCESSOR_RUNS[0])], BASES)
    assert untouched.predicted == {}


@pytest.mark.parametrize("cases", [PROCESSOR_RUNS, GPU_RUNS])
def test_the_first_runs_are_the_most_unlike(cases):
    order = local_runs.spread_out(cases)
    assert sorted(c.id for c in order) == sorted(c.id for c in cases)
    assert order == local_runs.spread_out(cases)
    first = order[: len({c.task for c in cases}) + 2]
    assert {c.task for c in first} == {c.task for c in cases}
    assert {c.strategy for c in first} == {c.strategy for c in cases}
    given = cases[: len(first)]
    traits = [set().union(*map(local_runs._traits, some)) for some in (first, given)]
    assert len(traits[0]) > len(traits[1])


@pytest.mark.slow
def test_a_benchmark_that_is_killed_goes_on_where_it_was(tmp_path):
    """SIGKILL in the middle of a visit: what was measured is there, and only what is missing is
    measured by the next one."""
    file = tmp_path / "runs.csv"
    only = ["table-full", "encoder-frozen", "mobilenet-full"]
    command = [sys.executable, "benchmarks/accuracy.py", "--device", "cpu", "--json"]
    command += ["--seconds-per-run", "0.4", "--basis", "datasheet", "--keep", str(file)]
    command += [word for name in only for word in ("--only", name)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}

    def states():
        text = file.read_text() if file.exists() else ""
        rows = [row for row in csv.DictReader(text.splitlines()) if row["state"]]
        return [(row["run"], row["state"]) for row in rows]

    with subprocess.Popen(command, cwd=ROOT, **quiet) as process:
        while len([s for s in states() if s[1] == "began"]) < 2 and process.poll() is None:
            time.sleep(0.05)
        process.kill()
    before, lines = states(), file.read_text().splitlines()
    assert process.returncode == -signal.SIGKILL and (before[0][0], "measured") in before

    done = subprocess.run(command, cwd=ROOT, check=True, **quiet)
    after = states()
    assert file.read_text().splitlines()[: len(lines)] == lines
    measured = [name for name, state in after if state == "measured"]
    assert set(measured) == set(only)
    assert all(2 <= measured.count(name) <= 3 for name in only)
    # the one that was killed began once more than it ended; nothing else was made twice
    assert len([s for s in after if s[1] == "began"]) - len(measured) in (0, 1)
    report = json.loads(done.stdout)
    assert {run["run"] for run in report["runs"] if run["measured_seconds"]} == set(only)


def test_the_summary_is_of_what_was_compared():
    runs = finished()
    datasheet, calibrated = (local_report.summary(runs, b) for b in ("datasheet", "calibrated"))
    assert (
        datasheet["n"] == 2
        and datasheet["median_error"] == pytest.approx(0.5)
        and datasheet["covered"] == 0.5
        and datasheet["bias"] == pytest.approx(0)
    )
    assert (
        calibrated["n"] == 1
        and calibrated["worst_run"] == runs[0].case.id
        and calibrated["covered"] == 1
    )
    assert local_report.summary(runs[2:], "exact") is None
    assert runs[0].scatter == pytest.approx(0.2) and runs[1].scatter is None


def test_the_report_names_every_run_and_reason():
    runs = finished()
    text = local_report.markdown(runs, {"device_name": "a processor", "description": "8 s each"})
    for run in runs:
        assert run.case.id in text
    assert (
        "not calibrated" in text
        and "no such thing" in text
        and "-50.0 %" in text
        and "+20.0 %" in text
    )
    assert all(
        len(line.split("|")) == 14
        for line in text.splitlines()
        if line.startswith(f"| {runs[0].case.id} ") or line.startswith("| run | strategy")
    )
    written = json.loads(json.dumps(local_report.document(runs, {})))
    assert written["summary"]["exact"]["n"] == 2 and written["runs"][0]["predicted"]["exact"][
        "error"
    ] == pytest.approx(-0.01)


def test_the_users_profile_is_left_alone(tmp_path, monkeypatch):
    import os

    from planner.devices import profile
    from planner.devices.lookup import resolve_device

    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))
    key = resolve_device("cpu").spec.key
    own = profile.DeviceProfile(
        device={"name": "x", "kind": "cpu", "cores": 1}, provenance={}, curves={}, exact={"ab": 1.0}
    )
    profile.save(own, tmp_path / f"{key}.json")
    with local_runs.own_profiles("cpu", None):
        inside = profile.user_folder()
        assert inside != tmp_path and profile.load(inside / f"{key}.json").exact == {}
    assert (
        os.environ["PLANNER_DEVICES"] == str(tmp_path)
        and profile.load(tmp_path / f"{key}.json").exact == {"ab": 1.0}
        and not inside.exists()
    )


def test_two_visits_that_disagree_ask_for_a_third_which_decides():
    run = LocalRun(PROCESSOR_RUNS[0], visits=[1.0, 1.05])
    assert not run.scattered
    run.visits = [1.0, 9.0]
    assert run.scattered
    run.visits.append(1.1)
    assert run.measured == 1.1


def test_doubts_stand_in_the_report():
    text = local_report.markdown(
        finished(),
        {
            "device_name": "x",
            "description": "y",
            "doubts": {"first visits": ["others took 30 %. Stop them"]},
        },
    )
    assert "- first visits: others took 30 %. Stop them" in text


def test_an_unknown_run_is_refused():
    with pytest.raises(SystemExit, match="no run nothing"):
        local_runs.runs_for("cpu", ["nothing"])
