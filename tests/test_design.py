"""docs/design.md speaks of files and names that are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DESIGN = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)", DESIGN)))
#: "2 plan/inputs/problem.py   understand() → Problem   …": a step of the road, its file, its names.
ROAD = DESIGN[DESIGN.index("## The road") : DESIGN.index("## The folders")]
STEPS = re.findall(r"^[ \d]\d? +([a-z_]+/[a-z_/]+\.py) {2,}(\S.*?) {2,}", ROAD, re.MULTILINE)


@pytest.mark.parametrize("path", PATHS)
def test_a_file_that_the_design_names_is_there(path):
    places = [ROOT / path, *(ROOT / "planner").glob(f"**/{path}")]
    assert any(place.is_file() for place in places)


def defined(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    imported = (ast.Import, ast.ImportFrom)
    names = {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
    for node in ast.walk(tree):
        if isinstance(node, imported):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("path, names", STEPS)
def test_a_step_of_the_road_defines_what_it_is_said_to(path, names):
    wanted = re.findall(r"[A-Za-z_]\w*", names)
    assert wanted and set(wanted) <= defined(ROOT / "planner" / path)


def test_the_road_is_whole():
    assert len(STEPS) >= 12 and len(PATHS) >= 20
