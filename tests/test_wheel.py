"""The wheel answers by itself: built, installed into an empty environment, asked far from the
checkout. Only the libraries it depends on are lent from the environment of the tests."""

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
QUESTION = ("Llama-3.2-1B", "--samples", "1000", "--tokens-per-sample", "200", "--gpu", "h100-sxm")
#: What a wheel can forget, since no import misses it.
CARRIED = (
    "planner/py.typed",
    "planner/recipe/templates/causal_lm.py.jinja",
    "planner/_profiles/gpus/gpus.csv",
    "planner/_profiles/traces/shipped.csv",
    "planner/_profiles/examples/support_tickets.jsonl",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed"
    ),
]


def run(*command, **more) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (found,) = folder.glob("planner-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder of an environment's programs. A ``.pth`` lends it the libraries; those of the
    lender, the checkout's among them, do not count in it."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel
    )
    place = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(place, "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


@pytest.fixture
def away(tmp_path, monkeypatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return environment | {"PLANNER_CACHE": str(tmp_path / "cache"), "COLUMNS": "100"}


def test_tables_templates_and_types_are_inside(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert not [name for name in CARRIED if name not in names]
    templates = {
        str(file.relative_to(ROOT)) for file in ROOT.glob("planner/report/formats/templates/*")
    }
    assert templates and templates <= names
    tables = {
        f"planner/_profiles/{file.relative_to(ROOT / 'profiles')}"
        for file in (ROOT / "profiles").rglob("*.csv")
    }
    assert tables and tables <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/"))]


def test_it_answers_without_the_checkout(installed, away):
    where = run(installed / "python", "-c", "import planner; print(planner.__file__)", env=away)
    assert Path(where.strip()).is_relative_to(installed.parent)
    answer = json.loads(run(installed / "planner", "estimate", *QUESTION, "--json", env=away))
    lora = next(one for one in answer["options"] if one["strategy"] == "lora")
    assert lora["fits"] and lora["cost"]["usd"]["p50"] > 0


def test_its_report_is_the_checkouts(installed, away, tmp_path):
    """Templates, tables and traces of the wheel give the page that the checkout gives."""
    for program, name in ((installed / "python", "wheel"), (sys.executable, "checkout")):
        environment = away | ({"PYTHONPATH": str(ROOT)} if name == "checkout" else {})
        page = tmp_path / f"{name}.html"
        run(program, "-m", "planner.cli.main", "report", *QUESTION, "-o", page, env=environment)
    pages = [(tmp_path / f"{name}.html").read_text() for name in ("wheel", "checkout")]
    assert "<html" in pages[0] and pages[0] == pages[1]
