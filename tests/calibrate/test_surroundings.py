"""Imports and saving on this host: their form, and what is left out where they cannot be
measured."""

import dataclasses
import json
import sys

import pytest

from planner import estimate
from planner.calibrate import surroundings
from planner.devices.lookup import find_device
from planner.devices.profile import DeviceProfile
from planner.plan.phases.start_up import start_up_hours_at_least
from planner.question import Question


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(surroundings, "FILE_BYTES", 2**20)


def test_a_short_calibration_times_saving_alone(monkeypatch):
    monkeypatch.setattr(surroundings, "import_seconds", lambda: 3.0)
    short, long = (list(surroundings.measure_surroundings(seconds)) for seconds in (1.0, 20.0))
    assert [record["name"] for record in short] == ["write_bytes_per_s"]
    assert {record["name"]: record["unit"] for record in json.loads(json.dumps(long))} == {
        "write_bytes_per_s": "B/s",
        "import_seconds": "s",
    }
    assert short[0]["value"] > 0


def test_what_cannot_be_measured_has_no_record(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert surroundings.write_bytes_per_s() is None
    monkeypatch.setattr(surroundings, "OF_TRANSFORMERS", "raise SystemExit(3)")
    monkeypatch.setattr(surroundings, "_installed", lambda: ("json", "transformers"))
    monkeypatch.setattr(surroundings, "LIBRARIES", ())
    assert surroundings.import_seconds() is None
    assert list(surroundings.measure_surroundings(20.0)) == []


def test_imports_are_timed_in_a_process_of_their_own(monkeypatch):
    monkeypatch.setattr(surroundings, "_installed", lambda: ("json",))
    found = surroundings.import_seconds()
    assert found is not None and 0 < found < 60
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert surroundings.import_seconds() is None


def test_measured_figures_stand_in_for_priors(tmp_path):
    facts = {"import_seconds": 5.0, "write_bytes_per_s": 4e9}
    profile = DeviceProfile({"name": "x", "kind": "cuda"}, {}, {}, facts=facts)
    spec = dataclasses.replace(find_device("a100-sxm-80"), calibration=profile)
    asked = Question(model="m", samples=1)
    plain = start_up_hours_at_least(asked, find_device("a100-sxm-80"))
    assert plain - start_up_hours_at_least(asked, spec) == pytest.approx((12.9 - 5.0) / 3600)
    from planner.devices.profile import save

    file = tmp_path / "a100.json"
    device = {"name": "NVIDIA A100-SXM4-80GB", "key": "a100-sxm-80", "kind": "cuda"}
    save(DeviceProfile(device, {"date": "2026-11-01"}, {}, facts=facts), file)
    fields = {"samples": 5000, "tokens_per_sample": 128, "strategy": "fine_tune"}
    prior, measured = (
        estimate("bert-base-uncased", gpu=gpu, **fields)["options"][0]["run"]["breakdown_hours"]
        for gpu in ("a100-sxm-80", str(file))
    )
    assert measured["saving"] == pytest.approx(prior["saving"] * 0.6 / 4)
    assert measured["start_up"] == pytest.approx(prior["start_up"] - (12.9 - 5.0) / 3600)
