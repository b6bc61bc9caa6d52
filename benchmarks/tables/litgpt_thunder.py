"""litgpt's TinyLlama pre-training with and without compilers on A100 40GB."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables.common import GB, gpu_key
from planner.validate.cases import Case, Refused, slug

PARALLEL = {"-": None, "Replicated": "ddp", "Fully-sharded ZeRO 3": "fsdp"}


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One case an eager row; compiled by another compiler than torch's is refused."""
    for row in rows:
        name = slug(
            "litgpt_thunder",
            row["setting"] if row["setting"] != "-" else "single",
            row["compiler"],
            row["executors"],
            f"x{row['n_gpus']}",
        )
        if not row["ms_per_iter"] or row["compiler"] != "Eager" or row["setting"] not in PARALLEL:
            yield Refused(
                name,
                "litgpt_thunder",
                "no figure"
                if not row["ms_per_iter"]
                else "a compiler that the planner does not model",
            )
            continue
        count, seconds = int(row["n_gpus"]), float(row["ms_per_iter"]) / 1e3
        yield Case(
            id=name,
            table="litgpt_thunder",
            citation=row["source"],
            model="TinyLlama-1.1B",
            task="causal_lm",
            strategy="scratch",
            gpu=gpu_key(row["gpu"]) or row["gpu"],
            gpus=count,
            parallel=PARALLEL[row["setting"]],
            micro_batch=4,
            sequence_length=2048,
            precision="bf16",
            optimizer="adamw_fused",
            step_seconds=seconds,
            samples_per_second=4 * count / seconds,
            peaks=(("allocated", int(float(row["peak_mem_GB"]) * GB)),),
            trust="M",
            date="2024",
            assumed="micro-batch 4 of 2048 tokens, the script's defaults; fused AdamW; peak is "
            "torch's max allocated "
            "over 1e9; litgpt materialises the repeated keys and values",
        )
