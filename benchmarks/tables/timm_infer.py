"""timm's inference benchmark: forward passes alone, which is what cached features cost."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables.common import gpu_key, number, timm_model
from planner.validate.cases import Case, Refused, slug

PRECISIONS = {
    "AMP float16 (fp32 weights)": "amp_fp16",
    "AMP bfloat16 (fp32 weights)": "amp_bf16",
    "pure bfloat16": "bf16",
}


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One forward-only case a row."""
    for row in rows:
        layout = "channels_last" if row["memory_format"] == "channels_last" else "contiguous"
        precision, gpu = PRECISIONS.get(row["precision"]), gpu_key(row["gpu"])
        name = slug(
            "timm_infer",
            row["model"],
            row["img_size"],
            f"b{row['batch_size']}",
            gpu or row["gpu"],
            layout,
            precision,
            row["torch"],
            "compiled" if row["torch_compile"].startswith("yes") else None,
        )
        if gpu is None or precision is None or not row["infer_step_ms"]:
            yield Refused(name, "timm_infer", "GPU, precision or time that has no counterpart")
            continue
        yield Case(
            id=name,
            table="timm_infer",
            citation=row["source"],
            model=timm_model(row["model"]),
            task="image_classification",
            strategy="feature_extraction",
            gpu=gpu,
            micro_batch=int(row["batch_size"]),
            precision=precision,
            optimizer="adamw",
            image_size=int(row["img_size"]),
            classes=1000,
            memory_format=layout,
            attention="eager" if row["torch"].startswith("1.") else "sdpa",
            measures="forward",
            compile=row["torch_compile"].startswith("yes"),
            step_seconds=float(row["infer_step_ms"]) / 1e3,
            samples_per_second=number(row["infer_samples_per_s"]),
            trust="H",
            assumed="inference mode with the classifier's head, synthetic images; torch "
            f"{row['torch']}",
        )
