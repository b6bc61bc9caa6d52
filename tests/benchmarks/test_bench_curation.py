"""The curated table: the same rows every time, and sound as shipped."""

import csv
from pathlib import Path

import pytest

from benchmarks import curate_published
from planner.validate.cases import MEASURES, MEMORIES, from_rows, to_csv

SHIPPED = Path(__file__).resolve().parents[2] / "profiles" / "measured" / "published.csv"
TIMM_COLUMNS = [
    "model",
    "img_size",
    "batch_size",
    "train_samples_per_s",
    "train_step_ms",
    "gpu",
    "memory_format",
    "torch",
    "source",
    "next_larger_batch_tried_and_failed",
]


def table(folder, models):
    with (folder / "timm_train_rtx3090.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, TIMM_COLUMNS)
        writer.writeheader()
        for model in models:
            for layout in ("channels_last", "contiguous (NCHW)"):
                writer.writerow(
                    dict(
                        model=model,
                        img_size=224,
                        batch_size=64,
                        train_samples_per_s=640,
                        train_step_ms=100,
                        gpu="NVIDIA GeForce RTX 3090",
                        memory_format=layout,
                        torch="1.12",
                        source="s",
                        next_larger_batch_tried_and_failed="96",
                    )
                )


def test_the_order_of_the_raw_rows_does_not_matter(tmp_path):
    models = [
        f"{family}{size}" for family in ("resnet", "vit_", "xcit_", "volo_") for size in range(30)
    ]
    table(tmp_path, models)
    first = to_csv(curate_published.curate(tmp_path))
    table(tmp_path, models[::-1])
    assert to_csv(curate_published.curate(tmp_path)) == first


def test_families_take_turns_and_the_known_come_first(tmp_path):
    table(
        tmp_path,
        [
            "resnet50",
            "regnety_040s_gn",
            *(f"xcit_{i}" for i in range(200)),
            *(f"volo_{i}" for i in range(5)),
        ],
    )
    chosen = [
        c
        for c in curate_published.curate(tmp_path)
        if not c.oom and c.memory_format == "channels_last"
    ]
    assert len(chosen) == 62
    assert sum(c.family == "volo" for c in chosen) == 5
    models = {c.model for c in chosen}
    # timm no longer has it
    assert "timm:resnet50" in models and "timm:regnety_040s_gn" not in models


@pytest.fixture(scope="module")
def shipped():
    with SHIPPED.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_shipped_rows_have_an_id_a_source_and_a_figure(shipped):
    assert len({row["id"] for row in shipped}) == len(shipped) >= 300
    for row in shipped:
        assert row["source"] and row["trust"] in ("H", "M"), row["id"]
        assert row["step_seconds"] or row["peak_bytes"] or row["oom"] == "1", row["id"]
        assert bool(row["peak_bytes"]) == bool(row["memory"]), row["id"]
        assert row["measures"] in MEASURES and row["memory"] in ("", *MEMORIES), row["id"]


def test_shipped_rows_are_plausible(shipped):
    for case in from_rows(shipped):
        assert case.step_seconds is None or 1e-3 < case.step_seconds < 600, case.id
        assert all(2**26 < size < 200 * 2**30 for _, size in case.peaks), case.id
        assert case.micro_batch >= 1 and case.gpus >= 1 and case.accumulation >= 1, case.id
        if case.step_seconds and case.samples_per_second:
            whole = case.micro_batch * case.accumulation * case.gpus / case.step_seconds
            # timm's own rate holds zero_grad, its step does not
            assert case.samples_per_second == pytest.approx(whole, rel=0.1), case.id


def test_no_family_is_on_both_sides(shipped):
    sides = {}
    for row in shipped:
        sides.setdefault(row["family"], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert {row["split"] for row in shipped} == {"fit", "holdout"}


def test_shipped_table_is_what_the_program_writes_from_it(shipped):
    assert to_csv(from_rows(shipped)) == SHIPPED.read_text(encoding="utf-8")
