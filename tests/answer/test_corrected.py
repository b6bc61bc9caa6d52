"""A figure that the user's own runs corrected says so, with the figure before."""

import json
import math

import pytest

from planner import estimate
from planner.answer.schema import Answer
from planner.uncertainty import corrections
from planner.uncertainty.corrections import Correction

ASKED = {
    "gpu": "h100-sxm",
    "strategy": ["lora", "fine_tune"],
    "samples": 1000,
    "tokens_per_sample": 300,
}


def one(quantity, factor, in_force=True, family="any"):
    return Correction(
        quantity,
        "datasheet",
        "h100-sxm",
        family,
        math.log(factor),
        0.1,
        12,
        5,
        "2026-11-30",
        in_force,
        5,
        0.25,
        0.08,
        0.2,
        0.05,
    )


@pytest.fixture
def asked(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))

    def call(*learnt, **more):
        corrections.keep(learnt)
        return estimate("Llama-3.2-1B", **ASKED | more)

    return call


def _lines(answer):
    return [line["text"] for line in answer["first_lines"] if line["topic"] == "device"]


def test_without_corrections_in_force_nothing_is_said(asked):
    plain, idle = asked(), asked(one("time", 1.3, in_force=False))
    assert not _lines(plain) and not _lines(idle)
    assert "corrected" not in plain["options"][0]
    assert idle["options"] == plain["options"]


def test_the_figure_before_is_what_the_planner_says_by_itself(asked):
    plain, moved = asked(), asked(one("time", 1.3), one("reserved", 1.2), one("allocated", 1.2))
    Answer.model_validate(json.loads(json.dumps(moved)))
    for before, after in zip(plain["options"], moved["options"], strict=True):
        said = after["corrected"]["before"]
        assert said["step_seconds"] == before["step"]["seconds"]
        assert said["wall_hours"] == before["run"]["wall_hours"]
        assert said["gpu_hours"] == before["run"]["gpu_hours"]
        assert said["usd"] == before["cost"]["usd"]
        for name in ("allocated_bytes", "reserved_bytes", "device_used_bytes"):
            assert said[name] == before["memory"][name]
        ratio = after["step"]["seconds"]["p50"] / said["step_seconds"]["p50"]
        assert ratio == pytest.approx(1.3)
        assert after["memory"]["reserved_bytes"]["p50"] == pytest.approx(
            1.2 * said["reserved_bytes"]["p50"]
        )
        by = {row["quantity"]: row for row in after["corrected"]["by"]}
        assert by["time"]["factor"] == pytest.approx(1.3) and by["time"]["error_after"] == 0.08
        assert set(by) == {"time", "reserved", "allocated"}
        assert any("before" in line for line in after["assumptions"]) or any(
            "corrected by your measured runs" in line for line in moved["assumptions"]
        )


def test_the_first_lines_name_both_figures_and_why(asked):
    (line,) = _lines(asked(one("time", 1.3)))
    assert line.count("before") == 2  # hours and dollars
    assert "12 runs of 5 models" in line and "25.0% became 8.0%" in line
    (line,) = _lines(asked(one("reserved", 1.2)))
    assert "of memory" in line and "reserved memory × 1.2" in line


def test_a_correction_of_another_device_or_work_moves_nothing(asked):
    answer = asked(one("time", 1.3, family="image"))
    assert not _lines(answer) and "corrected" not in answer["options"][0]


def test_stages_and_cached_features_are_restated_whole(asked):
    fields = {"strategy": ["feature_extraction"], "model": "resnet50"}
    corrections.keep([one("time", 1.3)])
    question = {
        k: v for k, v in (ASKED | fields).items() if k not in ("model", "tokens_per_sample")
    }
    moved = estimate("resnet50", **question)
    corrections.keep([])
    plain = estimate("resnet50", **question)
    for before, after in zip(plain["options"], moved["options"], strict=True):
        assert after["corrected"]["before"]["gpu_hours"] == before["run"]["gpu_hours"]
