"""Saving on this host: its form, and that measured figures stand in for priors."""

import dataclasses
import json

import pytest

from planner import estimate
from planner.calibrate.host import writing
from planner.devices.lookup import find_device
from planner.devices.profile import DeviceProfile
from planner.plan.phases.start_up import start_up_hours_at_least
from planner.question import Question


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(writing, "FILE_BYTES", 2**20)


def test_writing_is_a_fact():
    (record,) = json.loads(json.dumps(list(writing.measure_writing())))
    assert (record["name"], record["unit"]) == ("write_bytes_per_s", "B/s")
    assert record["value"] > 0


def test_what_cannot_be_written_has_no_record(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert writing.write_bytes_per_s() is None
    assert list(writing.measure_writing()) == []


def test_measured_figures_stand_in_for_priors(tmp_path):
    facts = {"import_seconds.trainer": 5.0, "write_bytes_per_s": 4e9}
    profile = DeviceProfile({"name": "x", "kind": "cuda"}, {}, {}, facts=facts)
    spec = dataclasses.replace(find_device("a100-sxm-80"), calibration=profile)
    asked = Question(model="m", samples=1)
    plain = start_up_hours_at_least(asked, find_device("a100-sxm-80"))
    assert plain - start_up_hours_at_least(asked, spec) == pytest.approx((12.9 + 10.0 - 5.0) / 3600)
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
    assert measured["start_up"] == pytest.approx(prior["start_up"] - (12.9 + 10.0 - 5.0) / 3600)
