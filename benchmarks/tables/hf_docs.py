"""Hugging Face's guide to training on one GPU: BERT-large on a V100 16GB, one trick after
another."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables.common import gpu_key
from planner.validate.cases import Case, Refused, slug

OPTIMIZERS = {"AdamW": "adamw_for_loop", "Adafactor": "adafactor", "bnb Adam8bit": "adamw_8bit"}
PRECISIONS = {"fp32": "fp32", "fp16 AMP": "amp_fp16"}
MB = 2**20  # the guide prints bytes // 1024**2 as MB
ASSUMED = (
    "transformers and torch of 2022: eager attention, an AdamW that loops over parameters, "
    "gradients zeroed and not freed between steps; "
    "memory is the driver's figure after training less the bare context that the same guide shows"
)


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One case a trained configuration; the two rows of a bare context and bare weights are no
    training."""
    context = next(
        (int(row["gpu_mem_MB"]) for row in rows if row["step"].startswith("CUDA context only")),
        None,
    )
    for row in rows:
        name = slug("hf_docs", row["step"])
        if not row["batch_size"]:
            yield Refused(
                name, "hf_docs", "no training step: what the context or the weights alone hold"
            )
            continue
        if context is None:
            yield Refused(name, "hf_docs", "the table has no row for the bare context")
            continue
        batch, steps = int(row["batch_size"]), int(row["grad_accum"])
        rate = float(row["samples_per_s"])
        yield Case(
            id=name,
            table="hf_docs",
            citation=row["source"],
            model="bert-large-uncased",
            task="text_classification",
            strategy="fine_tune",
            gpu=gpu_key(row["gpu"].replace("NVIDIA V100-SXM2 16GB", "Tesla V100-SXM2-16GB"))
            or row["gpu"],
            micro_batch=batch,
            accumulation=steps,
            sequence_length=int(row["seq_len"]),
            precision=PRECISIONS[row["precision"]],
            optimizer=OPTIMIZERS[row["optimizer"]],
            gradient_checkpointing="full" if row["grad_ckpt"] == "yes" else "none",
            attention="eager",
            classes=2,
            step_seconds=batch * steps / rate,
            samples_per_second=rate,
            peaks=(("reserved", (int(row["gpu_mem_MB"]) - context) * MB),),
            assumed=ASSUMED,
            trust="H",
            date="2022",
        )
