"""Corrections: shrunk towards none, honest about what is left, never judged on the runs that taught
them; stored as data."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest

from planner.errors import ProfileError
from planner.figures import Z90
from planner.uncertainty import corrections as kept
from planner.uncertainty.corrections import Correction
from planner.validate.correct import (
    Residual,
    judge,
    learn,
    learnt,
    predicted_apart,
    priors,
)

CORRECTION = Correction("time", "datasheet", "t4", "any", 0.2, 0.1, 1, 1, "2026-11-21", True)


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
    assert abs(table["l4", "text"].bias_log) < 0.05 and ("l4", "any") not in table
    assert -0.1 < table["t4", "any"].bias_log < 0.3


def test_they_are_kept_read_and_forgotten(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))
    assert kept.corrections() == () and kept.correction("time", "datasheet", "t4", "text") is None
    found = learn([*runs(12), *runs(12, bias=0.4, family="image", seed=1)])
    kept.keep(found)
    assert set(kept.corrections()) == set(found) and all(one.in_force for one in found)
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


def test_a_changed_digit_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))
    file = kept.keep(learn(runs(12)))
    text = file.read_text()
    places = [i for i, letter in enumerate(text) if letter.isdigit()]
    for place in places[:: max(1, len(places) // 25)]:
        changed = "7" if text[place] != "7" else "1"
        file.write_text(text[:place] + changed + text[place + 1 :])
        os.utime(file, ns=(place, place))  # a reader looks at the time to see a change
        with pytest.raises(ProfileError):
            kept.corrections()


def test_a_correction_that_no_run_teaches_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))
    kept.keep([replace(CORRECTION, bias_log=math.inf)])
    with pytest.raises(ProfileError):
        kept.corrections()


# ---- in force only where it helps


def only(found, family="text"):
    (one,) = [c for c in found if c.family == family]
    return one


def test_a_bias_of_all_models_is_corrected_and_says_by_how_much():
    one = only(learn(runs(8)))
    assert one.in_force and one.judged == 8
    assert one.error_after < 0.5 * one.error_before and one.gain_log > one.margin_log
    assert "became" in one.judgement and "not in force" not in one.judgement


def test_what_helps_some_models_and_hurts_as_many_is_not_in_force():
    found = [*runs(4, bias=0.5, seed=3), *runs(4, bias=-0.4, seed=4, family="image")]
    found = [replace(r, family="text", group=f"{r.family}{i}") for i, r in enumerate(found)]
    one = only(learn(found))
    assert not one.in_force and one.judgement.startswith("not in force")


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_kinds_of_models_judge_nothing(count):
    one = only(learn(runs(count, each=5)))
    assert not one.in_force and one.judged == count and one.error_before is None
    assert "too few" in one.judgement


def test_strategies_of_one_model_do_not_judge_each_other():
    """Six groups of two kinds of models: they err together, and two are too few."""
    found = [replace(r, kin=f"kind{i % 2}") for i, r in enumerate(runs(6))]
    assert not only(learn(found)).in_force
    assert only(learn(runs(6))).in_force


def test_a_correction_that_does_nothing_rarely_comes_into_force():
    chance = sum(
        only(learn(runs(6, bias=0.0, scatter=0.2, seed=seed))).in_force for seed in range(60)
    )
    assert chance <= 6


@pytest.mark.parametrize("bias, scatter", [(0.0, 0.2), (0.05, 0.2), (0.1, 0.1), (0.4, 0.2)])
def test_by_their_own_check_corrections_do_no_harm(bias, scatter):
    """Over many ledgers: what models that were left out are off by, before and after."""
    before, after = [], []
    for seed in range(30):
        found = runs(8, bias=bias, scatter=scatter, seed=seed)
        before += [abs(run.log_ratio) for run in found]
        after += [abs(run.log_ratio - moved) for run, moved, _ in predicted_apart(found)]
    assert np.mean(after) <= 1.02 * np.mean(before)
    if bias == 0.4:
        assert np.mean(after) < 0.6 * np.mean(before)


def test_time_and_memory_are_judged_apart():
    memory = [replace(r, quantity="reserved") for r in runs(6, bias=0.0, scatter=0.1, seed=5)]
    found = {c.quantity: c for c in learn([*runs(6), *memory])}
    assert found["time"].in_force and not found["reserved"].in_force


def test_a_kind_of_work_that_its_device_would_harm_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))
    text = runs(20, bias=0.5)
    image = runs(4, bias=0.0, scatter=0.02, family="image", seed=1)
    kept.keep(learn([*text, *image]))
    assert kept.correction("time", "datasheet", "t4", "text").in_force
    assert kept.correction("time", "datasheet", "t4", "image") is None
    asked = kept.in_force_on("datasheet", "t4", "text")
    assert [c.quantity for c in asked] == ["time"] and not kept.in_force_on("exact", "t4", "text")


def test_a_kind_of_work_takes_its_devices_where_that_does_better():
    text, image = runs(20, bias=0.4), runs(3, bias=0.4, scatter=0.01, family="image", seed=1)
    one = only(learn([*text, *image]), "image")
    assert one.in_force and one.bias_log == pytest.approx(0.4, abs=0.05)


def test_a_judgement_leaves_out_what_it_judges():
    odd = Residual("time", "datasheet", "t4", "text", "odd", 3.0, 0.3)
    found = judge([*runs(4, bias=0.0, scatter=0.0), odd], [*runs(4, bias=0.0, scatter=0.0), odd])
    assert found.judges == 5 and not found.helps and found.margin_log > priors().least_gain


def test_corrections_of_an_older_file_are_not_in_force_until_they_are_judged(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))
    old = dict(
        quantity="time",
        basis="datasheet",
        device="t4",
        family="any",
        bias_log=0.1,
        sigma_log=0.1,
        runs=3,
        models=3,
        made="2026-11-21",
    )
    text = json.dumps({"planner_corrections": 1, "corrections": [old], "taught": ["a:b"]})
    (tmp_path / "corrections.json").write_text(text)
    assert kept.corrections() == ()
    (one,) = kept.known_corrections()
    assert "planner correct judges it" in one.judgement


def test_runs_of_one_kind_of_work_correct_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))
    kept.keep(learn(runs(8)))
    assert kept.correction("time", "datasheet", "t4", "text").in_force
    assert kept.correction("time", "datasheet", "t4", "image") is None
    context = learn([replace(r, quantity="context") for r in runs(8)])
    assert only(context, "any").in_force  # the same for all work


def test_several_sources_have_to_agree():
    """Six kinds of models of one source say it is too slow; those of another do not."""
    ours = [replace(r, source="ours") for r in runs(6, bias=0.4)]
    theirs = [replace(r, source="theirs", group=f"b{i}") for i, r in enumerate(runs(3, bias=0.0))]
    others = [replace(r, source="others", group=f"c{i}") for i, r in enumerate(runs(3, bias=-0.1))]
    assert only(learn(ours)).in_force
    assert not only(learn([*ours, *theirs, *others])).in_force
    agreed = [replace(r, source=f"s{i % 4}") for i, r in enumerate(runs(12, bias=0.4))]
    assert only(learn(agreed)).in_force
