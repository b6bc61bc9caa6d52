"""Error bars out of residuals."""

import math
import random
import sys

import pytest

from benchmarks import fit_uncertainty
from benchmarks.fit_uncertainty import (
    Residual,
    Spread,
    add_applied,
    coverage,
    fit,
    lookup,
    read_residuals,
    to_csv,
    weighted_quantile,
)
from benchmarks.tables.common import read_rows
from planner.figures import Estimate


def residuals(count, sigma, bias, split="fit", family="text", kin=None, seed=0):
    draw = random.Random(seed)
    return [
        Residual(
            "time", "datasheet", family, kin or f"t/{split}{i}", split, draw.gauss(bias, sigma)
        )
        for i in range(count)
    ]


def test_a_known_spread_is_found_again():
    (everything, text) = fit(residuals(2000, 0.25, 0.1))
    assert (everything.family, text.family) == ("any", "text")
    assert text.sigma_log == pytest.approx(0.25, rel=0.06) and text.bias_log == pytest.approx(
        0.1, abs=0.02
    )


def test_intervals_cover_what_they_say_on_unseen_families():
    items = residuals(400, 0.3, -0.2) + residuals(400, 0.3, -0.2, split="holdout", seed=1)
    covered, total = coverage(fit(items), items, "holdout")["time", "datasheet", "text"]
    assert total == 400 and 0.74 < covered / total < 0.86


def test_the_holdout_changes_nothing():
    items = residuals(50, 0.2, 0.0)
    assert fit(items) == fit(items + residuals(50, 5.0, 9.0, split="holdout"))


def test_a_family_with_many_rows_counts_once():
    items = residuals(1000, 0.0, 2.0, kin="t/many") + [
        Residual("time", "datasheet", "text", f"t/{i}", "fit", 0.0) for i in range(25)
    ]
    assert fit(items)[0].bias_log == 0.0


def test_few_rows_fall_back_to_all_modalities():
    spreads = fit(residuals(40, 0.2, 0.0) + residuals(3, 0.2, 0.0, family="audio"))
    assert [s.family for s in spreads] == ["any", "text"]
    assert lookup(spreads, residuals(1, 0, 0, family="audio")[0]).family == "any"
    assert lookup([], residuals(1, 0, 0)[0]) is None


def test_weighted_quantile():
    assert weighted_quantile([3, 1, 2], [1, 1, 1], 0.5) == 2
    assert (
        weighted_quantile([1, 2], [9, 1], 0.8) == 1 and weighted_quantile([1, 2], [9, 1], 1.0) == 2
    )


def test_the_rows_mean_what_an_estimate_makes_of_them():
    items = residuals(300, 0.2, 0.1)
    spread = fit(items)[-1]
    figure = Estimate.with_spread(10.0, spread.sigma_log, spread.bias_log)
    inside = sum(figure.p10 <= 10.0 * math.exp(r.value) <= figure.p90 * (1 + 1e-9) for r in items)
    assert inside / len(items) == pytest.approx(0.8, abs=0.01)


def test_bias_already_in_the_predictions_is_added():
    after = add_applied(
        [
            Spread("time", "datasheet", "text", 0.2, 0.05, 9),
            Spread("time", "datasheet", "audio", 0.2, 0.05, 9),
        ],
        [
            {"quantity": "time", "basis": "datasheet", "family": "text", "bias_log": "0.1"},
            {"quantity": "time", "basis": "datasheet", "family": "any", "bias_log": "0.2"},
        ],
    )
    assert [s.bias_log for s in after] == pytest.approx([0.15, 0.25])


def test_table_and_program(tmp_path, monkeypatch, capsys):
    lines = ["case_id,table,quantity,basis,strategy,gpu,family,modality,split,measured,p10,p50,p90"]
    lines += [
        f"c{i},t,time,datasheet,lora,g,f{i},text,{('holdout', 'fit')[i % 2]},{1 + i / 100},1,1,1"
        for i in range(60)
    ]
    lines += ["z,t,time,datasheet,lora,g,f,text,fit,1,0,0,0"]
    (tmp_path / "r.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "fit_uncertainty.py",
            str(tmp_path / "r.csv"),
            "--out",
            str(tmp_path / "priors" / "u.csv"),
            "--applied",
            str(tmp_path / "none.csv"),
        ],
    )
    assert fit_uncertainty.main() == 0
    rows = read_rows(tmp_path / "priors" / "u.csv")
    assert [r["family"] for r in rows] == ["any", "text"] and all(
        r["n"] == "30" and r["source"] and r["date"] for r in rows
    )
    assert "holdout" in capsys.readouterr().out


def test_no_prediction_no_residual():
    row = dict(
        quantity="time",
        basis="b",
        modality="text",
        table="t",
        family="f",
        split="fit",
        measured="1",
        p50="0",
    )
    assert read_residuals([row]) == [] and to_csv([], "s", "2026-01-01").splitlines()[1].startswith(
        "quantity,"
    )


def test_halves_keep_a_family_on_one_side_and_let_every_row_count():
    rows = [
        fit_uncertainty.Residual("time", "datasheet", "image", f"t/{family}", "holdout", 0.1 * i)
        for family in "abcdefghijklmnopqrstuvwxyz"
        for i in range(3)
    ]
    halves = fit_uncertainty.halved(rows)
    sides = {}
    for before, after in zip(rows, halves):
        sides.setdefault(before.kin, set()).add(after.split)
    assert all(len(found) == 1 for found in sides.values())
    assert {side for found in sides.values() for side in found} == {"fit", "holdout"}
    assert len({r.kin for r in halves}) == len(rows)
    spreads = fit_uncertainty.fit(halves)
    kept = fit_uncertainty.well_known(spreads, halves)
    assert {s.family for s in kept} == {"any", "image"}
    few = [r for r in halves if r.kin.partition("#")[0] in ("t/a", "t/b", "t/c")]
    assert {s.family for s in fit_uncertainty.well_known(spreads, few)} == {"any"}
