"""The path of the data is the direction of the imports, and the fast path stays free of heavy libraries."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "planner"
ROOMS = ("question", "datasets", "models", "strategies", "trace", "devices", "cluster", "calibrate", "cost", "plan", "ledger", "report", "cli")
SHARED = ("units", "figures", "errors", "profiles", "today", "__version__")


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"planner.{a.name}" for a in node.names] if node.module == "planner" else [node.module]
        found |= {name.split(".")[1] for name in names if name.startswith("planner.")}
    return found


FILES = [f for f in PACKAGE.rglob("*.py") if f.name != "__init__.py" or f.parent != PACKAGE]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_run_with_the_data(file):
    own = room_of(file)
    allowed = set(SHARED) if own in SHARED else set(SHARED) | set(ROOMS[: ROOMS.index(own) + 1])
    assert imports_of(file) <= allowed, f"{file.name} imports a room to its right"


#: What gives the system's date, and what does so only where it is called with fewer arguments than this.
CLOCKS = {"datetime.date.today", "datetime.datetime.today", "datetime.datetime.now", "datetime.datetime.utcnow", "time.time", "time.time_ns", "time.clock_gettime"}
CLOCKS_UNLESS_GIVEN = {"time.gmtime": 1, "time.localtime": 1, "time.ctime": 1, "time.asctime": 1, "time.strftime": 2}


def clocks_asked(code: str) -> set[str]:
    """Full names of the calls that give the system's date, under whatever name they were imported."""
    tree, full = ast.parse(code), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    found = set()
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        first, dot, rest = ast.unparse(call.func).partition(".")
        name = full.get(first, first) + dot + rest
        if name in CLOCKS or len(call.args) < CLOCKS_UNLESS_GIVEN.get(name, 0):
            found.add(name)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_one_file_asks_what_day_it_is(file):
    allowed = {"datetime.datetime.now", "datetime.date.today"} if file == PACKAGE / "today.py" else set()
    assert clocks_asked(file.read_text()) == allowed


@pytest.mark.parametrize("code", [
    "import datetime\ndatetime.date.today()", "from datetime import date as day\nday.today()", "import time as t\nt.time()", "from time import time\ntime()",
    "from datetime import datetime\ndatetime.utcnow()", "import datetime as d\nd.datetime.now(d.UTC)", "import time\ntime.strftime('%Y')"])
def test_a_clock_is_found_under_every_name(code):
    assert clocks_asked(code)


@pytest.mark.parametrize("code", [
    "import time\ntime.monotonic()", "from datetime import date\ndate.fromisoformat('2026-11-28')", "from planner.today import today\ntoday()",
    "import time\ntime.strftime('%Y', time.gmtime(0))"])
def test_what_only_converts_is_no_clock(code):
    assert not clocks_asked(code)


def test_every_room_of_the_design_is_there():
    document = (PACKAGE.parent / "docs" / "design.md").read_text()
    for room in ROOMS:
        assert (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file()
        assert f"`{room}`" in document or f"**{room}**" in document


def test_a_question_needs_no_heavy_import():
    code = ("import sys\nfrom planner.answer.estimate import estimate\n"
            "answer = estimate('Llama-3.2-1B', samples=1000, tokens_per_sample=300, gpu='h100-sxm')\n"
            "assert answer['options']\nheavy = {'torch', 'transformers', 'pandas', 'peft', 'timm', 'datasets', 'pyarrow'} & set(sys.modules)\n"
            "assert not heavy, heavy")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]
