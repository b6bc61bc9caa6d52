"""Saving on this host: its form, what is left out where it cannot be measured, and how a measured
start and saving stand in for priors."""

import dataclasses
import json

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


def test_saving_is_timed():
    (record,) = json.loads(json.dumps(list(surroundings.measure_surroundings())))
    assert (record["name"], record["unit"]) == ("write_bytes_per_s", "B/s")
    assert record["value"] > 0


def test_what_cannot_be_measured_has_no_record(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert surroundings.write_bytes_per_s() is None
    assert list(surroundings.measure_surroundings()) == []


def test_measured_figures_stand_in_for_priors(tmp_path):
    facts = {"import_seconds.trainer": 5.0, "import_seconds.loop": 4.0, "write_bytes_per_s": 4e9}
    profile = DeviceProfile({"name": "x", "kind": "cuda"}, {}, {}, facts=facts)
    spec = dataclasses.replace(find_device("a100-sxm-80"), calibration=profile)
    asked = Question(model="m", samples=1)
    plain = start_up_hours_at_least(asked, find_device("a100-sxm-80"))
    assert plain - start_up_hours_at_least(asked, spec) == pytest.approx((12.9 - 5.0) / 3600)
    # TRL's trainers start as the Trainer that they are; Lightning was not timed
    for stack, seconds in (("loop", 4.0), ("trl", 5.0), ("lightning", 12.9)):
        named = Question(model="m", samples=1, stack=stack)
        less = (12.9 - seconds) / 3600
        assert plain - start_up_hours_at_least(named, spec) == pytest.approx(less)
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
