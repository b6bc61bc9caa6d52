"""The process that counts with a stranger's tokenizer, and its limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from planner.datasets.constants import constant
from planner.datasets.tokenizer.guarded import end_when_larger
from planner.errors import DataError

#: Threads of the library: each has memory of its own, and a machine may have hundreds of cores.
MOST_THREADS = 8


class Apart:
    """``entries``: of the vocabulary. The process ends with this object."""

    def __init__(self, file: Path) -> None:
        """Raises DataError for a file that is no tokenizer."""
        self._file = file
        self._seconds = float(constant("tokenizer_seconds"))
        self._megabytes = int(constant("tokenizer_megabytes"))
        self._process = _started(file, self._megabytes)
        weakref.finalize(self, _ended, self._process)
        watch = threading.Thread(
            target=end_when_larger, args=(self._process, self._megabytes * 2**20), daemon=True
        )
        watch.start()
        self.entries = int(self._answer("not a tokenizer", self._process.stdout))

    def ask(self, request: Mapping[str, Any], what: str) -> Any:
        """The answer to a request about ``what``. Raises DataError where there is none."""
        problem = f"the tokenizer cannot count {what}"
        stdin = self._process.stdin
        try:
            assert stdin is not None
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except (OSError, ValueError):
            pass  # it has ended, which its missing answer says
        return self._answer(problem, self._process.stdout)

    def _answer(self, problem: str, stdout: IO[bytes] | None) -> Any:
        assert stdout is not None
        late = threading.Event()
        timer = threading.Timer(self._seconds, lambda: (late.set(), self._process.kill()))
        timer.daemon = True
        timer.start()
        try:
            line = stdout.readline()
        finally:
            timer.cancel()
        if line:
            found = json.loads(line)
            if "ok" in found:
                return found["ok"]
            reason = found["error"]
        elif late.is_set():
            reason = f"it ran past {self._seconds:g} s"
        else:
            reason = f"it took more than {self._megabytes:,} MB, or gave up"
        raise DataError(
            f"{problem}: {reason}",
            where=str(self._file),
            mend="Save it anew with its library, or name another",
        )


def _started(file: Path, megabytes: int) -> subprocess.Popen[bytes]:
    program = Path(__file__).with_name("child.py")
    threads = min(MOST_THREADS, os.cpu_count() or 1)
    return subprocess.Popen(
        # -P: the folder of the program is no place to import from
        [sys.executable, "-P", str(program), str(file), str(megabytes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={
            **os.environ,
            "RAYON_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "true",
            "MALLOC_ARENA_MAX": "4",
        },
    )


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                continue
    process.wait()
