"""What surrounds the steps on this host, beside the loader: how long a training process imports its
libraries, and how fast a checkpoint is written. Records of kind ``fact``."""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from planner.calibrate.journal import Record

#: A file that is past what a disk's own cache swallows at once, and yet short.
FILE_BYTES = 64 * 2**20
PARTS = 16
ROUNDS = 3
#: Importing takes longer than a short calibration has.
LEAST_SECONDS, MOST_SECONDS = 8.0, 120.0
LIBRARIES = ("torch", "datasets", "transformers")
OF_TRANSFORMERS = (
    "from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments"
)


def measure_surroundings(seconds: float) -> Iterator[Record]:
    """``write_bytes_per_s`` of the temporary folder (TMPDIR), flushed to its disk, and, where there
    are ``LEAST_SECONDS``, ``import_seconds`` of a process of its own; what cannot be measured has
    no record."""
    written = write_bytes_per_s()
    if written is not None:
        yield _fact("write_bytes_per_s", written, "B/s", bytes=FILE_BYTES)
    if seconds >= LEAST_SECONDS:
        imported = import_seconds()
        if imported is not None:
            yield _fact("import_seconds", imported, "s", libraries=list(_installed()))


def write_bytes_per_s() -> float | None:
    """Of a file of tensors, the median of some rounds; None where it cannot be written."""
    import torch

    tensors = {str(part): torch.rand(FILE_BYTES // PARTS // 4) for part in range(PARTS)}
    found = []
    for _ in range(ROUNDS):
        try:
            with tempfile.NamedTemporaryFile(suffix=".pt") as file:
                start = time.perf_counter()
                torch.save(tensors, file)
                file.flush()
                os.fsync(file.fileno())
                found.append(FILE_BYTES / (time.perf_counter() - start))
        except (OSError, RuntimeError):  # a full disk, or a folder that cannot be written
            return None
    return statistics.median(found)


def import_seconds() -> float | None:
    """Wall clock of a Python process that imports what a Trainer's script does; None where an
    installed library cannot be imported."""
    names = _installed()
    code = f"import {', '.join(names)}\n"
    code += OF_TRANSFORMERS if "transformers" in names else ""
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, timeout=MOST_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return time.perf_counter() - start if done.returncode == 0 else None


def _installed() -> tuple[str, ...]:
    return tuple(name for name in LIBRARIES if importlib.util.find_spec(name) is not None)


def _fact(name: str, value: float, unit: str, **more: object) -> Record:
    return {"record": "fact", "name": name, "value": value, "unit": unit, **more}
