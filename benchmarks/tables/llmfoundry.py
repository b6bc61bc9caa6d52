"""llm-foundry's MPT training benchmark: GPT-like decoders of 125M to 70B under FSDP."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables.common import gpu_key
from planner.validate.cases import Case, Refused, slug

PRECISIONS = {"amp_bf16": "amp_bf16", "bf16": "bf16"}
ASSUMED = (
    "asked as GPT-2's architecture at MPT's sizes (learned positions, tied head; MPT has no "
    "biases); DecoupledAdamW as AdamW; flash "
    "attention of 2023; a step is all micro-batches of the global batch"
)


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One case a row: every one is fully sharded over its GPUs, and says so."""
    for row in rows:
        name = slug(
            "llmfoundry",
            row["model"],
            row["gpu"],
            f"s{row['seq_len']}",
            f"b{row['micro_batch_size']}",
            f"x{row['n_gpus']}",
            row["precision"],
        )
        gpu = gpu_key(row["gpu"])
        if gpu is None or row["precision"] not in PRECISIONS or row["act_cpu_offload"] == "True":
            yield Refused(
                name,
                "llmfoundry",
                f"precision {row['precision']}, GPU {row['gpu']} or offloading that cannot be "
                "asked",
            )
            continue
        batch, length, count, steps = (
            int(row[c]) for c in ("micro_batch_size", "seq_len", "n_gpus", "grad_accum")
        )
        rate = float(row["throughput_tokens_per_s"])
        yield Case(
            id=name,
            table="llmfoundry",
            citation=row["source"],
            model=row["model"],
            architecture=architecture(row),
            task="causal_lm",
            strategy="scratch",
            gpu=gpu,
            gpus=count,
            parallel="fsdp",
            micro_batch=batch,
            accumulation=steps,
            sequence_length=length,
            precision=PRECISIONS[row["precision"]],
            optimizer="adamw",
            attention="flash",
            gradient_checkpointing="full" if row["act_ckpt"] == "True" else "none",
            step_seconds=batch * length * count * steps / rate,
            samples_per_second=rate / length,
            assumed=ASSUMED,
            trust="H",
            date="2023",
        )


def architecture(row: dict[str, str]) -> dict:
    """MPT's sizes as a GPT-2 without dropout."""
    return {
        "kind": "gpt2",
        "activation_function": "gelu",  # one kernel: llm-foundry's ffn.py, approximate none
        "n_embd": int(row["d_model"]),
        "n_layer": int(row["n_layers"]),
        "n_head": int(row["n_heads"]),
        "n_positions": int(row["seq_len"]),
        "vocab_size": int(row["vocab_size"]),
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }
