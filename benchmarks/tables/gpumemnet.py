"""GPUMemNet: the device's memory in use while timm models trained on an A100 40GB."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.cases import Case, Refused, slug
from benchmarks.tables.common import MIB, gpu_key

#: What the authors' monitor shows besides the allocator's memory: their smallest perceptron, of 27 parameters, shows 1,451 MiB, of
#: which the allocator can hold 2 to 22 MiB (all kernels are loaded with the context, as before CUDA 11.7).
CONTEXT_MIB = 1440
ASSUMED = (
    "precision, optimizer and image size are not stated: fp32, SGD with momentum and the model's own image size, which reproduce the "
    f"magnitudes; a device-level monitor, from which {CONTEXT_MIB} MiB are taken off as the context that the same authors' perceptrons show"
)


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One memory case a row; rows near the card's limit, larger than the next batch's or smaller than an earlier one's are refused."""
    largest = _largest_before(rows)
    for row in rows:
        name = slug("gpumemnet", row["model_timm"], f"b{row['batch_size']}")
        size = float(row["max_gpu_mem_MiB"])
        if row["near_40GB_limit"] != "no":
            yield Refused(name, "gpumemnet", "at the card's limit: saturated or out of memory, the source does not say which")
        elif row["larger_than_next_batch"] != "no":
            yield Refused(name, "gpumemnet", "larger than the same model's next batch: a wrong run or a convolution workspace")
        elif size < largest.get((row["model_timm"], int(row["batch_size"])), 0):
            yield Refused(name, "gpumemnet", "less than a smaller batch of the same model: the run failed early")
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
                peaks=(("reserved", int((size - CONTEXT_MIB) * MIB)),),
                assumed=ASSUMED,
                trust="M",
            )


def _largest_before(rows: list[dict[str, str]]) -> dict[tuple[str, int], float]:
    """(model, batch) → the most MiB that any smaller batch of the model took."""
    out, most = {}, {}
    for row in sorted(rows, key=lambda r: int(r["batch_size"])):
        model = row["model_timm"]
        out[model, int(row["batch_size"])] = most.get(model, 0.0)
        most[model] = max(most.get(model, 0.0), float(row["max_gpu_mem_MiB"]))
    return out
