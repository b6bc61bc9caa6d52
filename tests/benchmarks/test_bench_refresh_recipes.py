"""Cells of published recipes as they are written, as numbers."""

import csv
import shutil

import pytest

from benchmarks.refresh_recipes import (
    evaluations_of,
    hours_of,
    number_of,
    parameters_of,
    refresh_recipes,
    samples_of,
    shipped_row,
    subject_of,
)
from planner import tables


@pytest.mark.parametrize(
    "cell, number",
    [
        ("128", "128"),
        ("480 sequences (491,520 tokens)", "480"),
        ("90,000 at length 128 then 10,000 at length 512", "90000"),
        ("2, 3 or 4", "3"),
        ("16 or 32", "32"),
        ("4000 to 5000", "5000"),
        ("128, 512", "128"),
        ("1 (script default)", "1"),
        ("250 per GPU x GPUs (1000 on 4 GPUs)", ""),
        ("1000 (cap per epoch)", ""),
        ("(300 // batch) x 4", ""),
        ("unset", ""),
        ("", ""),
    ],
)
def test_a_cell_is_the_number_it_starts_with(cell, number):
    assert number_of(cell)[0] == number


@pytest.mark.parametrize(
    "text, samples",
    [
        ("alpaca (52k)", "52000"),
        ("beans (1,034 images)", "1034"),
        ("Food-101 subset (5,000, 80/20)", "5000"),
        ("CC12M (10,968,539 pairs)", "10968539"),
        ("datasets: ultrachat_200k", "200000"),
        ("ImageNet-1k", "1281167"),
        ("WikiText-2 (2.4M tokens)", ""),
        ("C4, 26B tokens (about 20 per parameter)", ""),
        ("Common Voice 11 Hindi (about 8 h)", ""),
        ("8 to 64 samples per class", ""),
    ],
)
def test_samples_of_a_dataset_by_its_words(text, samples):
    assert samples_of(text) == samples


def test_hours_of_sound():
    assert [hours_of(t) for t in ("10 min labelled", "960 h labelled", "LibriVox 60k h")] == [
        "0.1667",
        "960",
        "6e+04",
    ]
    assert hours_of("15 h demo; 21k h in the paper") == hours_of("alpaca (52k)") == ""


def test_sizes_of_models_by_their_names():
    assert parameters_of("llama3_1/8B_lora_single_device") == "8000000000"
    assert parameters_of("GPT-2 1558M") == "1558000000"
    assert parameters_of("bert-base-cased") == "108311810"
    assert len(parameters_of("resnet18/34/50/101/152").split()) == 5
    assert parameters_of("a denoiser of one's own") == ""


def test_evaluations_are_of_an_epoch_or_of_steps():
    assert evaluations_of("4 per epoch") == ("4", "")
    assert evaluations_of("25 epochs") == ("0.04", "")
    assert evaluations_of("1000 steps, 100 batches") == ("", "1000")
    assert evaluations_of("never (no validation split)") == ("0", "")
    assert evaluations_of("at every checkpoint") == ("", "")


def test_a_folder_without_recipes_changes_nothing(tmp_path):
    assert refresh_recipes(tmp_path, tmp_path) == []


def test_recipes_come_in_by_subject_and_a_second_run_changes_nothing(tmp_path):
    shutil.copytree(tables.path("recipes"), tmp_path / "recipes")
    row = dict.fromkeys(_raw_columns(), "") | {
        "family": "llama",
        "model": "Toy-8B",
        "task": "sft",
        "strategy": "lora",
        "kind": "recipe",
        "global_batch": "64 (8 GPUs)",
        "epochs": "2",
        "source": "toys/toy@1",
        "date": "2026-01-01",
    }
    with (tmp_path / "recipes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        # medians need a few rows, small data one of known size
        for samples in ("1,000 images", "2,000 images", "4,000 images"):
            writer.writerow(row | {"data_size_range": samples})
    first = refresh_recipes(tmp_path, tmp_path)
    again = refresh_recipes(tmp_path, tmp_path)
    assert sum(len(changes.added) for changes in first) > 3
    assert not any(changes.added or changes.removed for changes in again)
    shipped = list(csv.DictReader((tmp_path / "recipes" / "language.csv").open()))
    assert [row["global_batch"] for row in shipped] == ["64"] * 3
    assert shipped[0]["qualifiers"] == "global_batch: (8 GPUs)"
    medians = list(csv.DictReader((tmp_path / "recipes" / "medians.csv").open()))
    assert {row["key"]: row["value"] for row in medians if row["task"] == "sft"} == {
        "global_batch": "64",
        "epochs": "2",
    }


def _raw_columns():
    made = ("parameters", "data_samples", "data_hours", "qualifiers")
    made += ("evaluations_per_epoch", "evaluation_steps")
    header = next(csv.reader(tables.path("recipes", "language.csv").open(encoding="utf-8")))
    return [column for column in header if column not in made]


def test_every_shipped_recipe_is_in_one_table():
    assert subject_of("sft") == "language" and subject_of("speech recognition (CTC)") == "sound"
    assert subject_of("object detection") == "vision" and subject_of("reward model") == "preference"
    raw = dict.fromkeys(_raw_columns(), "") | {"packing": "yes (script)", "model": "toy"}
    assert shipped_row(raw)["packing"] == "yes" and shipped_row(raw)["date"] == "not stated"
