"""vTrain's ground truth: GPT training iterations under Megatron-DeepSpeed on one A100 server; the
data-parallel rows."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables.common import gpu_key
from planner.validate.cases import Case, Refused, slug

ASSUMED = (
    "vocabulary of 51,200, no recomputation (with it the wide ones would pass 210 TFLOP/s), "
    "eager attention, "
    "fp16 weights (Megatron's fp32 copy left out), softmax in fp16 as its fused kernel reads it; "
    "asked as GPT-2's architecture"
)


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One case a row that is data-parallel only; tensor and pipeline parallel rows are refused."""
    for row in rows:
        hidden, heads, layers, length = (
            int(row[c]) for c in ("hidden_size", "n_heads", "n_layers", "sequence_length")
        )
        batch, total, count = (
            int(row[c]) for c in ("micro_batch_size", "global_batch_size", "data_parallel")
        )
        name = slug(
            "vtrain",
            f"h{hidden}",
            f"l{layers}",
            f"s{length}",
            f"b{batch}",
            f"g{total}",
            f"dp{count}",
            f"tp{row['tensor_parallel']}",
            f"pp{row['pipeline_parallel']}",
        )
        if row["tensor_parallel"] != "1" or row["pipeline_parallel"] != "1":
            yield Refused(name, "vtrain", "tensor or pipeline parallel")
            continue
        seconds = float(row["iteration_ms"]) / 1e3
        yield Case(
            id=name,
            table="vtrain",
            citation=row["source"],
            model=f"gpt-h{hidden}-l{layers}",
            architecture={
                "kind": "gpt2",
                "n_embd": hidden,
                "n_layer": layers,
                "n_head": heads,
                "n_positions": length,
                "vocab_size": 51200,
            },
            task="causal_lm",
            strategy="scratch",
            gpu=gpu_key(row["gpu"]) or row["gpu"],
            gpus=count,
            parallel="ddp" if count > 1 else None,
            micro_batch=batch,
            accumulation=total // (batch * count),
            sequence_length=length,
            precision="fp16",
            optimizer="adamw_fused",
            attention="eager",
            step_seconds=seconds,
            samples_per_second=total / seconds,
            assumed=ASSUMED,
            trust="M",
            date="2024",
        )
