"""Measurements of runs on this machine, kept as they are made: a CSV file that only grows, a row a
visit, so that whatever ends the process has cost no more than the visit it was in.

A row ``began`` stands before the row of what came of it. A run that began and has no end took the
process with it; after ``MOST_ENDS`` of these it is not tried again.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from benchmarks.local_runs import LocalRun, Predicted

COLUMNS = (
    "run",
    "device",
    "date",
    "visit",
    "step_seconds",
    "peak_allocated_bytes",
    "peak_reserved_bytes",
    "out_of_memory",
    "state",
    "reason",
)
#: Of files from before a row told how a visit ended; those hold measurements alone.
OLDER = COLUMNS[:-2]
BEGAN, MEASURED, OUT_OF_MEMORY, FAILED = "began", "measured", "out of memory", "failed"
#: So often a run may end the process before it is left out.
MOST_ENDS = 2
PEAKS = ("allocated", "reserved")


@dataclass
class Kept:
    """``file`` None: nothing is kept. ``device`` and ``date`` (ISO) stand in every row."""

    file: Path | None
    device: str
    date: str

    def begin(self, run: LocalRun) -> None:
        self._append(run, BEGAN)

    def end(self, run: LocalRun) -> None:
        """What came of the visit that began last."""
        if run.failed:
            self._append(run, FAILED, reason=run.failed)
        elif run.out_of_memory:
            self._append(run, OUT_OF_MEMORY)
        else:
            self._append(run, MEASURED, step_seconds=run.visits[-1])

    def _append(
        self, run: LocalRun, state: str, *, step_seconds: float | None = None, reason: str = ""
    ) -> None:
        if self.file is None:
            return
        measured = state == MEASURED
        row = {
            "run": run.case.id,
            "device": self.device,
            "date": self.date,
            "visit": len(run.visits) + (0 if measured else 1),
            "step_seconds": "" if step_seconds is None else step_seconds,
            **{f"peak_{n}_bytes": run.peaks.get(n, "") if measured else "" for n in PEAKS},
            "out_of_memory": int(state == OUT_OF_MEMORY),
            "state": state,
            "reason": " ".join(reason.split()),
        }
        append(self.file, COLUMNS, row)

    # ---- predictions, beside the measurements

    @property
    def predictions(self) -> Path | None:
        return None if self.file is None else self.file.with_suffix(".predicted.csv")

    def predicted(self, run: LocalRun, basis: str) -> None:
        if self.predictions is None:
            return
        from planner.version import __version__

        said = run.predicted[basis]
        values = {name: "" if value is None else value for name, value in asdict(said).items()}
        row = {"run": run.case.id, "basis": basis, "planner": __version__, **values}
        append(self.predictions, ("run", "basis", "planner", *_FIGURES), row)


_FIGURES = tuple(one.name for one in fields(Predicted))


def append(file: Path, columns: Sequence[str], row: dict[str, object]) -> None:
    """One row in one write, on the disk before the next visit begins; the header before the
    first, and a row that was cut short before it is taken away."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    if whole_bytes(file) == 0:
        writer.writeheader()
    writer.writerow(row)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(handle, whole_bytes(file))
        os.lseek(handle, 0, os.SEEK_END)
        os.write(handle, out.getvalue().encode("utf-8"))
        os.fsync(handle)
    finally:
        os.close(handle)


def whole_bytes(file: Path) -> int:
    """Of a file's bytes, those up to its last whole row; 0 where there is no file."""
    if not file.exists():
        return 0
    data = file.read_bytes()
    return data.rfind(b"\n") + 1


def read(text: str, runs: Sequence[LocalRun]) -> None:
    """Fill the runs with what was kept. Raises SystemExit for another file's rows."""
    by_name = {run.case.id: run for run in runs}
    reader = csv.DictReader(io.StringIO(text))
    columns = tuple(reader.fieldnames or ())
    if columns not in (COLUMNS, OLDER):
        raise SystemExit(f"not a file of --keep: its columns are {', '.join(columns or ['none'])}")
    ends: dict[str, int] = {}
    for row in reader:
        run = by_name.get(row["run"])
        if run is not None:
            _take(run, row, ends)
    for name, count in ends.items():
        if count >= MOST_ENDS:
            by_name[name].failed = f"it ended the process {count} times"


def _take(run: LocalRun, row: dict[str, str], ends: dict[str, int]) -> None:
    state = row.get("state") or (OUT_OF_MEMORY if row["out_of_memory"] == "1" else MEASURED)
    if state == BEGAN:
        ends[run.case.id] = ends.get(run.case.id, 0) + 1
        return
    ends[run.case.id] = max(0, ends.get(run.case.id, 0) - 1)
    run.out_of_memory = state == OUT_OF_MEMORY
    if state == FAILED:
        run.failed = row.get("reason") or "failed"
    elif row["step_seconds"]:
        run.visits.append(float(row["step_seconds"]))
        run.peaks |= {
            name: int(row[f"peak_{name}_bytes"]) for name in PEAKS if row[f"peak_{name}_bytes"]
        }


def read_predictions(file: Path | None, runs: Iterable[LocalRun], bases: Sequence[str]) -> None:
    """Those of these bases that this planner made before."""
    from planner.version import __version__

    if file is None or not file.exists():
        return
    by_name = {run.case.id: run for run in runs}
    text = file.read_bytes()[: whole_bytes(file)].decode("utf-8")
    for row in csv.DictReader(io.StringIO(text)):
        run = by_name.get(row["run"])
        if run is not None and row["basis"] in bases and row["planner"] == __version__:
            run.predicted[row["basis"]] = _prediction(row)


def _prediction(row: dict[str, str]) -> Predicted:
    numbers = {n: float(row[n]) if row[n] else None for n in _FIGURES if n != "refused"}
    return Predicted(**numbers, refused=row["refused"] or None)
