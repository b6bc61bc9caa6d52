"""Whole runs as people report them: the rows of three tables in one shape.

Every column keeps its words; what they mean to the planner is decided in ``asking.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.raw_tables import read_raw
from planner import tables
from planner.errors import DataError

#: The columns of ``profiles/measured/whole_runs/runs.csv``: those of the raw table of bills, and
#: the table that a row comes from.
COLUMNS: tuple[str, ...] = tuple(
    "table id model model_config_hint strategy task dataset samples tokens_per_sample max_length "
    "epochs steps micro_batch global_batch precision optimizer gradient_checkpointing lora_rank "
    "lora_targets gpu gpus provider hours seconds_per_step usd usd_per_gpu_hour peak_gib date "
    "source trust notes".split()
)
#: The table whose packed samples are whole: its amounts are tokens over the length.
TOTALS = "published_total_costs"
#: Devices of the largest host that one machine holds.
HOST_GPUS = 8
#: Trusts of rows whose settings are known well enough to ask them.
TRUSTED = ("H", "M")


@dataclass(frozen=True)
class Report:
    """One run as reported. ``cells`` are the words of the row, blank where the source says nothing;
    hours are wall-clock hours over all ``gpus``, ``peak_gib`` GiB a device, money USD."""

    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    @property
    def id(self) -> str:
        return self.cells["id"]

    @property
    def trusted(self) -> bool:
        return self.cells["trust"] in TRUSTED

    def number(self, column: str) -> float | None:
        """The cell as a number, None where it is blank or says more than a number."""
        try:
            return tables.number(self.cells[column])
        except ValueError:
            return None

    @property
    def gpus(self) -> int:
        return int(self.number("gpus") or 1)

    @property
    def hours(self) -> float | None:
        return self.number("hours")

    def says(self, pattern: str) -> re.Match[str] | None:
        """Where the words of the row match, notes, lengths and precision among them."""
        text = " | ".join(
            self.cells[c] for c in ("notes", "max_length", "precision", "optimizer", "strategy")
        )
        return re.search(pattern, text, re.IGNORECASE)


def of_row(table: str, row: Mapping[str, str]) -> Report:
    """Raises DataError for a row without id or source."""
    cells = {column: row.get(column) or "" for column in COLUMNS} | {"table": table}
    for column in ("id", "source"):
        if not cells[column]:
            raise DataError(f"column {column!r} is blank", where=f"{table} {row.get('id', '')}")
    return Report(cells)


def shipped() -> list[Report]:
    """The curated rows with their citations."""
    return [of_row(row["table"], row) for row in tables.rows("measured", "whole_runs", "runs.csv")]


def read(folder: Path) -> list[Report]:
    """Every run of the raw tables that one machine may have made. Raises DataError."""
    return [
        report
        for name, reader in _READERS.items()
        for report in reader(name, folder / f"{name}.csv")
    ]


def _bills(name: str, path: Path) -> Iterator[Report]:
    needed = [column for column in COLUMNS if column != "table"]
    yield from (of_row(name, row) for row in read_raw(path, needed))


def _walltimes(name: str, path: Path) -> Iterator[Report]:
    """Rows with a time; those that ran out of memory have none."""
    needed = ("model", "train_time_s", "batch_per_gpu", "n_gpus", "seq_len", "notes", "source")
    for line, row in enumerate(read_raw(path, needed), start=2):
        if not row["train_time_s"]:
            continue
        gpus = _found(r"^(\d+)$", row["n_gpus"]) or "1"
        micro = _found(r"^(\d+)$", row["batch_per_gpu"])
        yield of_row(
            name,
            {
                "id": f"walltime-{line}-{_slug(row['model'])}-{_slug(row['strategy'])}",
                "model": row["model"],
                "model_config_hint": row["model"].partition(" ")[0],
                "strategy": row["strategy"],
                "task": _TASKS.get(row["modality"], row["modality"]),
                "dataset": row["dataset"],
                "samples": _found(r"n_train=(\d+)", row["dataset"]),
                "max_length": row["seq_len"] and f"{row['seq_len']} padded",
                "epochs": row["epochs"],
                "micro_batch": micro,
                "global_batch": str(int(micro) * int(gpus)) if micro else "",
                "precision": row["precision"],
                "gpu": row["gpu"],
                "gpus": gpus,
                "hours": f"{float(row['train_time_s']) / 3600:.4f}",
                "source": row["source"],
                "trust": "M",
                "notes": row["notes"],
            },
        )


def _totals(name: str, path: Path) -> Iterator[Report]:
    """Rows of at most a host's devices whose hours are stated."""
    needed = ("kind", "model", "n_gpus", "gpu_hours", "hardware", "source")
    for line, row in enumerate(read_raw(path, needed), start=2):
        gpus = _found(r"^(\d+)$", row["n_gpus"])
        if not gpus or int(gpus) > HOST_GPUS or not row["gpu_hours"]:
            continue
        yield of_row(
            name,
            {
                "id": f"total-{line}-{_slug(row['model'])}",
                "model": row["model"],
                "model_config_hint": row["model"],
                "strategy": {"pre-training": "scratch", "QLoRA": "qlora"}.get(row["kind"], "full"),
                "task": "masked LM" if row["modality"] == "text encoder" else "causal LM",
                "dataset": f"{row['model']}: {row['tokens_or_samples']}",
                **_amount(row["tokens_or_samples"], row["seq_len"]),
                "max_length": row["seq_len"] + (" packed" if row["kind"] == "pre-training" else ""),
                "global_batch": _found(r"^(\d+)$", row["global_batch"]),
                "precision": row["note"],
                "gpu": row["hardware"],
                "gpus": gpus,
                "hours": f"{float(row['gpu_hours']) / int(gpus):.4f}",
                "usd": _found(r"^<?~?(\d[\d.]*)", row["usd_stated"]),
                "source": row["source"],
                "trust": "M" if row["tokens_or_samples"] and row["seq_len"] else "L",
                "notes": "; ".join(
                    filter(None, (row["note"], row["wallclock"], row["usd_stated"]))
                ),
            },
        )


def _amount(text: str, sequence_length: str) -> dict[str, str]:
    """Samples, tokens each and epochs of words such as ``52K examples x 3 epochs``."""
    found = re.search(r"([\d.]+)\s*([KMBT]?)\s*(tokens|samples|examples)", text)
    if not found:
        return {}
    many = float(found[1]) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[found[2]]
    if found[3] == "tokens":
        if not sequence_length:
            return {}
        many /= float(sequence_length)
    epochs = _found(r"x (\d+) epochs", text) or "1"
    return {"samples": f"{many:.0f}", "epochs": epochs}


#: What the rows of a modality in the table of wall-clock times are trained for.
_TASKS = {
    "LLM": "causal LM",
    "text encoder": "text classification",
    "vision": "image classification",
    "speech": "speech recognition (CTC)",
    "audio": "speech recognition (CTC)",
}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


_READERS: dict[str, Callable[[str, Path], Iterator[Report]]] = {
    "finetune_bills": _bills,
    "finetune_walltimes": _walltimes,
    TOTALS: _totals,
}
