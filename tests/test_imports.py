"""The path of the data is the direction of the imports, and the fast path stays free of heavy
libraries.

Late imports inside functions and those under ``TYPE_CHECKING`` count like any other: what a file
needs is what it names.
"""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "planner"
#: What everyone may import.
SHARED = (
    "version",
    "errors",
    "files",
    "blame",
    "first_lines",
    "units",
    "figures",
    "today",
    "moment",
    "deferred",
    "tables",
    "tasks",
    "registry",
    "libraries",
)
#: Folders in the order of the path: a file imports from those before its own and from its own.
ROOMS = (
    "question",
    "datasets",
    "models",
    "training",
    "trace",
    "operations",
    "devices",
    "memory",
    "step_time",
    "parallel",
    "uncertainty",
    "cost",
    "ledger",
    "calibrate",
    "plan",
    "answer",
    "choose",
    "budget",
    "explain",
    "diff",
    "compare",
    "measure",
    "recording",
    "recipe",
    "validate",
    "report",
    "api",
    "serve",
    "cli",
)
#: Where all before is too much.
ONLY = {
    "question": (),
    "ledger": ("question",),
    "memory": ("question", "datasets", "models", "training", "trace", "operations", "devices"),
    "step_time": ("question", "datasets", "models", "training", "trace", "operations", "devices"),
    "parallel": (
        "question",
        "datasets",
        "models",
        "training",
        "trace",
        "operations",
        "devices",
        "memory",
        "step_time",
    ),
    "uncertainty": ("question", "datasets", "models", "training", "trace", "operations", "devices"),
    "cli": (
        "question",
        "datasets",
        "devices",
        "uncertainty",
        "cost",
        "ledger",
        "calibrate",
        "answer",
        "choose",
        "budget",
        "explain",
        "diff",
        "compare",
        "measure",
        "recipe",
        "validate",
        "report",
        "serve",
    ),
}
#: What a folder never imports of its own.
NEVER = {
    "report.views": "planner.report.formats",
    "training.strategies": "planner.training.registry",
    "operations.kinds": "planner.operations.registry",
}
#: A folder holds about 14 files; one that lists commands or rows of a kind grows with them.
MOST_FILES, LISTS = (
    14,
    (
        "cli/commands",
        "models/building/tasks",
        "datasets/readers",
        "training/strategies",
        "operations/kinds",
        "ledger/importers",
        "question/importers",
        "report/formats",
    ),
)
MOST_LINES = 400


