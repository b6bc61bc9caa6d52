"""GPUMemNet: the device's memory in use while timm models trained on an A100 40GB."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.cases import Case, Refused, slug
from benchmarks.tables.common import MIB, gpu_key

ASSUMED = (
    "precision, optimizer and image size are not stated: fp32, SGD with momentum and the model's own image size, which reproduce the "
    "magnitudes; a device-level monitor, so context and cached blocks are in"
)


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One memory case a row; rows near the card's limit or larger than the next batch's are refused, as the source flags them."""
    for row in rows:
        name = slug("gpumemnet", row["model_timm"], f"b{row['batch_size']}")
        if row["near_40GB_limit"] != "no":
            yield Refused(name, "gpumemnet", "at the card's limit: saturated or out of memory, the source does not say which")
        elif row["larger_than_next_batch"] != "no":
            yield Refused(name, "gpumemnet", "larger than the same model's next batch: a wrong run or a convolution workspace")
        else:
            yield Case(
                id=name,
                table="gpumemnet",
                citation=row["source"],
                model=f"timm:{row['model_timm']}",
                task="image_classification",
                strategy="fine_tune",
                gpu=gpu_key(row["gpu"]) or row["gpu"],
                micro_batch=int(row["batch_size"]),
                precision="fp32",
                optimizer="sgd_momentum",
                classes=1000,
                peaks=(("device", int(float(row["max_gpu_mem_MiB"]) * MIB)),),
                assumed=ASSUMED,
                trust="M",
            )
