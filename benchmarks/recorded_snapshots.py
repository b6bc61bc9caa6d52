"""Recorded allocators read back: each table of events becomes a file as
``torch.cuda.memory._dump_snapshot`` writes it, which ``planner compare --snapshot`` reads; its
peaks beside those that the allocator itself counted.

``python -m benchmarks.recorded_snapshots FOLDER`` with a folder of ``alloc_*.csv.gz`` and
``index.csv`` (columns: README there). Nothing of it is shipped.
"""

from __future__ import annotations

import csv
import gzip
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planner.compare.snapshot.held import held
from planner.compare.snapshot.reading import read_snapshot

ALLOCATED, INACTIVE = "active_allocated", "inactive"


def snapshot_of(rows: list[dict[str, str]]) -> dict[str, Any]:
    """Segments and blocks as they stand after the last event, and the events. Addresses are
    (segment, offset) counted through."""
    bases: dict[str, int] = {}
    sizes: dict[str, int] = {}
    blocks: dict[int, int] = {}
    events: list[dict[str, Any]] = []

    def address(row: dict[str, str]) -> int:
        return bases.setdefault(row["segment"], (len(bases) + 1) << 40) + int(row["offset"] or 0)

    for row in rows:
        action, size, at = row["action"], int(row["size"] or 0), address(row)
        if action in ("init_segment", "segment_alloc"):
            sizes[row["segment"]] = size
        elif action == "segment_free":
            sizes.pop(row["segment"], None)
        elif action in ("init_block", "alloc"):
            blocks[at] = int(row["block_size"] or 0) or size
        elif action == "free_completed":
            blocks.pop(at, None)
        if not action.startswith("init_"):
            events.append(_event(row, action, at, size))
    segments = [_segment(bases[name], size, blocks) for name, size in sizes.items()]
    return {"segments": segments, "device_traces": [events], "allocator_settings": {}}


def _event(row: dict[str, str], action: str, address: int, size: int) -> dict[str, Any]:
    file, _, line = row["where"].rpartition(":")
    frame = {"filename": file, "line": int(line) if line.isdecimal() else 0, "name": row["op"]}
    return {
        "action": action,
        "addr": address,
        "size": size,
        "stream": int(row["stream"] or 0),
        "time_us": int(float(row["t_us"] or 0)),
        "frames": [frame] if row["where"] or row["op"] else [],
    }


def _segment(base: int, size: int, blocks: dict[int, int]) -> dict[str, Any]:
    mine = sorted((at, n) for at, n in blocks.items() if base <= at < base + size)
    listed: list[dict[str, Any]] = []
    reached = base
    for at, n in mine:
        if at > reached:
            listed.append({"address": reached, "size": at - reached, "state": INACTIVE})
        listed.append({"address": at, "size": n, "state": ALLOCATED, "frames": []})
        reached = at + n
    return {"device": 0, "address": base, "total_size": size, "blocks": listed}


def judged(folder: Path) -> Iterator[dict[str, Any]]:
    """A row a recording: both peaks over what the allocator counted, how long reading took."""
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        index = list(csv.DictReader(file))
    with tempfile.TemporaryDirectory() as place:
        for row in index:
            with gzip.open(folder / row["file"], "rt", encoding="utf-8", newline="") as file:
                made = snapshot_of(list(csv.DictReader(file)))
            path = Path(place) / "snapshot.pickle"
            path.write_bytes(pickle.dumps(made))
            began = time.perf_counter()
            seen = held(read_snapshot(path), path)
            yield {
                "file": row["file"],
                "allocated": seen.peak_allocated_bytes / int(row["max_allocated_bytes"]),
                "reserved": seen.peak_reserved_bytes / int(row["max_reserved_bytes"]),
                "live": sum(b.bytes for b in seen.live) / seen.peak_allocated_bytes,
                "events": seen.events,
                "seconds": time.perf_counter() - began,
                "first": next(iter(seen.by_place())),
            }


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    print("recording                              allocated  reserved   live  events  seconds")
    for row in judged(Path(arguments[0])):
        print(
            f"{row['file']:38s} {row['allocated']:9.5f} {row['reserved']:9.5f} "
            f"{row['live']:6.4f} {row['events']:7d} {row['seconds']:8.3f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
