"""The runs on this machine: they can all be asked and built, are kept and read back, and are summed
up rightly."""

import importlib.util
import json

import pytest

pytest.importorskip("torch")
if not all(importlib.util.find_spec(name) for name in ("transformers", "timm", "peft")):
    pytest.skip("the model libraries are not installed", allow_module_level=True)

from benchmarks import local_report, local_runs  # noqa: E402
from benchmarks.local_runs import GPU_RUNS, PROCESSOR_RUNS, LocalRun, Predicted  # noqa: E402


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


def test_measurements_are_kept_and_read_back():
    runs = finished()
    runs[1].peaks = {"allocated": 7, "reserved": 9}
    text = local_runs.to_csv(runs, "cpu", "2026-01-01")
    again = [LocalRun(case) for case in PROCESSOR_RUNS[:3]]
    local_runs.read_csv(text, again)
    assert (
        [r.visits for r in again] == [[0.9, 1.1], [2.0], []]
        and again[1].peaks == runs[1].peaks
        and again[0].peaks == {}
    )
    with pytest.raises(SystemExit, match="not a file of --keep"):
        local_runs.read_csv("a,b\n1,2\n", again)


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
