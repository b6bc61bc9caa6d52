"""Lambda's deep-learning benchmark: NVIDIA's BERT (SQuAD) and ResNet-50 code on many GPUs, medians
over runs."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables.common import MIB, gpu_key, integer, is_ampere_or_later, number
from planner.validate.cases import Case, Refused, slug

TASKS = {
    "bert_base_squad": dict(
        model="bert-base-uncased",
        task="token_classification",
        classes=2,
        sequence_length=384,
        optimizer="adamw_fused",
        attention="eager",
    ),
    "bert_large_squad": dict(
        model="bert-large-uncased",
        task="token_classification",
        classes=2,
        sequence_length=384,
        optimizer="adamw_fused",
        attention="eager",
    ),
    "resnet50": dict(
        model="torchvision:resnet50",
        task="image_classification",
        classes=1000,
        image_size=224,
        optimizer="sgd_momentum",
        memory_format="contiguous",
    ),
}
#: BERT-base's weights, gradients and Adam state alone are 1,670 MiB, with a context over 2,000;
#: ResNet-50 runs at its largest batch.
LEAST_MIB = 2048
ASSUMED = (
    "NVIDIA's example code in its container: FP32 is TF32 from Ampere on; BERT as span "
    "prediction at 384 tokens with FusedAdam, in FP32 BertAdam, asked as AdamW that loops over the "
    "parameters; apex mixed precision as autocast; ResNet-50 on synthetic data, in NCHW order, "
    "which its script has where nothing is said"
)


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One case a system, task and precision, on one GPU or data-parallel over several."""
    for row in rows:
        gpu, count = gpu_key(row["gpu"]), integer(row["n_gpus"]) or 1
        name = slug(
            "lambda_agg",
            row["results_set"],
            row["system"],
            row["task"],
            row["precision"],
            f"x{count}",
        )
        reason = refusal(row, gpu)
        if reason:
            yield Refused(name, "lambda_agg", reason)
            continue
        batch, throughput, memory = (
            int(row["per_gpu_batch"]),
            number(row["throughput_median"]),
            busy(row),
        )
        yield Case(
            id=name,
            table="lambda_agg",
            citation=row["source"],
            strategy="fine_tune",
            gpu=gpu,
            gpus=count,
            parallel="ddp" if count > 1 else None,
            micro_batch=batch,
            precision=precision_of(row, gpu),
            step_seconds=batch * count / throughput if throughput else None,
            samples_per_second=throughput,
            peaks=(("device", int(memory * MIB)),) if memory else (),
            assumed=f"{ASSUMED}; torch {row['torch']}",
            trust="H" if throughput and not memory else "M",
            **TASKS[row["task"]] | optimizer_of(row),
        )


def refusal(row: dict[str, str], gpu: str | None) -> str | None:
    """Why a row cannot be asked, or None."""
    if row["task"] not in TASKS:
        return f"{row['task']}: no library that the planner reads has this model"
    if gpu is None:
        return f"GPU {row['gpu']!r} has no row in gpus.csv"
    if not row["per_gpu_batch"] or not (row["throughput_median"] or busy(row)):
        return "no batch or no figure"
    return None


def precision_of(row: dict[str, str], gpu: str) -> str:
    if row["precision"] == "FP32":
        return "tf32" if is_ampere_or_later(gpu) else "fp32"
    return "amp_fp16"


def optimizer_of(row: dict[str, str]) -> dict[str, str]:
    """Without mixed precision the BERT script has no fused optimizer: its own BertAdam."""
    looped = row["task"].startswith("bert") and row["precision"] == "FP32"
    return {"optimizer": "adamw_for_loop"} if looped else {}


def busy(row: dict[str, str]) -> float | None:
    """MiB that the monitor saw, None where it watched an idle card: no run of these models takes
    less than LEAST_MIB."""
    seen = number(row["peak_nvidia_smi_mem_MiB_max"])
    return seen if seen is not None and seen >= LEAST_MIB else None
