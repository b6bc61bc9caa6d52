"""Tests neither see nor change what the user measured on this machine, and give the same answers on
every day, alone or beside others."""

import os
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# how fast a machine draws and runs examples is no fault of what is tested
usual = settings.get_profile(settings.get_current_profile_name())
settings.register_profile(
    "planner",
    usual,
    # on a later day some examples tell whether a test looks at the clock: all ran on this one
    max_examples=20 if os.environ.get("PLANNER_TEST_DAYS_AHEAD") else usual.max_examples,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("planner")

sys.path.insert(0, str(Path(__file__).parent))
from run_parts import VARIABLE as PART  # noqa: E402
from run_parts import Part, is_left_out  # noqa: E402

#: The day that every test and every command that it starts answers as of. It moves on when prices
#: of a later day are shipped.
DAY = "2026-11-28"
#: Each process of a parallel run has one of its own.
_HOME = tempfile.mkdtemp(prefix="planner-tests-")
_AHEAD = Path(__file__).parent / "ahead"

for _name in ("DEVICES", "LEDGER", "PRICES"):
    os.environ[f"PLANNER_{_name}"] = os.path.join(
        _HOME, "runs.sqlite" if _name == "LEDGER" else _name.lower()
    )
os.environ["PLANNER_TODAY"] = DAY
# a slow machine would say how far it is between the lines that tests compare
os.environ["PLANNER_PROGRESS"] = "never"
# the suite has a process a core already
os.environ["PLANNER_PROCESSES"] = "1"
# a pipe is as wide here as everywhere, whatever terminal the tests are started from
os.environ.pop("COLUMNS", None)
# As many processes as cores (make test): one thread of torch each, they would wait for each other.
if os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# make test-dates: a test that asks the system's clock sees another day, and must pass
if os.environ.get("PLANNER_TEST_DAYS_AHEAD"):
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(_AHEAD), os.environ.get("PYTHONPATH")])
    )
    runpy.run_path(str(_AHEAD / "sitecustomize.py"))


def pytest_ignore_collect(collection_path, config):
    """``-m gpu`` reads the few files that have such tests: to import all others takes longer than
    to run these."""
    return True if is_left_out(collection_path, config.option.markexpr) else None


def pytest_collection_modifyitems(config, items) -> None:
    """Of the tests only those of the part that is asked for."""
    if os.environ.get(PART):
        part = Part.told(os.environ[PART])
        others = [item for item in items if not part.holds(item.nodeid)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if part.holds(item.nodeid)]


def pytest_unconfigure() -> None:
    """The folders above, removed at the end; commands that tests start inherit them."""
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture
def the_system_day(monkeypatch):
    """Answers are as of the system's date, as they are for the user."""
    monkeypatch.delenv("PLANNER_TODAY")
