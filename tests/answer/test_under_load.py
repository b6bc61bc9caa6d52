"""An answer from a calibration that was made under load: a wider range, or the datasheet, and the
first lines say so and how it is mended."""

import json
import math
from dataclasses import replace

import pytest

from planner import estimate
from planner.answer.grounds import MEND
from planner.devices import profile as profiles
from planner.devices.curves import Point, fit_curve
from planner.devices.load import UnderLoad, calibration_prior, read
from planner.devices.measured import measured_spec
from planner.devices.profile import DeviceProfile
from planner.errors import ProfileError
from planner.figures import Z90
from planner.plan.inputs.hardware import with_basis
from planner.uncertainty.spread import time_spread

ASKED = {
    "gpu": "h100-sxm",
    "strategy": "lora",
    "samples": 1000,
    "tokens_per_sample": 300,
}
FAMILY = "matmul.nt.bfloat16"
POINTS = [
    Point((1.0, 256.0 * i, 1024.0, 1024.0), 5e8 * i, 4e6 * i, 3e-6 * i, 3e-6 * i, 3e-6 * i)
    for i in range(1, 8)
]
QUIET = DeviceProfile(
    {
        "name": "NVIDIA H100 80GB HBM3",
        "key": "h100-sxm",
        "kind": "cuda",
        "vendor": "nvidia",
        "total_memory_bytes": 79 * 2**30,
        "sm_count": 132,
    },
    {"torch": "2.13"},
    {FAMILY: fit_curve(FAMILY, POINTS)},
    {"forward_seconds": 1e-6, "backward_seconds": 1e-6},
)


def loaded(doubt, share=0.5, **doubts):
    return replace(QUIET, load=UnderLoad(share, 4.0, doubt, doubts or {"matmul": doubt}))


@pytest.fixture
def answer(tmp_path, monkeypatch):
    def asked(profile):
        monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))
        profiles.save(profile, tmp_path / "h100-sxm.json")
        return estimate(
            "Llama-3.2-1B", gpu="h100-sxm", strategy="lora", samples=1000, tokens_per_sample=300
        )

    return asked


def _warned(document):
    return [line["text"] for line in document["first_lines"] if line["topic"] == "device"]


def _width(document):
    hours = document["options"][0]["step"]["seconds"]
    return math.log(hours["p90"] / hours["p50"]) / Z90


def test_a_quiet_calibration_says_nothing_of_load(answer):
    never, looked = answer(QUIET), answer(loaded(0.0, share=0.0))
    assert not _warned(never) and not _warned(looked)
    assert _width(never) == _width(looked)


def test_a_doubt_widens_the_range_and_is_said(answer):
    plain, doubtful = answer(QUIET), answer(loaded(0.2))
    (line,) = _warned(doubtful)
    assert "50%" in line and "4 times" in line and "range" in line and MEND in line
    assert doubtful["options"][0]["basis"] == "calibrated"
    step = doubtful["options"][0]["step"]["seconds"]
    assert step["p50"] == pytest.approx(plain["options"][0]["step"]["seconds"]["p50"])
    assert _width(plain) < _width(doubtful) <= math.hypot(_width(plain), 0.2) + 1e-9


def test_too_much_doubt_falls_back_to_the_datasheet(answer, tmp_path, monkeypatch):
    doubtful = answer(loaded(1.1 * calibration_prior("most_doubt_log")))
    (line,) = _warned(doubtful)
    assert "datasheet" in line and MEND in line
    assert doubtful["options"][0]["basis"] == "datasheet"
    (tmp_path / "h100-sxm.json").unlink()
    plain = estimate(
        "Llama-3.2-1B", gpu="h100-sxm", strategy="lora", samples=1000, tokens_per_sample=300
    )
    assert plain["options"][0]["step"]["seconds"] == doubtful["options"][0]["step"]["seconds"]


def test_whoever_asks_for_the_calibration_gets_it_with_its_doubt():
    spec = measured_spec(loaded(1.0))
    assert spec.pricing == "datasheet" and spec.load is None
    asked = with_basis(spec, "calibrated")
    assert asked.load is not None
    plain = time_spread(with_basis(measured_spec(QUIET), "calibrated"), "text").sigma_log
    assert time_spread(asked, "text").sigma_log == pytest.approx(math.hypot(plain, 1.0))


def test_a_device_without_a_datasheet_keeps_what_was_measured():
    device = {"name": "Own 1", "kind": "cuda", "vendor": "own", "total_memory_bytes": 2**30}
    spec = measured_spec(replace(loaded(1.0), device=device))
    assert spec.pricing == "calibrated" and spec.load is not None


def test_the_doubt_of_a_step_is_that_of_what_it_runs():
    load = UnderLoad(0.5, 4.0, 0.2, {"matmul.a": 0.4, "matmul.b": 0.2, "host": 0.5})
    assert load.of_step({"matmul": 1.0}, 0.0) == pytest.approx(0.3)
    assert load.of_step({"copy": 1.0}, 0.0) == 0.0
    assert load.of_step({"matmul": 1.0, "copy": 2.0}, 0.0) == pytest.approx(0.1)
    assert load.of_step({"copy": 1.0}, 1.0) == pytest.approx(0.25)
    assert load.of_step({}, 0.0) == 0.0


def test_it_is_kept_in_the_file_and_checked(tmp_path):
    file = profiles.save(loaded(0.25, host=0.1), tmp_path / "h100.json")
    assert profiles.load(file).load == UnderLoad(0.5, 4.0, 0.25, {"host": 0.1})
    assert profiles.load(profiles.save(QUIET, tmp_path / "quiet.json")).load is None
    assert read(None) is None
    written = json.loads(file.read_text())
    del written["digest"]
    written["load"]["doubt_log"] = -1
    file.write_text(json.dumps(written))
    with pytest.raises(ProfileError, match="load"):
        profiles.load(file)
