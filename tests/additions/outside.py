"""What the tests share: planner asked in a fresh process whose folders hold one thing more."""

import csv
import json
import os
import shutil
import subprocess
import sys

from planner import tables

QUESTION = ("own:make", "--samples", "1000", "--gpu", "t4", "--task", "image_classification")
#: A model that is recorded in a second: its file is written beside the question.
MODEL = """
import torch

def make():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 16), torch.nn.Linear(16, 10))
    batch = lambda B: {"x": torch.empty(B, 3, 2, 2), "y": torch.empty(B, dtype=torch.int64)}
    return net, batch, lambda m, b: torch.nn.functional.cross_entropy(m(b["x"]), b["y"])
"""
#: Runs a command line after code of the test, or after more folders for a package's files.
RUN = """
import importlib, sys
for package, folder in {folders!r}:
    importlib.import_module(package).__path__.append(folder)
{code}
from planner.cli.main import main
main(sys.argv[1:])
"""


def planner(tmp_path, *arguments, folders=(), code="", profiles=None):
    """The finished process of ``planner ARGUMENTS``. ``folders``: (package, folder) whose files are
    found with the package's own; ``code``: what runs before; ``profiles``: other shipped tables."""
    (tmp_path / "own.py").write_text(MODEL)
    own = {"PLANNER_CACHE": str(tmp_path / "cache")}
    own |= {"PLANNER_PROFILES": str(profiles)} if profiles else {}
    folders = [(package, str(folder)) for package, folder in folders]
    return subprocess.run(
        [sys.executable, "-c", RUN.format(folders=folders, code=code), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, **own},
    )


def answer(done) -> dict:
    """The document that a process printed."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def profiles_with(tmp_path, table: str, like: dict[str, str], **cells: str):
    """The shipped tables, where ``table`` has one row more: the one that is ``like`` that, but for
    ``cells``."""
    folder = tmp_path / "profiles"
    if not folder.exists():
        shutil.copytree(tables.root(), folder)
    path = folder / table
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    comments = [line for line in lines if line.startswith("#")]
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    model = next(row for row in rows if like.items() <= row.items())
    assert set(cells) <= set(model)
    with path.open("w", newline="", encoding="utf-8") as file:
        file.writelines(comments)
        writer = csv.DictWriter(file, list(model))
        writer.writeheader()
        writer.writerows([*rows, model | cells])
    return folder


def drop(tmp_path, kind: str, name: str, text: str):
    """A folder with one file, as somebody outside would write it."""
    folder = tmp_path / kind
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder
