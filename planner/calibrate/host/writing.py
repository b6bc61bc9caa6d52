"""How fast a checkpoint is written on this host."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator

from planner.calibrate.journal import Record

#: A file that is past what a disk's own cache swallows at once, and yet short.
FILE_BYTES = 64 * 2**20
PARTS = 16
ROUNDS = 3


def measure_writing() -> Iterator[Record]:
    """Fact ``write_bytes_per_s`` of the temporary folder (TMPDIR), flushed to its disk; none where
    it cannot be written."""
    written = write_bytes_per_s()
    if written is not None:
        yield {
            "record": "fact",
            "name": "write_bytes_per_s",
            "value": written,
            "unit": "B/s",
            "bytes": FILE_BYTES,
        }


def write_bytes_per_s() -> float | None:
    """Of a file of tensors, the median of some rounds; None where it cannot be written."""
    import torch

    tensors = {str(part): torch.rand(FILE_BYTES // PARTS // 4) for part in range(PARTS)}
    found: list[float] = []
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
