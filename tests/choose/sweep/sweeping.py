"""A small grid on shipped traces, and how its table is read again."""

import json
from pathlib import Path

from planner.choose.sweep.sweep import Where, sweep

GRID = """\
model: [bert-base-uncased, gpt2]
samples: 1000
tokens_per_sample: [64, 200]
strategy: [lora, fine_tune]
micro_batch: 8
gpu: [h100-sxm, l4]
"""


def written(folder: Path, text: str = GRID, name: str = "grid.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def rows(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def swept(folder: Path, text: str = GRID, *, output: str = "answers.jsonl", **more):
    """(summary, rows) of a grid answered in this process."""
    more.setdefault("where", Where(processes=1))
    summary = sweep(written(folder, text), folder / output, **more)
    return summary, rows(folder / output)
