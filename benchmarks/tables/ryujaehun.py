"""pytorch-gpu-benchmark: torchvision networks at batch 12 on older GeForce and TITAN cards, no
optimizer."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables.common import gpu_key
from planner.validate.cases import Case, Refused, slug

PRECISIONS = {"fp32": "fp32", "pure fp16 (model.half())": "fp16"}
ASSUMED = (
    "the optimizer is outside the timer and the copy of the images to the device inside "
    "it; images in the contiguous layout"
)


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One case a timed pass; float64 and one-process multi-GPU rows are refused."""
    for row in rows:
        gpu, precision = gpu_key(row["gpu"]), PRECISIONS.get(row["precision"])
        name = slug(
            "ryujaehun",
            row["model_torchvision"],
            gpu or row["gpu"],
            row["precision"][:9],
            row["mode"],
            f"x{row['n_gpus']}",
        )
        reason = (
            "float64 is no training precision here"
            if precision is None
            else "GPU that has no key"
            if gpu is None
            else "torch.nn.DataParallel: one process drives every device"
            if row["n_gpus"] != "1"
            else None
        )
        if reason:
            yield Refused(name, "ryujaehun", reason)
            continue
        batch, seconds, train = (
            int(row["batch_size_per_gpu"]),
            float(row["median_ms"]) / 1e3,
            row["mode"] == "train",
        )
        yield Case(
            id=name,
            table="ryujaehun",
            citation=row["source"],
            model=f"torchvision:{row['model_torchvision']}",
            task="image_classification",
            strategy="fine_tune" if train else "feature_extraction",
            gpu=gpu,
            micro_batch=batch,
            precision=precision,
            optimizer="sgd",
            image_size=int(row["img_size"]),
            classes=1000,
            memory_format="contiguous",
            measures="forward_backward" if train else "forward",
            step_seconds=seconds,
            samples_per_second=batch / seconds,
            assumed=ASSUMED,
            trust="H",
        )
