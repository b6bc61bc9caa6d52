"""Rows of the measuring program of this project's own runs: architecture as JSON, both peaks of the
allocator, event-timed steps."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator

from benchmarks.tables.common import gpu_key, integer, number
from planner.validate.architectures import task_of
from planner.validate.cases import Case, Refused

STRATEGIES = {"full": "fine_tune", "partial": "partial_fine_tune"}
OPTIMIZERS = {"adamw8bit": "adamw_8bit", "sgd": "sgd_momentum"}
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CLASSES = {"text_classification": 2, "audio_classification": 12, "image_classification": 1000}


def is_measured_runs(columns: list[str]) -> bool:
    """Whether a CSV's header is the measuring program's."""
    return {"run_id", "status", "architecture", "step_ms_median", "peak_allocated_bytes"} <= set(
        columns
    )


def cases(rows: list[dict[str, str]], source: str = "measured runs") -> Iterator[Case | Refused]:
    """One case a row that ran or ran out of memory; rows that were skipped or failed are refused
    with their note."""
    for row in rows:
        if row["status"] not in ("ok", "oom"):
            yield Refused(row["run_id"], "measured_runs", f"{row['status']}: {row['note'][:80]}")
            continue
        architecture = json.loads(row["architecture"])
        yield Case(
            id=row["run_id"],
            table="measured_runs",
            citation=row.get("source") or source,
            model=row["model"],
            architecture=architecture,
            gpu=gpu_key(row["device"]) or row["device"],
            micro_batch=int(row["batch_size"]),
            precision=row["precision"],
            trust="H",
            optimizer=OPTIMIZERS.get(row["optimizer"], row["optimizer"]),
            attention=row["attention"] or "sdpa",
            gradient_checkpointing="full" if row["gradient_checkpointing"] == "True" else "none",
            compile=row["compile"] == "True",
            **_shape(row, architecture),
            **_strategy(row),
            **_measured(row),
        )


def _shape(row: dict[str, str], architecture: dict) -> dict:
    task, length = task_of(architecture["kind"]), integer(row["sequence_length"])
    vision = architecture["kind"] == "timm"
    return dict(
        task=task,
        sequence_length=length,
        target_length=max(8, length // 4) if task == "seq2seq_lm" and length else None,
        image_size=integer(row["image_size"]),
        classes=integer(row["num_classes"]) or CLASSES.get(task),
        memory_format=(
            "contiguous" if row["model"].startswith(("vit", "swin")) else "channels_last"
        )
        if vision
        else None,
    )


def _strategy(row: dict[str, str]) -> dict:
    strategy = STRATEGIES.get(row["strategy"], row["strategy"])
    lora = strategy in ("lora", "qlora")
    targets = tuple(ast.literal_eval(row["lora_targets"])) if row["lora_targets"] else LORA_TARGETS
    return dict(
        strategy=strategy,
        lora_rank=integer(row["lora_rank"]) if lora else None,
        lora_targets=targets if lora else None,
        lora_dropout=0.0 if lora else None,
        unfrozen_blocks=integer(row["unfrozen_blocks"])
        if strategy == "partial_fine_tune"
        else None,
    )


def _measured(row: dict[str, str]) -> dict:
    step, forward = number(row["step_ms_median"]), number(row["forward_ms_median"])
    peaks = tuple(
        (name, integer(row[f"peak_{name}_bytes"]))
        for name in ("allocated", "reserved")
        if row[f"peak_{name}_bytes"]
    )
    return dict(
        step_seconds=step / 1e3 if step else None,
        forward_seconds=forward / 1e3 if forward else None,
        peaks=peaks,
        samples_per_second=int(row["batch_size"]) / step * 1e3 if step else None,
        oom=row["status"] == "oom",
    )
