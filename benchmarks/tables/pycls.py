"""pycls's model zoo: forward and backward time of one training iteration on a V100, fp32, no
optimizer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from benchmarks.tables.common import gpu_key
from planner.validate.cases import Case, Refused, slug

NAMES = {
    "ResNet-50": "torchvision:resnet50",
    "ResNet-101": "torchvision:resnet101",
    "ResNet-152": "torchvision:resnet152",
    "ResNeXt-50": "torchvision:resnext50_32x4d",
    "ResNeXt-101": "timm:resnext101_32x4d",
    **{f"EfficientNet-B{i}": f"timm:efficientnet_b{i}" for i in range(6)},
}
ASSUMED = (
    "one GPU at an eighth of the table's batch, as pycls's precise timing runs it; fp32 "
    "without tensor cores; the optimizer is outside "
    "the timer; images in the contiguous layout"
)


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One case a model: forward plus backward, and the forward pass alone."""
    for row in rows:
        name, model = slug("pycls", row["model"]), timm_name(row["model"])
        if model is None:
            yield Refused(name, "pycls", f"no library has {row['model']}")
            continue
        batch, seconds = int(row["batch_size_8gpu"]) // 8, float(row["train_fw_bw_time_s"])
        yield Case(
            id=name,
            table="pycls",
            citation=row["source"],
            model=model,
            task="image_classification",
            strategy="fine_tune",
            gpu=gpu_key(row["gpu"]) or row["gpu"],
            micro_batch=batch,
            precision="fp32",
            optimizer="sgd_momentum",
            image_size=int(row["img_size"]),
            classes=1000,
            memory_format="contiguous",
            measures="forward_backward",
            step_seconds=seconds,
            forward_seconds=float(row["train_fw_time_s"]),
            samples_per_second=batch / seconds,
            assumed=ASSUMED,
            trust="H",
            date="2020",
        )


def timm_name(model: str) -> str | None:
    """``RegNetX-1.6GF`` → ``timm:regnetx_016``; None where no library has the model."""
    if match := re.fullmatch(r"RegNet([XY])-([0-9.]+)([MG])F", model):
        hundreds = float(match[2]) * (10 if match[3] == "G" else 0.01)
        return f"timm:regnet{match[1].lower()}_{round(hundreds):03d}"
    return NAMES.get(model)
