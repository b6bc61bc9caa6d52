"""What the adapters share: reading a table, the planner's key of a GPU's printed name,
torchvision's and pycls's names."""

from __future__ import annotations

import csv
import gzip
from functools import cache
from pathlib import Path

MIB, GB = 2**20, 10**9


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV or CSV.gz, every cell a string, lines that start with # left out. Raises
    OSError."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(line for line in handle if not line.startswith("#")))


@cache
def _gpu_names() -> dict[str, str]:
    with Path(__file__).with_name("gpu_names.csv").open(newline="", encoding="utf-8") as handle:
        return {row["text"]: row["key"] for row in csv.DictReader(handle)}


def gpu_key(text: str) -> str | None:
    """The key of gpus.csv that a table's text stands for (``gpu_names.csv`` says why), None where
    the text is not known."""
    return _gpu_names().get(text.strip())


@cache
def _timm_renamed() -> dict[str, str]:
    return {
        row["model"]: row["now"] for row in read_rows(Path(__file__).with_name("timm_renamed.csv"))
    }


def timm_model(name: str) -> str:
    """The planner's name of a timm model, by the name that timm has for it today."""
    return f"timm:{_timm_renamed().get(name, name)}"


def is_ampere_or_later(key: str) -> bool:
    """Whether a container's FP32 means TF32 there: NVIDIA parts since the A100."""
    return not key.startswith(
        ("v100", "p100", "t4", "rtx-2080", "gtx-", "titan-", "quadro-rtx-8000")
    )


def number(cell: str | None) -> float | None:
    return float(cell) if cell not in (None, "") else None


def integer(cell: str | None) -> int | None:
    return int(float(cell)) if cell not in (None, "") else None
