"""Templates of strangers are rendered by a process of its own, which is given time and memory and
no more: the sandbox keeps a template from the machine, not from running forever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.datasets.constants import constant
from planner.datasets.tokenizer.guarded import end_when_larger
from planner.errors import DataError


def render_apart(job: Mapping[str, Any], where: str) -> dict[str, Any]:
    """As ``environment.render_all``. Raises DataError for a template that takes too long, too much
    memory, or cannot be compiled."""
    seconds, megabytes = int(constant("template_seconds")), int(constant("template_megabytes"))
    program = Path(__file__).with_name("environment.py")
    # -P: the folder of the program is no place to import from
    command = [sys.executable, "-P", str(program), str(megabytes), str(seconds)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    watch = threading.Thread(target=end_when_larger, args=(process, megabytes * 2**20), daemon=True)
    watch.start()
    try:
        out, _ = process.communicate(json.dumps(job).encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise DataError(f"the chat template ran past {seconds} s", where=where) from None
    if process.returncode:
        raise DataError(
            f"the chat template was stopped: it took more than {megabytes:,} MB or {seconds} s, "
            "or failed",
            where=where,
        )
    return json.loads(out)
