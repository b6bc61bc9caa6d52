"""The table of families, and the process beside that may crash or hang."""

import os
import time

from benchmarks.coverage import (
    NOT_ASKED,
    Asked,
    Cell,
    _key,
    answers,
    document,
    kept_cells,
    measured,
    rows,
)
from benchmarks.isolated import each
from planner.question import TRAINING_STRATEGIES


def crash_at_two_hang_at_three(item):
    if item == 2:
        os._exit(7)
    if item == 3:
        time.sleep(600)
    return item * 10


def test_a_crash_and_a_hang_are_lines_and_the_rest_goes_on():
    found = list(each(crash_at_two_hang_at_three, [1, 2, 3, 4], limit=1.0))
    assert found[0] == (1, 10, None)
    assert found[1] == (2, None, "CRASH: its process ended with 7")
    assert found[2] == (3, None, "not done after 1 s")
    assert found[3] == (4, 40, None)


def test_no_cell_of_the_document_is_blank_and_refusals_are_spelt_out_once():
    strategies = list(TRAINING_STRATEGIES)
    row = next(row for row in rows() if row["model"] == "resnet50")
    cells = {(row["family"], name): Cell(refusal="no place for it") for name in strategies}
    cells[row["family"], "fine_tune"] = Cell(3 * 2**30, 0.25, 32)
    text = document(cells, strategies)
    line = next(part for part in text.splitlines() if part.startswith(f"| {row['family']}"))
    assert all(cell.strip() for cell in line.strip("|").split("|"))
    assert "✓ 3.0 GiB, 0.25 s × 32; 73 steps" in line
    assert text.count("no place for it") == 1
    assert f"1 of {len(strategies)} cells" in text


def test_what_was_measured_is_counted_by_family_task_and_strategy():
    resnet = next(row for row in rows() if row["model"] == "resnet50")
    assert measured(resnet, "qlora") == "not measured"
    assert measured(resnet, "fine_tune").endswith("steps")


def asked_of(strategy):
    return Asked(next(row for row in rows() if row["model"] == "resnet50"), strategy)


def test_finished_cells_are_kept_and_trouble_is_asked_again(tmp_path):
    file = tmp_path / "cells.jsonl"
    kept_cells(file).put(_key(asked_of("lora")), Cell(refusal="no place for it"))
    kept_cells(file).put(_key(asked_of("qlora")), Cell(refusal="CRASH: its process ended with 7"))
    kept = kept_cells(file)
    assert kept.get(_key(asked_of("lora"))) == Cell(refusal="no place for it")
    assert kept.get(_key(asked_of("qlora"))) is None
    assert kept.get(_key(asked_of("scratch"))) is None


def test_nothing_is_asked_with_no_time_for_it_and_that_is_said(tmp_path):
    file = tmp_path / "cells.jsonl"
    kept_cells(file).put(_key(asked_of("lora")), Cell(2**30, 0.5, 8))
    cells = answers([asked_of("lora"), asked_of("qlora")], kept_cells(file), limit=0)
    text = document(cells, ["lora", "qlora"])
    assert "1 were not asked yet" in text and NOT_ASKED in text
