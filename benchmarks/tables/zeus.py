"""Zeus's traces: seconds an epoch on a V100, the rows at the card's full power."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables.common import gpu_key
from planner.validate.cases import Case, Refused, slug

#: (dataset, model) → the question, and how many samples an epoch holds.
RUNS = {
    ("imagenet", "resnet50"): (
        dict(
            model="torchvision:resnet50", task="image_classification", classes=1000, image_size=224
        ),
        1_281_167,
        "ImageNet-1k train has 1,281,167 images; data loading is in the time; fp32",
    ),
    ("squad", "bert_base_uncased"): (
        dict(
            model="bert-base-uncased",
            task="token_classification",
            classes=2,
            sequence_length=384,
            attention="eager",
        ),
        88_524,
        "SQuAD v1.1 makes 88,524 windows of 384 tokens at stride 128, the length of the common "
        "script; fp32",
    ),
}
OPTIMIZERS = {"adadelta": "sgd_momentum", "adamw": "adamw_for_loop"}


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One case a full-power row whose model and length are known."""
    for row in rows:
        name = slug(
            "zeus",
            row["model"],
            row["dataset"],
            f"b{row['batch_size']}",
            row["optimizer"],
            f"{row['power_limit_W']}W",
        )
        if row["is_max_power_limit"] != "yes":
            yield Refused(name, "zeus", "power-limited")
        elif (row["dataset"], row["model"]) not in RUNS:
            yield Refused(name, "zeus", "model or length not recoverable")
        else:
            question, samples, assumed = RUNS[row["dataset"], row["model"]]
            batch, seconds = int(row["batch_size"]), float(row["time_per_epoch_s"])
            yield Case(
                id=name,
                table="zeus",
                citation=row["source"],
                strategy="fine_tune",
                gpu=gpu_key(row["gpu"]) or row["gpu"],
                micro_batch=batch,
                precision="fp32",
                optimizer=OPTIMIZERS[row["optimizer"]],
                step_seconds=seconds * batch / samples,
                samples_per_second=samples / seconds,
                trust="M",
                date="2023",
                assumed=f"{assumed}; precision not stated"
                + (
                    "; Adadelta asked as SGD with momentum"
                    if row["optimizer"] == "adadelta"
                    else ""
                ),
                **question,
            )
