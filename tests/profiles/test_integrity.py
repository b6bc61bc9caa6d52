"""Every row of every shipped table holds its invariants, and every table has its invariants
registered."""

import csv
import datetime
from pathlib import PurePath

import pytest
import table_rules
from table_checks import CHECKS

from planner import tables
from planner.today import system_date

TABLES = sorted(tables.root().rglob("*.csv"))


def read(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(line for line in handle if not line.startswith("#")))


def pattern_for(path):
    relative = path.relative_to(tables.root())
    for pattern in CHECKS:
        folder, _, rest = pattern.partition("/**/")
        if rest and relative.parts[0] == folder and relative.match(rest):
            return pattern
        if not rest and PurePath(pattern).parent == relative.parent and relative.match(pattern):
            return pattern
    return None


@pytest.mark.parametrize("path", TABLES, ids=lambda path: str(path.relative_to(tables.root())))
def test_every_table_has_registered_checks(path):
    assert pattern_for(path), f"register {path.name} in tests/profiles/table_checks.py"


@pytest.mark.parametrize("path", TABLES, ids=lambda path: str(path.relative_to(tables.root())))
def test_rows_hold_their_invariants(path):
    rows = read(path)
    checks = CHECKS.get(pattern_for(path), table_rules.GENERIC)
    wrong = [finding for check in checks for finding in check(path, rows)]
    assert not wrong, "\n".join(wrong[:20])


def test_every_registered_file_exists():
    for pattern in CHECKS:
        if "*" not in pattern:
            assert tables.path(*pattern.split("/")).is_file(), pattern


def test_gpu_names_are_all_used():
    used = {
        (row["gpu"], row["gpu_mem_gib"])
        for path in tables.path("prices").glob("*.csv")
        if path.name != "gpu_names.csv"
        for row in read(path)
    }
    assert {
        (row["gpu"], row["gpu_mem_gib"]) for row in tables.rows("prices", "gpu_names.csv")
    } == used


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"fp16_tflops": "1979"}, "exceeds"),
        ({"memory_gib_visible": "90"}, "exceeds"),
        ({"sources": ""}, "no source"),
        ({"checked_date": "2999-01-01"}, "future"),
        ({"bf16_tflops": "10"}, "exceeds"),
        ({"fp8_tflops": "3958"}, "exceeds"),
    ],
)
def test_checks_catch_a_spoilt_gpu_row(change, complaint):
    path = tables.path("gpus", "gpus.csv")
    row = {**next(row for row in read(path) if row["key"] == "h100-sxm"), **change}
    found = [finding for check in CHECKS["gpus/gpus.csv"] for finding in check(path, [row])]
    assert any(complaint in finding for finding in found)


@pytest.mark.parametrize(
    "change",
    [
        {"spot_usd_per_instance_hour": "999"},
        {"usd_per_instance_hour": "-1"},
        {"gpu": "GPU of nobody"},
        {"captured_date": ""},
        {"captured_date": "2999-01-01"},
        {"usd_per_gpu_hour": "1"},
        {"provider": "azure"},
        {"source": ""},
    ],
)
def test_checks_catch_a_spoilt_price_row(change):
    path = tables.path("prices", "aws.csv")
    row = {**next(row for row in read(path) if row["instance_type"] == "p5.48xlarge"), **change}
    assert [finding for check in table_rules.PRICES for finding in check(path, [row])]


@pytest.mark.parametrize("days, wrong", [(-1, False), (2, True)])
def test_a_row_of_the_future_is_one_after_the_systems_day_whatever_day_the_tests_answer_as_of(
    days, wrong, monkeypatch
):
    monkeypatch.setenv("PLANNER_TODAY", "2001-02-03")
    day = (system_date() + datetime.timedelta(days=days)).isoformat()
    path = tables.path("prices", "aws.csv")
    row = {
        **next(row for row in read(path) if row["instance_type"] == "p5.48xlarge"),
        "captured_date": day,
    }
    assert (
        bool(table_rules.date_if_any_not_future(path, [row]))
        is bool(table_rules.dated("captured_date")(path, [row]))
        is wrong
    )
