"""The later days of ``make test-dates`` share the quick tests: each runs on one of them, and none
is dropped."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_parts import VARIABLE, Part, is_left_out

ROOT = Path(__file__).parents[1]


@given(st.text(), st.integers(1, 9))
def test_every_test_is_in_exactly_one_part(name, parts):
    assert [Part(number, parts).holds(name) for number in range(1, parts + 1)].count(True) == 1


def collected(part: str | None, folder: Path) -> list[str]:
    """Names of the quick tests that a run of a part would run, in their order."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env.pop(VARIABLE, None)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q"]
    found = subprocess.run(
        [*command, "-o", "addopts=", "-m", "not slow", str(folder)],
        cwd=ROOT,
        env=env if part is None else {**env, VARIABLE: part},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in found.stdout.splitlines() if "::" in line]


def test_the_parts_of_a_folder_are_its_tests():
    """Through pytest itself: files, classes and parameters, in the order they had."""
    folder = ROOT / "tests" / "budget"
    whole, first, second = (collected(part, folder) for part in (None, "1/2", "2/2"))
    assert len(whole) > 10 and len(set(whole)) == len(whole)
    assert [name for name in whole if Part(1, 2).holds(name)] == first and first
    assert [name for name in whole if Part(2, 2).holds(name)] == second and second


def test_names_of_tests_fall_into_halves(request):
    names = [item.nodeid for item in request.session.items]
    if os.environ.get(VARIABLE) or len(names) < 1000:
        names = [f"tests/a/test_{number // 7}.py::test_b[{number}]" for number in range(4000)]
    first = sum(Part(1, 2).holds(name) for name in names)
    # a fair coin strays further in one of fifteen thousand runs
    assert abs(first - len(names) / 2) < 2 * len(names) ** 0.5


def test_the_later_days_of_make_are_all_parts_of_the_quick_tests():
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    rule = re.search(r"^test-dates:.*\n((?:\t.*\n)+)", made, re.MULTILINE)
    runs = [line for line in rule[1].splitlines() if "$(PYTEST)" in line]
    assert all(line.endswith('$(PYTEST) -m "not slow"') for line in runs)
    parts = [Part.told(re.search(rf"{VARIABLE}=(\S+)", line)[1]) for line in runs]
    assert sorted(part.number for part in parts) == list(range(1, parts[0].of + 1))
    assert {part.of for part in parts} == {len(runs)}
    days = [int(re.search(r"DAYS_AHEAD=(\d+)", line)[1]) for line in runs]
    assert len(set(days)) == len(runs) and min(days) >= 365


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "one/two", "1/2/3", "-1/2"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="part"):
        Part.told(text)


def test_the_mark_of_a_gpu_reads_only_files_that_have_it():
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    read = [file for file in files if not is_left_out(file, "gpu")]
    marked = [file for file in files if "pytest.mark.gpu" in file.read_text(encoding="utf-8")]
    assert 0 < len(read) < len(files) / 10 and set(marked) <= set(read)
    assert not any(is_left_out(file, marks) for file in files[:50] for marks in ("", "not slow"))
    assert not is_left_out(ROOT / "tests" / "conftest.py", "gpu")
