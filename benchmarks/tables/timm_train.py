"""timm's own training benchmark on one RTX 3090: hundreds of vision models, both memory layouts,
three torch versions."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables.common import gpu_key, integer, number, timm_model
from planner.validate.cases import Case, Refused, slug

ASSUMED = (
    "SGD with momentum, 1000 classes, synthetic images on the device, no gradient scaler; timm "
    "of 2022, without fused attention; "
    "the timer holds forward, backward and optimizer"
)


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One case a row for time, and one more for the next larger batch where the source tried it and
    it failed."""
    for row in rows:
        layout = "channels_last" if row["memory_format"] == "channels_last" else "contiguous"
        name = slug(
            "timm_train",
            row["model"],
            row["img_size"],
            f"b{row['batch_size']}",
            layout,
            f"torch{row['torch'].replace('.', '_')}",
        )
        gpu = gpu_key(row["gpu"])
        if gpu is None or not row["train_step_ms"]:
            yield Refused(
                name, "timm_train", "no step time" if gpu else f"GPU {row['gpu']!r} has no key"
            )
            continue
        shared = dict(
            table="timm_train",
            citation=row["source"],
            model=timm_model(row["model"]),
            task="image_classification",
            strategy="fine_tune",
            gpu=gpu,
            precision="amp_fp16",
            optimizer="sgd_momentum",
            image_size=int(row["img_size"]),
            classes=1000,
            memory_format=layout,
            attention="eager",
        )
        yield Case(
            id=name,
            micro_batch=int(row["batch_size"]),
            step_seconds=float(row["train_step_ms"]) / 1e3,
            samples_per_second=number(row["train_samples_per_s"]),
            assumed=f"{ASSUMED}; torch {row['torch']}",
            trust="H",
            **shared,
        )
        failed = integer(row["next_larger_batch_tried_and_failed"])
        if failed:
            yield Case(
                id=f"{name}.failed{failed}",
                micro_batch=failed,
                oom=True,
                trust="M",
                assumed="the benchmark lowers the batch after any runtime error: read as out "
                f"of memory; torch {row['torch']}",
                **shared,
            )
