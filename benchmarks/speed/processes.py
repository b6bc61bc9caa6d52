"""A question as a process of its own: how long it takes, what memory it and its children hold, and
which heavy libraries they import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAIN = "import sys; from planner.cli.main import main; sys.exit(main())"
HEAVY = ("torch", "transformers", "pandas")
GIVEN_UP_SECONDS, SAMPLED_EVERY_SECONDS = 400.0, 0.02


@dataclass(frozen=True)
class Process:
    """One process that has ended. ``complaint``: the last line of its errors."""

    seconds: float
    user_seconds: float
    peak_rss_bytes: int
    exit_code: int
    complaint: str


@dataclass(frozen=True)
class Watched:
    """What a process that nobody timed was seen to do. ``peak_bytes``: of it and of all processes
    that it started, pages that they share counted once (sampled)."""

    heavy: tuple[str, ...]
    peak_bytes: int
    exit_code: int


def command(*arguments: str) -> list[str]:
    """The installed ``planner``, or the module where only the checkout is there."""
    script = Path(sys.executable).with_name("planner")
    return (
        [str(script), *arguments] if script.exists() else [sys.executable, "-c", MAIN, *arguments]
    )


def measure(line: list[str], environment: dict[str, str]) -> Process:
    """Run a process to its end, or end it after ``GIVEN_UP_SECONDS``."""
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            line, stdout=subprocess.DEVNULL, stderr=errors, cwd=ROOT, env=environment
        )
        patience = threading.Timer(GIVEN_UP_SECONDS, process.kill)
        patience.start()
        _, status, usage = os.wait4(process.pid, 0)
        patience.cancel()
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        lines = errors.read().decode(errors="replace").strip().splitlines()
    return Process(
        seconds,
        usage.ru_utime,
        usage.ru_maxrss * 1024,
        process.returncode,
        lines[-1] if lines else "",
    )


def watch(arguments: tuple[str, ...], environment: dict[str, str]) -> Watched:
    """Run a question with the interpreter's own report of imports, and sample its memory."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-c", MAIN, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=ROOT,
            env=environment,
        )
        peak, start = 0, time.monotonic()
        while process.poll() is None:
            peak = max(peak, held_bytes(process.pid))
            if time.monotonic() - start > GIVEN_UP_SECONDS:
                process.kill()
            time.sleep(SAMPLED_EVERY_SECONDS)
        errors.seek(0)
        report = errors.read().decode(errors="replace")
    return Watched(_heavy(report), peak, process.returncode)


def heavy_imports(arguments: tuple[str, ...], environment: dict[str, str]) -> list[str]:
    """Which of the heavy libraries the process of a question imports."""
    return list(watch(arguments, environment).heavy)


def _heavy(report: str) -> tuple[str, ...]:
    seen = {
        match[1].split(".")[0]
        for match in re.finditer(r"^import time:.*\|\s*([\w.]+)\s*$", report, re.MULTILINE)
    }
    if "planner" not in seen:
        raise SystemExit(f"the imports could not be read: {report[-300:]}")
    return tuple(sorted(seen & set(HEAVY)))


def held_bytes(pid: int) -> int:
    """Bytes of a process and of those below it, shared pages in equal parts (Linux; 0 where the
    system does not say)."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return (int(own[1]) * 1024 if own else 0) + sum(held_bytes(int(child)) for child in children)
