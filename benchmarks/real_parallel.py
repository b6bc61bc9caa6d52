"""Two real processes beside their plan: copies (DDP) and FSDP2 over gloo on this machine.

    python benchmarks/real_parallel.py [--seconds 90] [--write docs/real_parallel.md]

The processor is calibrated with one thread, as each process has one, then two processes measure
their collectives into the same profile (``planner.calibrate.collectives``). Small models are
planned for two such devices, and really trained by ``torchrun`` with torch's own
DistributedDataParallel and ``fully_shard``. Nothing is fitted on these runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from planner import estimate  # noqa: E402
from planner.cli.writing import write  # noqa: E402

PROCESSES = 2
#: Steps that are timed, after those that warm up.
WARM, TIMED = 3, 12
ALONE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
BASE = {"vocab_size": 8192, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {
        **BASE,
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "intermediate_size": 1024,
        "num_key_value_heads": 6,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
    },
    "gpt2": {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": 8192,
        "n_embd": 384,
        "n_layer": 6,
        "n_head": 6,
        "n_positions": 512,
    },
}
BATCH, LENGTH = 4, 128


@dataclass(frozen=True)
class Row:
    """Seconds of a step: planned p10, p50, p90 and measured; ``alone``: planned on one device."""

    model: str
    parallel: str
    planned: dict[str, float]
    measured: float
    alone: float

    @property
    def error(self) -> float:
        return self.planned["p50"] / self.measured - 1

    @property
    def is_inside(self) -> bool:
        return self.planned["p10"] <= self.measured <= self.planned["p90"]


def calibrated(folder: Path, seconds: float) -> Path:
    """A profile of one thread of this processor with the collectives of two processes."""
    profile = folder / "one_thread.json"
    environment = os.environ | ALONE | {"PYTHONPATH": str(ROOT)}
    words = ["calibrate", "--device", "cpu", "--seconds", str(seconds), "--out", str(profile)]
    _run([sys.executable, "-m", "planner.cli.main", *words], environment)
    measure = ["-m", "planner.calibrate.collectives", "--backend", "gloo", "--out", str(profile)]
    _run([*_torchrun(), *measure], environment)
    return profile


def _torchrun() -> list[str]:
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(PROCESSES)]
    return [sys.executable, *run]


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr[-3000:]}")
    return done.stdout


def planned(folder: Path, profile: Path, parallel: str | None) -> dict[str, float]:
    """Seconds of one step with its range."""
    more = {} if parallel is None else {"gpus": PROCESSES, "parallel": parallel}
    devices = PROCESSES if parallel else 1
    document = estimate(
        str(folder),
        samples=1000,
        tokens_per_sample=LENGTH,
        strategy=["fine_tune"],
        padding="max",
        max_length=LENGTH,
        micro_batch=BATCH,
        global_batch=BATCH * devices,
        gpu=str(profile),
        precision="fp32",
        optimizer="adamw",
        gradient_checkpointing="none",
        max_grad_norm=0,
        **more,
    )
    return document["options"][0]["step"]["seconds"]


def measured(folder: Path, parallel: str) -> float:
    """Median seconds of a step of two processes."""
    environment = os.environ | ALONE | {"PYTHONPATH": str(ROOT)}
    command = [*_torchrun(), str(Path(__file__).resolve()), "--worker", str(folder), parallel]
    printed = _run(command, environment)
    return json.loads(printed.strip().splitlines()[-1])["seconds"]


def worker(folder: str, parallel: str) -> None:
    """One of the processes: trains and, as the first, prints the median step."""
    import statistics
    import time

    from planner.libraries import prepare_torchvision

    prepare_torchvision()
    import torch
    import transformers
    from torch import distributed
    from torch.distributed.fsdp import fully_shard

    distributed.init_process_group("gloo")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_config(config).train()
    if parallel == "fsdp":
        blocks = max((m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)
        for block in blocks:
            fully_shard(block)
        fully_shard(model)
        wrapped = model
    else:
        wrapped = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    seconds = []
    for step in range(WARM + TIMED):
        tokens = torch.randint(0, config.vocab_size, (BATCH, LENGTH))
        distributed.barrier()
        began = time.perf_counter()
        optimizer.zero_grad()
        wrapped(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        if step >= WARM:
            seconds.append(time.perf_counter() - began)
    if distributed.get_rank() == 0:
        print(json.dumps({"seconds": statistics.median(seconds)}))
    distributed.destroy_process_group()


def rows(folder: Path, seconds: float) -> list[Row]:
    profile, made = calibrated(folder, seconds), []
    for name, config in CONFIGS.items():
        model = folder / name
        model.mkdir(exist_ok=True)
        (model / "config.json").write_text(json.dumps(config))
        alone = planned(model, profile, None)["p50"]
        for parallel in ("ddp", "fsdp"):
            took = measured(model, parallel)
            made.append(Row(name, parallel, planned(model, profile, parallel), took, alone))
    return made


def page(found: list[Row], seconds: float) -> str:
    lines = [
        "# Two real processes beside their plan",
        "",
        f"Written by `python benchmarks/real_parallel.py --seconds {seconds:g} --write "
        "docs/real_parallel.md`, on",
        f"{platform.machine()} with {os.cpu_count()} cores; nothing is edited by hand. Each "
        "process has one thread; they send by gloo.",
        "",
        "| model | sharing | planned ms (p10 to p90) | measured ms | error | inside | one device, "
        "planned ms |",
        "| --- | --- | --- | --: | --: | --- | --: |",
    ]
    for row in found:
        p10, p50, p90 = (1000 * row.planned[name] for name in ("p10", "p50", "p90"))
        lines.append(
            f"| {row.model} | {row.parallel} | {p50:.1f} ({p10:.1f} to {p90:.1f}) | "
            f"{1000 * row.measured:.1f} | {row.error:+.0%} | {'yes' if row.is_inside else 'no'} | "
            f"{1000 * row.alone:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=90.0, help="of calibrating operations")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there")
    parser.add_argument("--worker", nargs=2, metavar=("FOLDER", "SHARING"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        worker(*options.worker)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        made = page(rows(Path(folder), options.seconds), options.seconds)
    if options.write:
        write(options.write, made)
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