def module_of(file: Path) -> str:
    return ".".join(("planner", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    )


FILES = {module_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}
INSIDE = [name for name in FILES if name != "planner"]


def room_of(module: str) -> str:
    return module.split(".")[1]


@cache
def imports_of(module: str) -> frozenset[str]:
    """Modules of the package that a file names in an import, wherever it stands."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} line {node.lineno}: name the package in the import"
            found |= {
                full if (full := f"{node.module}.{alias.name}") in FILES else node.module
                for alias in node.names
            }
    return frozenset(name for name in found if name.partition(".")[0] == "planner")


@pytest.mark.parametrize("module", INSIDE)
def test_imports_run_with_the_data(module):
    own = room_of(module)
    before = set() if own in SHARED else set(ONLY.get(own, ROOMS[: ROOMS.index(own)])) | {own}
    allowed = before | set(SHARED)
    strangers = sorted(
        name for name in imports_of(module) if name == "planner" or room_of(name) not in allowed
    )
    assert not strangers, f"{module} imports {', '.join(strangers)}, which its folder may not"
    for part, forbidden in NEVER.items():
        if module.startswith(f"planner.{part}."):
            assert not [name for name in imports_of(module) if name.startswith(forbidden)]


def circles() -> list[list[str]]:
    """Groups of files that import each other in a circle (Tarjan's strongly connected
    components)."""
    order, low, stack, found = {}, {}, [], []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for target in imports_of(module):
            if target in FILES and target not in order:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], order[target])
        if low[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in FILES:
        if module not in order:
            visit(module)
    return found


def test_no_two_files_import_each_other_in_a_circle():
    assert not circles()


def test_every_folder_can_be_overlooked():
    folders = {}
    for file in FILES.values():
        if file.name != "__init__.py":
            folders.setdefault(file.parent.relative_to(PACKAGE).as_posix(), []).append(file.name)
    crowded = {
        name: len(files)
        for name, files in folders.items()
        if len(files) > MOST_FILES and name not in LISTS
    }
    assert not crowded, f"folders that ask for a sub-folder: {crowded}"
    long = [
        module
        for module, file in FILES.items()
        if len(file.read_text(encoding="utf-8").splitlines()) > MOST_LINES
    ]
    assert not long, f"files of more than {MOST_LINES} lines: {long}"


def test_every_folder_stands_in_the_order_and_in_the_design():
    folders = {
        file.parent.relative_to(PACKAGE).parts[0]
        for file in FILES.values()
        if file.parent != PACKAGE
    }
    assert folders == set(ROOMS)
    assert {file.stem for file in FILES.values() if file.parent == PACKAGE} == {*SHARED, "__init__"}
    document = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    assert not [room for room in ROOMS if f"{room}/" not in document]


def test_a_question_needs_no_heavy_import():
    code = (
        "import sys\nfrom planner import estimate\n"
        "answer = estimate('Llama-3.2-1B', samples=1000, tokens_per_sample=300, gpu='h100-sxm')\n"
        "assert answer['options']\nheavy = {'torch', 'transformers', 'pandas', 'peft', 'timm', "
        "'datasets', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]


def test_scripts_from_before_the_move_still_find_their_callbacks():
    from planner.ledger.trainer_callback import PlannerCallback as before
    from planner.recording.trainer_callback import PlannerCallback as after

    assert before is after


#: What gives the system's date, and what does so only where it is called with fewer arguments than
#: this.
CLOCKS = {
    "datetime.date.today",
    "datetime.datetime.today",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "time.time",
    "time.time_ns",
    "time.clock_gettime",
}
CLOCKS_UNLESS_GIVEN = {
    "time.gmtime": 1,
    "time.localtime": 1,
    "time.ctime": 1,
    "time.asctime": 1,
    "time.strftime": 2,
}


def clocks_asked(code: str) -> set[str]:
    """Full names of the calls that give the system's date, under whatever name they were
    imported."""
    tree, full = ast.parse(code), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            full |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
    found = set()
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        first, dot, rest = ast.unparse(call.func).partition(".")
        name = full.get(first, first) + dot + rest
        if name in CLOCKS or len(call.args) < CLOCKS_UNLESS_GIVEN.get(name, 0):
            found.add(name)
    return found


@pytest.mark.parametrize("module", FILES)
def test_one_file_asks_what_day_it_is(module):
    today = module == "planner.today"
    allowed = {"datetime.datetime.now", "datetime.date.today"} if today else set()
    assert clocks_asked(FILES[module].read_text(encoding="utf-8")) == allowed


@pytest.mark.parametrize(
    "code",
    [
        "import datetime\ndatetime.date.today()",
        "from datetime import date as day\nday.today()",
        "import time as t\nt.time()",
        "from time import time\ntime()",
        "from datetime import datetime\ndatetime.utcnow()",
        "import datetime as d\nd.datetime.now(d.UTC)",
        "import time\ntime.strftime('%Y')",
    ],
)
def test_a_clock_is_found_under_every_name(code):
    assert clocks_asked(code)


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.monotonic()",
        "from datetime import date\ndate.fromisoformat('2026-11-28')",
        "from planner.today import today\ntoday()",
        "import time\ntime.strftime('%Y', time.gmtime(0))",
    ],
)
def test_what_only_converts_is_no_clock(code):
    assert not clocks_asked(code)
