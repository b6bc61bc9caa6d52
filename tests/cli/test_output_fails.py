"""Standard output that is full or closed: one line, and the exit code of a machine that failed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ASKED = ["estimate", "gpt2", "--samples", "5", "--tokens-per-sample", "5", "--gpu", "rtx-4090"]
RUN = [sys.executable, "-m", "planner.cli.main"]
LINE = "planner: the answer could not be written: "


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("planner:")]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("form", [[], ["--json"], ["--details"]])
def test_a_full_disk_is_one_line(form):
    with open("/dev/full", "w") as full:
        command = [*RUN, *ASKED, "--strategy", "lora", "--offline", *form]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert lines(done) == [LINE + "No space left on device"]
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.parametrize("stream", ["1>&-", "1>&- 2>&-"])
def test_a_closed_output_is_no_traceback(stream):
    words = " ".join([*RUN, *ASKED, "--strategy", "lora", "--offline"])
    done = subprocess.run(["bash", "-c", f"{words} {stream}"], capture_output=True, text=True)
    assert done.returncode == 3 and "Traceback" not in done.stderr
    if "2>" not in stream:
        assert lines(done) == [LINE + "standard output is closed"]
