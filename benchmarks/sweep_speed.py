"""How fast a grid of 10,000 questions is answered, and in how much memory.

    python benchmarks/sweep_speed.py [--questions 10000] [--processes 2] [--json]

Shipped models × strategies × lengths × micro-batches × GPUs, every combination once, as
``planner sweep`` answers them: the whole command from a shell, its table included. Processor time
stands beside wall time, for machines that others use too. Memory is the most that the command's own
process held, and the most of any of its workers. ``--questions`` cuts
the lengths and micro-batches, so that a smaller grid has the same models and GPUs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from planner.report.views.accuracy import machine  # noqa: E402

MODELS = ["bert-base-uncased", "gpt2", "Llama-3.2-1B", "Llama-3.1-8B", "Qwen2.5-0.5B"]
STRATEGIES = ["fine_tune", "lora"]
GPUS = [
    *["h100-sxm", "h100-pcie", "h200-sxm", "a100-sxm-80", "a100-sxm-40"],
    *["l40s", "l4", "a10g", "rtx-4090", "rtx-3090"],
]
LENGTHS = [64, 96, 128, 160, 192, 224, 256, 320, 384, 448]
MICRO_BATCHES = [1, 2, 4, 6, 8, 12, 16, 24, 32, 48]
LOOK_SECONDS = 0.2


def grid(questions: int) -> dict[str, Any]:
    """The grid's file; ``questions`` as near as whole lists come to it."""
    each = len(MODELS) * len(STRATEGIES) * len(GPUS)
    side = max(1, min(len(LENGTHS), round((questions / each) ** 0.5)))
    return {
        "model": MODELS,
        "samples": 1000,
        "epochs": 1,
        "strategy": STRATEGIES,
        "tokens_per_sample": LENGTHS[:side],
        "micro_batch": MICRO_BATCHES[:side],
        "gpu": GPUS,
    }


class Watch(threading.Thread):
    """The most bytes that a process held, and the most of any below it."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.process, self.own, self.worker = process, 0, 0

    def run(self) -> None:
        while True:
            try:
                self.own = max(self.own, self.process.memory_info().rss)
                below = self.process.children(recursive=True)
            except psutil.Error:
                return
            for child in below:
                try:
                    self.worker = max(self.worker, child.memory_info().rss)
                except psutil.Error:
                    continue
            time.sleep(LOOK_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="planner-sweep-") as name:
        folder = Path(name)
        (folder / "grid.yaml").write_text(yaml.safe_dump(grid(given.questions), sort_keys=False))
        found = swept(folder, given.processes)
    print(json.dumps(found, indent=1) if given.json else "\n".join(lines(found)))
    return 0 if found["code"] == 0 else 1


def swept(folder: Path, processes: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "planner.cli.main", "sweep", str(folder / "grid.yaml")]
    command += ["-o", str(folder / "answers.parquet"), "--processes", str(processes), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    watch = Watch(psutil.Process(process.pid))
    watch.start()
    text, _ = process.communicate()
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    summary = json.loads(text) if text else {}
    return {
        "machine": machine(),
        "processes": processes,
        "code": process.returncode,
        "seconds": seconds,
        "processor_seconds": used.ru_utime + used.ru_stime,
        **{n: summary.get(n) for n in ("questions", "answered", "refused", "failed", "do_not_fit")},
        "reasons": summary.get("reasons"),
        "parent_peak_bytes": watch.own,
        "worker_peak_bytes": watch.worker,
        "table_bytes": (folder / "answers.parquet").stat().st_size if text else None,
    }


def lines(found: dict[str, Any]) -> list[str]:
    mib = 1 << 20
    rate = found["questions"] / found["seconds"]
    each = 1000 * found["processor_seconds"] / found["questions"]
    return [
        ", ".join(f"{name} {value}" for name, value in found["machine"].items()),
        f"{found['questions']:,} questions in {found['seconds']:.0f} s by {found['processes']} "
        f"processes: {rate:.1f} a second; {found['processor_seconds']:.0f} s of a processor, "
        f"{each:.0f} ms a question",
        f"{found['answered']:,} answered (of which {found['do_not_fit']:,} do not fit), "
        f"{found['refused']:,} refused, {found['failed']:,} failed",
        *(f"  {one['questions']:,} × {one['error']}" for one in found["reasons"]),
        f"memory: {found['parent_peak_bytes'] / mib:.0f} MiB the command itself, "
        f"{found['worker_peak_bytes'] / mib:.0f} MiB the largest worker; "
        f"the table is {found['table_bytes'] / mib:.1f} MiB",
    ]


if __name__ == "__main__":
    sys.exit(main())
