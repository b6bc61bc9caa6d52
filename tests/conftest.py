"""Tests neither see nor change what the user measured on this machine."""

import os
import tempfile

import pytest

_HOME = tempfile.mkdtemp(prefix="planner-tests-")
for _name in ("DEVICES", "LEDGER", "PRICES"):
    os.environ[f"PLANNER_{_name}"] = os.path.join(_HOME, "runs.sqlite" if _name == "LEDGER" else _name.lower())


@pytest.fixture(scope="session", autouse=True)
def _a_home_of_its_own():
    """The folders above, removed at the end; commands that tests start inherit them."""
    yield
    import shutil

    shutil.rmtree(_HOME, ignore_errors=True)
