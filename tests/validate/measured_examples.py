"""Runs whose measurements are what the planner says today, times a known factor: what a check must
find is then known."""

from __future__ import annotations

import math

from planner.ledger.record import RunRecord
from planner.uncertainty import corrections
from planner.validate.cases import Case

#: (model, strategy, micro-batch, length): each answered from a shipped trace. The first
#: four are of kinds of models of their own.
SHIPPED = (
    ("Llama-3.2-1B", "fine_tune", 4, 512),
    ("gpt2", "lora", 8, 256),
    ("Qwen2.5-0.5B", "fine_tune", 4, 384),
    ("SmolLM2-135M", "lora", 8, 256),
    ("Llama-3.2-1B", "lora", 4, 512),
    ("gpt2", "fine_tune", 8, 256),
)
LORA = {"lora_rank": 16, "lora_targets": None, "lora_dropout": 0.0}


def setup(model, strategy, micro_batch, length, gpu="h100-sxm", precision=None):
    known = dict(
        model=model,
        task="causal_lm",
        strategy=strategy,
        gpu=gpu,
        micro_batch=micro_batch,
        sequence_length=length,
        precision=precision or ("amp_bf16" if model == "gpt2" else "bf16"),
        optimizer="adamw",
        attention="sdpa",
        gradient_checkpointing="none",
        gpus=1,
        accumulation=1,
    )
    return known | (LORA if strategy == "lora" else {})


def said(values, tmp_path):
    """What the planner says of a setup by itself."""
    from planner.validate.judge import ask
    from planner.validate.validate import find

    case = Case(
        id="x",
        table="t",
        citation="s",
        **{name: value for name, value in values.items() if value is not None},
    )
    with corrections.without():
        return ask(case, tmp_path, find(values["gpu"]))


def records(tmp_path, factor=1.3, scatter=0.04, runs=SHIPPED, memory=1.0, gpu="h100-sxm"):
    """One record a run; the factor differs a little from model to model."""
    made = []
    for index, values in enumerate(setup(*run, gpu=gpu) for run in runs):
        result = said(values, tmp_path)
        step = result.step_seconds.p50 * factor * math.exp(scatter * (-1) ** index)
        reserved = round(result.reserved_bytes.p50 * memory)
        context = round(result.memory.context_bytes.p50 * 1.5)
        made.append(
            RunRecord.new(
                "measured",
                "a test",
                values,
                {
                    "step_seconds": step,
                    "peak_allocated_bytes": round(result.allocated_bytes.p50 * memory),
                    "peak_reserved_bytes": reserved,
                    "device_used_bytes": reserved + context,
                },
            )
        )
    return made
