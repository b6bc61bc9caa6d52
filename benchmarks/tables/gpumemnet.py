"""GPUMemNet: the device's memory in use while timm models trained on an A100 40GB."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables.common import MIB, gpu_key, timm_model
from planner.validate.cases import Case, Refused, slug

#: What the authors' monitor shows besides the allocator's memory. Their smallest network, timm's
#: test_vit, shows 1,731 and 1,767 MiB at batches of 8 and 16: 1,695 at none, of which the
#: allocator's weights and workspace are about 20. All kernels, cuDNN's too, are loaded with the
#: context, as before CUDA 11.7 (their perceptrons, without cuDNN, show 1,451).
CONTEXT_MIB = 1675
ASSUMED = (
    "precision, optimizer and image size are not stated: fp32, SGD with momentum and the "
    "model's own image size, which reproduce the "
    f"magnitudes; a device-level monitor, from which {CONTEXT_MIB} MiB are taken off as the "
    "context that the same authors' smallest network shows"
)


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One memory case a row; rows near the card's limit, larger than the next batch's or smaller
    than an earlier one's are refused."""
    failed = _failed(rows)
    for row in rows:
        name = slug("gpumemnet", row["model_timm"], f"b{row['batch_size']}")
        size = float(row["max_gpu_mem_MiB"])
        if timm_model(row["model_timm"]) != f"timm:{row['model_timm']}":
            yield Refused(
                name,
                "gpumemnet",
                "a checkpoint's name of an earlier timm, whose image size is not stated",
            )
        elif row["model_timm"].startswith("sam2_"):
            yield Refused(
                name,
                "gpumemnet",
                "the figures of this model contradict each other over the batches",
            )
        elif row["near_40GB_limit"] != "no":
            yield Refused(
                name,
                "gpumemnet",
                "at the card's limit: saturated or out of memory, the source does not say which",
            )
        elif row["larger_than_next_batch"] != "no":
            yield Refused(
                name,
                "gpumemnet",
                "larger than the same model's next batch: a wrong run or a convolution workspace",
            )
        elif (row["model_timm"], row["batch_size"]) in failed:
            yield Refused(
                name,
                "gpumemnet",
                "no more than a smaller batch of the same model: the run ended early",
            )
        else:
            yield Case(
                id=name,
                table="gpumemnet",
                citation=row["source"],
                model=timm_model(row["model_timm"]),
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


def _failed(rows: list[dict[str, str]]) -> set[tuple[str, str]]:
    """(model, batch) from where on a model's figures stop growing with the batch: those runs ended
    before their first step."""
    out, last, broken = set(), {}, set()
    for row in sorted(rows, key=lambda r: int(r["batch_size"])):
        model, size = row["model_timm"], float(row["max_gpu_mem_MiB"])
        batch, before = last.get(model, (None, 0.0))
        if size <= before * 1.01:
            broken.add(model)
            if size >= before * 0.99:
                out.add((model, batch))
        if model in broken:
            out.add((model, row["batch_size"]))
        last[model] = (row["batch_size"], size)
    return out
