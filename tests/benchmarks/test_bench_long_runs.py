"""Long runs beside published ones, and two real processes: what their pages say."""

from pathlib import Path

import pytest

from benchmarks import long_runs, real_parallel
from planner.cost.reliability.failures import systems
from planner.figures import Estimate

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_command_writes():
    """The seed is fixed, and so is every figure."""
    assert (ROOT / "docs" / "long_runs.md").read_text(encoding="utf-8") == long_runs.page()


def test_no_system_predicts_itself():
    for one in systems():
        others = [s.failures_per_device_hour for s in systems() if s is not one]
        rate = long_runs.rate_without(one)
        assert min(others) <= rate.p10 <= rate.p50 <= rate.p90 <= max(others)


def test_more_failures_leave_less_work():
    llama = next(one for one in systems() if one.name == "llama-3.1-405b")
    few, many = (long_runs.goodput(llama, Estimate.exact(rate)) for rate in (1e-6, 1e-4))
    assert few.share > many.share and few.failures < many.failures


def test_a_row_of_two_processes_is_inside_its_range_or_not():
    planned = {"p10": 0.1, "p50": 0.2, "p90": 0.3}
    rows = [real_parallel.Row("llama", "fsdp", planned, took, 0.15) for took in (0.25, 0.4)]
    assert [row.is_inside for row in rows] == [True, False]
    assert rows[0].error == pytest.approx(-0.2)
    text = real_parallel.page(rows, 60)
    assert "| llama | fsdp | 200.0 (100.0 to 300.0) | 250.0 | -20% | yes | 150.0 |" in text
    assert "| 400.0 | -50% | no |" in text
