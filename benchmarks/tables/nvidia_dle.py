"""NVIDIA's DeepLearningExamples: the single-GPU BERT-large rows, whose accumulation gives the
micro-batch."""

from __future__ import annotations

import re
from collections.abc import Iterator

from benchmarks.tables.common import gpu_key, is_ampere_or_later
from planner.validate.cases import Case, Refused, slug

# a cell "128 and 64" gives FP32's or TF32's value, then mixed precision's
COLUMNS = ("FP32", "mixed")


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One case a single-GPU pre-training or SQuAD row of PyTorch's BERT; everything else is
    refused."""
    for row in rows:
        name = slug(
            "nvidia_dle",
            row["model_dir"],
            row["gpu"],
            row["precision"],
            f"s{row['seq_len']}",
            row["batch_per_gpu_raw"],
            f"x{row['n_gpus']}",
        )
        gpu, batch = gpu_key(row["gpu"]), micro_batch(row)
        if (row["model_dir"], row["metric"], row["n_gpus"]) != (
            "PyTorch/LanguageModeling/BERT",
            "train_throughput",
            "1",
        ) or not (gpu and batch):
            yield Refused(
                name, "nvidia_dle", "not a single-GPU BERT training row with a recoverable batch"
            )
            continue
        if row["seq_len"] == "512":
            yield Refused(
                name,
                "nvidia_dle",
                "faster than the card: 19 sequences/s of 1.0 TFLOP each on 15.7 TFLOP/s of fp32",
            )
            continue
        mixed, rate, length, pretraining = (
            row["precision"].startswith("mixed"),
            float(row["value"]),
            int(row["seq_len"] or 384),
            bool(row["seq_len"]),
        )
        yield Case(
            id=name,
            table="nvidia_dle",
            citation=row["source"],
            model="bert-large-uncased",
            task="masked_lm" if pretraining else "token_classification",
            classes=None if pretraining else 2,
            strategy="scratch" if pretraining else "fine_tune",
            gpu=gpu,
            micro_batch=batch,
            sequence_length=length,
            precision="amp_fp16" if mixed else "tf32" if is_ampere_or_later(gpu) else "fp32",
            optimizer="adamw_fused" if mixed or pretraining else "adamw_for_loop",
            attention="eager",
            step_seconds=batch / rate,
            samples_per_second=rate,
            trust="M",
            date="2022",
            assumed=(
                "LAMB asked as fused AdamW, one micro-batch a step; next-sentence head left out"
                if pretraining
                else "SQuAD at 384 tokens, in FP32 with BertAdam, asked as AdamW that loops over "
                "the parameters; the first of the two batches is FP32's, the second "
                "mixed precision's"
            ),
        )


def micro_batch(row: dict[str, str]) -> int | None:
    """``4096 and 4096`` over ``128 and 64`` → 32 for FP32, 64 for mixed; without accumulation the
    batch itself."""
    which = 1 if row["precision"].startswith("mixed") else 0
    batch, steps = (re.findall(r"\d+", row[c]) for c in ("batch_per_gpu_raw", "grad_accum_raw"))
    if len(batch) != 2 or len(steps) not in (0, 2):
        return None
    return int(batch[which]) // (int(steps[which]) if steps else 1)
