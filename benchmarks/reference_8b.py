"""Llama-3.1-8B, pure bf16 weights and AdamW states, batch 1, 2048 tokens: our live bytes beside an
independent tracker's.

    python benchmarks/reference_8b.py

The tracker (a dispatch mode that follows storages over a step on meta, written apart from this
planner) ran a library in which attention repeats keys and values to every query head, and off CUDA,
where dropout keeps a mask of the input's type. A CUDA run of today's libraries does neither:
grouped-query flash attention reads the eight key-value heads as they are, and the mask takes one
byte. Both are recorded here: "as tracked" repeats heads and keeps wide masks, "on CUDA" is what the
planner answers with. Figures are live bytes as torch counts them (GiB), before the allocator's
rounding.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from planner.models.resolve import resolve
from planner.trace.recorder import step_runner
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.regimes import build_for
from planner.trace.recorder.step_runner import StepRunner
from planner.trace.table import PHASES
from planner.training.recipe import Recipe
from planner.units import gib

TARGETS = ("q_proj", "v_proj")
#: (name, the tracker's GiB, changes to the recipe, the optimizer phase only)
REFERENCES = (
    ("full fine-tuning, forward and backward", 61.8, {}, False),
    ("full fine-tuning, foreach AdamW step", 74.8, {}, True),
    (
        "LoRA r=16 on q and v",
        29.5,
        {"strategy": "lora", "lora_rank": 16, "lora_targets": TARGETS},
        False,
    ),
    (
        "LoRA r=16 on q and v, checkpointing",
        18.5,
        {
            "strategy": "lora",
            "lora_rank": 16,
            "lora_targets": TARGETS,
            "gradient_checkpointing": "full",
        },
        False,
    ),
    ("LoRA r=16 on all linear layers", 37.4, {"strategy": "lora", "lora_rank": 16}, False),
    (
        "LoRA r=16 on all linear layers, dropout 0.05",
        46.8,
        {"strategy": "lora", "lora_rank": 16, "lora_dropout": 0.05},
        False,
    ),
)


class AsTracked(CudaLike):
    """Heads repeated before the fused kernel; dropout as torch does it off CUDA."""

    def _on_scaled_dot_product_attention(self, func, query, key, value, *args, **kwargs):
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = (t.repeat_interleave(groups, dim=1) for t in (key, value))
        return (
            super()
            ._on_scaled_dot_product_attention(func, query, key, value, *args, **kwargs)
            .contiguous()
        )

    def _on_dropout(self, func, *args, **kwargs):
        return func(*args, **kwargs)


def peak_gib(facts, changes: dict, optimizer: bool, mode: type) -> float:
    recipe = Recipe(
        **{"strategy": "fine_tune", "task": "causal_lm", "precision": "bf16", "optimizer": "adamw"}
        | changes
    )
    kept, step_runner.CudaLike = step_runner.CudaLike, mode
    try:
        raw = StepRunner(lambda: build_for(facts, recipe), recipe).record(B=1, S=2048)
    finally:
        step_runner.CudaLike = kept
    count = len(raw.operations)
    change = np.zeros(count + 2)
    for shape, itemsize, birth, death, *_ in raw.storages:
        size = itemsize * float(np.prod(shape, dtype=np.float64))
        change[birth + 1] += size
        change[min(death, count - 1) + 2] -= size
    live = np.cumsum(change)[1 : count + 1]
    in_optimizer = np.array([phase for _, phase, _ in raw.operations]) == PHASES.index("optimizer")
    return gib(live[in_optimizer if optimizer else ~in_optimizer].max())


def rows() -> list[dict]:
    facts = resolve("Llama-3.1-8B", offline=True)
    return [
        {
            "case": name,
            "tracker_gib": reference,
            "as_tracked_gib": peak_gib(facts, changes, optimizer, AsTracked),
            "on_cuda_gib": peak_gib(facts, changes, optimizer, CudaLike),
        }
        for name, reference, changes, optimizer in REFERENCES
    ]


def main() -> int:
    found = rows()
    if "--json" in sys.argv:
        print(json.dumps(found, indent=1))
        return 0
    print(f"{'':48}{'tracker':>9}{'as tracked':>12}{'error':>8}{'on CUDA':>10}")
    for row in found:
        error = row["as_tracked_gib"] / row["tracker_gib"] - 1
        print(
            f"{row['case']:48}{row['tracker_gib']:9.1f}{row['as_tracked_gib']:12.2f}{error:+8.1%}{row['on_cuda_gib']:10.2f}"
        )
    return 0 if all(abs(r["as_tracked_gib"] / r["tracker_gib"] - 1) <= 0.02 for r in found) else 1


if __name__ == "__main__":
    sys.exit(main())
