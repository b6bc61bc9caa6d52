"""torchtune's README tables: Llama 2 on one to eight GPUs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from benchmarks.tables.common import GB, gpu_key, number
from planner.validate.cases import Case, Refused, slug

MODELS = {"Llama2-7B": "Llama-2-7b", "Llama2-70B": "Llama-2-70b"}
STRATEGIES = {
    "LoRA": "lora",
    "QLoRA": "qlora",
    "Full finetune": "fine_tune",
    "Full Finetune": "fine_tune",
}
ASSUMED = (
    "the release's recipe: rank 8 on query and value, dropout 0.05, activation checkpointing "
    "on; sequences packed to the stated length; "
    "the peak is what torch's allocator reserved, over 1e9"
)


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One case a row that states batch and length; rows with only a configuration's name are
    refused."""
    for row in rows:
        name = slug(
            "torchtune",
            row["readme_date"] or "tutorial",
            row["method"],
            row["model"],
            row["gpu"],
            row["setting"][:40],
            f"x{row['n_gpus']}",
        )
        shape = re.search(r"Batch Size = (\d+), Seq Length = (\d+)", row["setting"])
        if (
            not shape
            or row["model"] not in MODELS
            or row["method"] not in STRATEGIES
            or not gpu_key(row["gpu"])
        ):
            yield Refused(name, "torchtune", "batch, length or GPU not stated")
            continue
        batch, length, count = int(shape[1]), int(shape[2]), int(row["n_gpus"])
        rate, lora = number(row["tokens_per_s"]), "LoRA" in row["method"]
        paged = row["method"].startswith("Full") and "Paged" in row["notes"]
        yield Case(
            id=name,
            table="torchtune",
            citation=row["source"],
            model=MODELS[row["model"]],
            task="causal_lm",
            strategy=STRATEGIES[row["method"]],
            gpu=gpu_key(row["gpu"]),
            gpus=count,
            parallel="fsdp" if count > 1 else None,
            micro_batch=batch,
            sequence_length=length,
            precision="bf16",
            optimizer="adamw_paged" if paged else "adamw",
            # its single-device recipe updates in the backward pass, its loaders make adapters of
            # the weights' type
            optimizer_in_backward=True if paged and count == 1 else None,
            adapter_precision="weights" if lora else None,
            gradient_checkpointing="full",
            lora_rank=8 if lora else None,
            lora_targets=("q_proj", "v_proj") if lora else None,
            # own loaders: every linear layer is converted, the rest stays in 16 bits
            kbit_preparation="none" if STRATEGIES[row["method"]] == "qlora" else None,
            quantised_layers="all" if STRATEGIES[row["method"]] == "qlora" else None,
            lora_dropout=0.05 if lora else None,
            compile="torch.compile" in row["notes"],
            step_seconds=batch * length * count / rate if rate else None,
            samples_per_second=rate / length if rate else None,
            peaks=(("reserved", int(float(row["peak_mem_per_gpu"]) * GB)),),
            assumed=ASSUMED + (f"; {row['notes']}" if row["notes"] else ""),
            trust="M",
            date=row["readme_date"] or None,
        )
