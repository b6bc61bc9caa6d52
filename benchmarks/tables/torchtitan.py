"""torchtitan's performance notes: Llama pre-training, sharded over 64 GPUs and more."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables.common import gpu_key, integer, number
from planner.validate.cases import Case, Refused, slug

GIB = 2**30
MODELS = {
    "Llama 3 8B": "Meta-Llama-3-8B",
    "Llama 3 70B": "Llama-3.1-70B",
    "Llama 2 13B": "Llama-2-13b",
    "Llama 2 7B": "Llama-2-7b",
    "Llama 2 70B": "Llama-2-70b",
    "Llama 3.1 8B": "Llama-3.1-8B",
    "Llama 3.1 70B": "Llama-3.1-70B",
}
CHECKPOINTING = {"full": "full", "no": "none", "selective op": "selective"}


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One case a row whose checkpointing the planner has; every one of them is sharded."""
    for row in rows:
        name = slug(
            "torchtitan",
            row["model"],
            row["gpu"],
            row["techniques"],
            row["act_ckpt"],
            f"b{row['local_batch']}",
            f"x{row['n_gpus']}",
        )
        gpu, batch, length = (
            gpu_key(row["gpu"]),
            integer(row["local_batch"]),
            integer(row["seq_len"]),
        )
        reason = (
            "model"
            if row["model"] not in MODELS
            else "GPU"
            if gpu is None
            else "batch or length not stated"
            if not (batch and length)
            else f"checkpointing {row['act_ckpt']!r}"
            if row["act_ckpt"] not in CHECKPOINTING
            else "float8"
            if row["float8"]
            else None
        )
        if reason:
            yield Refused(name, "torchtitan", f"cannot be asked: {reason}")
            continue
        rate, peak = (
            number(row["tokens_per_s_per_gpu"]),
            number(row["peak_mem_GiB_per_gpu"]) or number(row["peak_mem_GB"]),
        )
        yield Case(
            id=name,
            table="torchtitan",
            citation=row["source"],
            model=MODELS[row["model"]],
            task="causal_lm",
            strategy="scratch",
            gpu=gpu,
            gpus=int(row["n_gpus"]),
            parallel="fsdp",
            micro_batch=batch,
            sequence_length=length,
            precision="amp_bf16",
            optimizer="adamw_fused",
            gradient_checkpointing=CHECKPOINTING[row["act_ckpt"]],
            compile=row["torch_compile"] == "yes",
            step_seconds=batch * length / rate if rate else None,
            samples_per_second=rate * int(row["n_gpus"]) / length if rate else None,
            peaks=(("reserved", int(peak * GIB)),) if peak and row["peak_mem_GiB_per_gpu"] else (),
            oom=row["note"] == "OOM",
            trust="H",
            assumed="fp32 parameters sharded, gathered in bf16",
            date="2024",
        )
