"""Corrections: shrunk towards none, honest about what is left, never judged on the runs that taught
them; stored as data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planner.errors import ProfileError
from planner.figures import Z90
from planner.uncertainty import corrections as kept
from planner.uncertainty.corrections import Correction
from planner.validate.correct import Residual, learn, learnt, predicted_apart


def runs(
    count,
    bias=0.3,
    scatter=0.05,
    prior=0.3,
    seed=0,
    family="text",
    device="t4",
    each=1,
    basis="datasheet",
):
    generator = np.random.default_rng(seed)
    found = []
    for model in range(count):
        middle = generator.normal(bias, scatter)
        found += [
            Residual(
                "time",
                basis,
                device,
                family,
                f"{family}{model}",
                middle + generator.normal(0, 0.01),
                prior,
            )
            for _ in range(each)
        ]
    return found


def test_one_run_moves_the_middle_part_of_the_way():
    one = learnt(runs(1, scatter=0.0))
    assert 0.05 < one.bias_log < 0.29 and one.models == 1


def test_many_models_move_it_all_the_way_and_shrink_the_spread():
    many = learnt(runs(40))
    assert many.bias_log == pytest.approx(0.3, abs=0.03)
    assert 0.03 <= many.sigma_log < 0.09


def test_many_runs_of_one_model_are_one_voice():
    assert learnt(runs(1, each=50, scatter=0.0)).bias_log == pytest.approx(
        learnt(runs(1, scatter=0.0)).bias_log, abs=0.02
    )
    assert learnt(runs(1, each=50)).sigma_log > 0.2


def test_no_error_gives_no_correction():
    assert learnt(runs(30, bias=0.0)).bias_log == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize("scatter", [0.05, 0.15, 0.4])
def test_intervals_cover_as_often_as_they_say_on_models_that_taught_nothing(scatter):
    inside = total = 0
    for seed in range(40):
        part = learnt(runs(25, scatter=scatter, seed=seed))
        for run in runs(10, scatter=scatter, seed=1000 + seed):
            inside += abs(run.log_ratio - part.bias_log) <= Z90 * part.sigma_log
            total += 1
    assert 0.76 <= inside / total <= 0.88


def test_reports_judge_each_model_by_the_others():
    found = runs(12)
    odd = Residual("time", "datasheet", "t4", "text", "odd", 2.0, 0.3)
    judged = {id(run): bias for run, bias, _ in predicted_apart([*found, odd])}
    assert judged[id(odd)] == pytest.approx(learnt(found).bias_log)
    alone = predicted_apart([odd])
    assert alone[0][1:] == (0.0, 0.3)


def test_devices_and_kinds_of_work_are_apart():
    found = learn(
        [
            *runs(12, bias=0.4),
            *runs(12, bias=-0.2, family="image", seed=1),
            *runs(6, bias=0.0, device="l4", seed=2),
        ]
    )
    table = {(c.device, c.family): c for c in found}
    assert table["t4", "text"].bias_log > 0.3 and table["t4", "image"].bias_log < -0.1
    assert abs(table["l4", "any"].bias_log) < 0.05 and ("l4", "text") not in table
    assert -0.1 < table["t4", "any"].bias_log < 0.3


def test_they_are_kept_read_and_forgotten(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))
    assert kept.corrections() == () and kept.correction("time", "datasheet", "t4", "text") is None
    found = learn([*runs(12), *runs(12, bias=0.0, family="image", seed=1)])
    kept.keep(found)
    assert set(kept.corrections()) == set(found)
    assert kept.correction("time", "datasheet", "t4", "audio").family == "any"
    assert kept.correction("time", "datasheet", "t4", "text").family == "text"
    assert kept.correction("time", "exact", "t4", "text") is None
    assert kept.forget() and not kept.forget() and kept.corrections() == ()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"planner_corrections": 99, "corrections": []}',
        '{"planner_corrections": 1, "corrections": [{"x": 1}]}',
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, monkeypatch, content):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))
    (tmp_path / "corrections.json").write_text(content)
    with pytest.raises(ProfileError):
        kept.corrections()


def test_a_correction_that_no_run_teaches_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))
    kept.keep([Correction("time", "datasheet", "t4", "any", math.inf, 0.1, 1, 1, "2026-11-21")])
    with pytest.raises(ProfileError):
        kept.corrections()
