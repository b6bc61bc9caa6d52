"""A pipe in the place of a file is refused at once: nobody may ever write to it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

RUN = [sys.executable, "-m", "planner.cli.main"]
SMALL = ["--samples", "5", "--tokens-per-sample", "5", "--strategy", "lora", "--offline", "-q"]
COMMANDS = {
    "a device profile": ["estimate", "gpt2", *SMALL, "--gpu", "./pipe.json"],
    "a project": ["estimate", "pipe.yaml", "--offline"],
    "data": ["estimate", "gpt2", "pipe.jsonl", "--gpu", "l4", "--offline"],
    "a log": ["runs", "import", "pipe.json"],
    "an answer": ["diff", "pipe.json", "pipe.json"],
    "a profiler's trace": ["compare", "gpt2", "--trace", "pipe.json", *SMALL, "--gpu", "l4"],
    "a grid": ["sweep", "pipe.yaml", "-o", "answers.csv"],
    "a tool's file": ["convert", "pipe.yaml"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_pipe_is_refused_at_once(tmp_path, command):
    for name in ("pipe.json", "pipe.yaml", "pipe.jsonl"):
        os.mkfifo(tmp_path / name)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [*RUN, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("planner: ")
