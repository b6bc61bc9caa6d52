"""The options of an answer as a table: a row each, units in names, no text that a spreadsheet
runs."""

import csv
import io
import json

import pytest
from made_budget import HOSTILE, sample_answer, with_budget

from planner.report.formats.csv_table import options
from planner.report.formats.registry import formats_of
from planner.units import GIB

#: Others read these names: a column may be added, none goes or changes its name.
PROMISED = {
    *("strategy", "variant", "recommended", "gpu", "gpus", "provider", "fits", "basis"),
    *(f"{name}_p50" for name in ("usd", "wall_hours", "gpu_hours", "memory_gib", "energy_kwh")),
    *("usd_p10", "usd_p90", "usd_per_gpu_hour", "price_date", "project_low_usd", "training_hours"),
    *("epochs", "steps", "micro_batch", "global_batch", "max_usd_kept", "co2_kg_p50"),
}


def rows(answer):
    return list(csv.DictReader(io.StringIO(options(answer))))


def test_each_option_is_a_row_with_the_documents_figures():
    answer = sample_answer()
    made = rows(answer)
    assert set(made[0]) >= PROMISED
    assert len(made) == len(answer["options"]) > 5
    for row, option in zip(made, answer["options"]):
        assert row["strategy"] == option["strategy"]
        for key in ("p10", "p50", "p90"):
            for name, part in (("usd", "cost"), ("wall_hours", "run"), ("gpu_hours", "run")):
                figure = (option[part] or {}).get(name)
                assert row[f"{name}_{key}"] == ("" if figure is None else repr(figure[key]))
            held = (option["memory"] or {}).get("device_used_bytes")
            cell = row[f"memory_gib_{key}"]
            assert cell == "" if held is None else float(cell) * GIB == pytest.approx(held[key])


def test_the_recommended_option_is_marked_once():
    marked = [
        row["strategy"] for row in rows(with_budget(sample_answer())) if row["recommended"] == "1"
    ]
    assert marked == ["lora"]
    assert not [r for r in rows(with_budget(sample_answer(), at=None)) if r["recommended"] == "1"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_is_run_as_a_formula(text):
    for row in rows(with_budget(sample_answer(), hostile=text)):
        for name, cell in row.items():
            assert not cell.startswith(("=", "+", "@", "\t", "\r", "\n")), (name, cell)
            if cell.startswith("-"):
                float(cell)
            assert "\x1b" not in cell and "\x00" not in cell


def test_json_is_the_document_itself():
    document = with_budget(sample_answer())
    assert json.loads(formats_of("answer")[".json"].render(document)) == document
