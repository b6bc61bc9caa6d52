"""Ranges of whole runs: what is fitted covers runs of sources that taught nothing."""

import csv
import math
import random
import statistics
from pathlib import Path

import pytest

from benchmarks import fit_runs
from benchmarks.fit_runs import (
    Residual,
    fit,
    left_out,
    middle_of,
    residuals,
    shares,
    sides_of,
    source_of,
    stretched,
)
from benchmarks.whole.report import shipped
from planner.uncertainty.runs import ANY

KINDS = {"modality": "language model", "devices": "one"}


def synthetic(sources, per_source, seed, scale=0.3, shift=0.1):
    """Runs whose errors are skewed and shared within a source."""
    rng = random.Random(seed)
    found = []
    for source in range(sources):
        habit = rng.gauss(0, scale / 2)
        for number in range(rng.randint(1, per_source)):
            own = rng.expovariate(1 / scale) - scale / 2 if rng.random() < 0.5 else 0.0
            kinds = {"modality": rng.choice(["image", "language model"]), "devices": "one"}
            value = shift + habit + own + rng.gauss(0, scale / 3)
            found.append(Residual(f"{source}-{number}", f"author {source}", value, kinds))
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_four_fifths_of_left_out_runs_lie_inside(seed):
    found = synthetic(25, 6, seed)
    judged = left_out(found, stretched(found))
    assert {one.id for one, _, _ in judged} == {one.id for one in found}
    alike, by_source = (1 - sum(shares(judged, weighted)) for weighted in (False, True))
    assert (alike + by_source) / 2 == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("seed", [4, 5])
def test_the_ranges_cover_runs_of_new_authors(seed):
    taught, new = synthetic(60, 4, seed), synthetic(60, 4, seed + 100)
    rows = fit(taught, stretched(taught))
    inside = 0
    for one in new:
        lower, upper = sides_of(rows, one.kinds)
        inside += -lower <= one.value <= upper
    assert 0.70 <= inside / len(new) <= 0.90


def test_misses_to_one_side_make_the_range_lean_where_the_middle_stays():
    lower, upper = sides_of(fit(synthetic(40, 3, 7, shift=0.3), moves=False), KINDS)
    assert upper > 1.5 * lower


def test_the_middle_is_moved_by_what_new_authors_are_off():
    taught, new = synthetic(60, 4, 8, shift=0.3), synthetic(60, 4, 108, shift=0.3)
    middle = fit(taught)[ANY, ANY].middle
    before = statistics.median(one.value for one in new)
    assert abs(before - middle) < before / 3


@pytest.mark.parametrize("shift", [-0.5, -0.2])
def test_no_run_is_faster_than_its_steps(shift):
    assert fit(synthetic(40, 3, 9, shift=shift))[ANY, ANY].middle == 0


def test_a_middle_is_shrunk_by_its_sources():
    """By hand: one author moves a sixth of the way, five half of it."""
    assert middle_of([Residual("a", "a", 0.6, {})]) == pytest.approx(0.1)
    assert middle_of([Residual(str(n), f"s{n}", 0.6, {}) for n in range(5)]) == pytest.approx(0.3)


def test_what_an_earlier_fit_moved_is_not_moved_twice(tmp_path):
    """A table whose medians hold a long run's share teaches what one of clean steps does."""
    clean = figures_of(Path(fit_runs.ROOT) / "docs" / "whole_runs_baseline.csv")
    moved = [row | {"p50": str(float(row["p50"]) * 1.25)} for row in clean]
    for row, old in zip(moved, clean, strict=True):
        row["p90"] = str(float(row["p90"]) * 1.25)
        row["long_run"] = str(float(row["p50"]) - float(old["p50"]))
    found = []
    for name, rows in (("clean", clean), ("moved", moved)):
        path = tmp_path / f"{name}.csv"
        path.write_text(
            "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]) + "\n"
        )
        found.append([one.value for one in residuals(shipped(), path)])
    assert found[1] == pytest.approx(found[0], abs=1e-5)


def figures_of(path):
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "hours"]
    assert len(rows) > 20
    return rows


def test_a_source_weighs_as_the_root_of_its_runs():
    """By hand: nine runs of one author and one of another weigh 3 to 1, so that the 90th percentile
    of 0.1 and 1.0 is the other's."""
    found = [Residual(f"a{n}", "a", 0.1, {}) for n in range(9)] + [Residual("b", "b", 1.0, {})]
    every = fit(found, moves=False)[ANY, ANY]
    assert every.upper == pytest.approx(1.0)
    assert every.lower == fit_runs.LEAST
    assert (every.runs, every.sources) == (10, 2)


def test_a_kind_is_shrunk_by_its_sources():
    """A kind ten times farther off by one author moves a sixth of the way, in logarithms."""
    near = [Residual(f"n{n}", f"s{n}", 0.1, {"modality": "image"}) for n in range(9)]
    far = [Residual("f", "s99", 1.0, {"modality": "speech"})]
    rows = fit(near + far, moves=False)
    factor = rows["modality", "speech"].upper / rows[ANY, ANY].upper
    assert factor == pytest.approx(10 ** (1 / 6))


def test_authors_are_those_of_the_citation():
    assert source_of("unslothai/notebooks nb/Whisper.ipynb") == "unslothai"
    assert source_of("huggingface.co/bert/x commit 1") == "bert"
    assert source_of("huggingface/notebooks sagemaker/24") == "huggingface/notebooks"
    assert source_of("huggingface/transformers@05ce examples") == "huggingface/transformers"


def test_the_command_writes_rows_that_keep_other_bases(tmp_path, capsys):
    figures = Path(fit_runs.ROOT) / "docs" / "whole_runs_baseline.csv"
    out = tmp_path / "rows.csv"
    out.write_text(fit_runs.OUT.read_text())
    assert fit_runs.main([str(figures), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "left-out sources" in told and "inside" in told
    rows = list(fit_runs.read_rows(out))
    assert {row["basis"] for row in rows} == {"datasheet", "calibrated", "exact"}
    every = next(r for r in rows if r["basis"] == "datasheet" and r["kind"] == ANY)
    assert math.isfinite(float(every["lower"])) and int(every["sources"]) > 5
    assert all(float(row["upper"]) > 0 and float(row["lower"]) > 0 for row in rows)


def test_peaks_of_one_author_are_left_out_by_families_and_taught_to_his_trainer_alone(
    tmp_path, capsys
):
    figures = Path(fit_runs.ROOT) / "docs" / "whole_runs_baseline.csv"
    out = tmp_path / "rows.csv"
    out.write_text(fit_runs.OUT.read_text())
    assert fit_runs.main([str(figures), "--out", str(out)]) == 0
    assert "families of models in place of authors" in capsys.readouterr().out
    (row,) = [row for row in fit_runs.read_rows(out) if row["quantity"] == "memory"]
    assert (row["dimension"], row["kind"], row["sources"]) == ("trainer", "unsloth", "1")
    assert int(row["runs"]) >= fit_runs.ENOUGH
    assert float(row["upper"]) > float(row["lower"])  # most misses are too low


@pytest.mark.parametrize(
    "model, family",
    [("unsloth/Meta-Llama-3.1-8B", "llama"), ("Qwen3-14B", "qwen"), ("gemma-2-2b", "gemma")],
)
def test_families_of_models(model, family):
    assert fit_runs.family_of(model) == family
