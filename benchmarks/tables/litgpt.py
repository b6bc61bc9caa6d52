"""litgpt's resource tables: peak allocated memory of LoRA and QLoRA on A100 40GB, at the longest
Alpaca example."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables.common import GB, gpu_key, number
from planner.validate.cases import Case, Refused, slug

STABLELM = {
    "kind": "causal:gpt_neox",
    "hidden_size": 4096,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "intermediate_size": 16384,
    "vocab_size": 50688,
    "max_position_embeddings": 4096,
    "rotary_pct": 0.25,
    "use_parallel_residual": True,
    "tie_word_embeddings": False,
}
FALCON = {
    "kind": "causal:falcon",
    "hidden_size": 8192,
    "num_hidden_layers": 60,
    "num_attention_heads": 128,
    "num_kv_heads": 8,
    "vocab_size": 65024,
    "new_decoder_architecture": True,
    "parallel_attn": True,
    "bias": False,
    "alibi": False,
}
#: phi-1.5 with GELU as one operation, as litgpt has it; the published configuration names the
#: composed one, which keeps more.
PHI = {
    "kind": "causal:phi",
    "vocab_size": 51200,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 24,
    "num_attention_heads": 32,
    "partial_rotary_factor": 0.5,
    "max_position_embeddings": 2048,
    "hidden_act": "gelu_pytorch_tanh",
}
#: (billions of parameters, model) → the planner's name, architecture where the catalogue has none,
#: names of the query and value layers.
MODELS = {
    ("1.3", "phi-1.5"): ("phi-1.5-fused-gelu", PHI, ("q_proj", "v_proj")),
    ("3", "StableLM Alpha"): ("stablelm-base-alpha-3b", STABLELM, ("query_key_value",)),
    ("7", "Llama 2"): ("Llama-2-7b", None, ("q_proj", "v_proj")),
    ("13", "Llama 2"): ("Llama-2-13b", None, ("q_proj", "v_proj")),
    ("40", "Falcon"): ("falcon-40b", FALCON, ("query_key_value",)),
}
ASSUMED = (
    "rank 8 on query and value, dropout 0.05, from the trainable count; the peak is at the "
    "longest example; "
    "litgpt computes the loss in chunks"
)
#: Alpaca's mean length is not in the table. The times are the same within a tenth for micro-batches
#: of 1, 2 and 4, so they hardly depend on it: the host, not the device, sets the pace.
MEAN_TOKENS = 128
TIMED = (
    "rank 8 on query and value, dropout 0.05; Alpaca at natural lengths asked as "
    f"{MEAN_TOKENS} tokens; the host sets the pace "
    "(batches of 1, 2 and 4 take the same time)"
)


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """One memory case a LoRA or QLoRA row, out-of-memory rows included, and one for its time;
    adapters and inference are refused."""
    for row in rows:
        count = int(row["n_gpus"] or 1)
        name = slug(
            "litgpt",
            row["model"],
            row["params_B"],
            row["strategy"],
            row["quantization"],
            f"b{row['micro_batch_size']}",
            f"x{count}",
        )
        reason = refusal(row)
        if reason:
            yield Refused(name, "litgpt", reason)
            continue
        peak, minutes = number(row["peak_mem_GB"]), number(row.get("time_1k_iters_min"))
        steps = max(1, 128 // (int(row["micro_batch_size"]) * count))
        shared = _question(row, count, steps)
        plain = "; NF4 without double quantisation" if row["quantization"] == "bnb.nf4" else ""
        yield Case(
            id=name,
            sequence_length=int(row["longest_example_tokens"]),
            peaks=(("allocated", int(peak * GB)),) if peak else (),
            oom=row["oom_or_na"] == "OOM",
            assumed=ASSUMED + plain,
            trust="H",
            **shared,
        )
        if minutes and count == 1:
            seconds = minutes * 60 / 1000 * steps
            yield Case(
                id=f"{name}.time",
                sequence_length=MEAN_TOKENS,
                step_seconds=seconds,
                samples_per_second=int(row["micro_batch_size"]) * steps / seconds,
                assumed=TIMED + plain,
                trust="M",
                **shared,
            )


def _question(row: dict[str, str], count: int, steps: int) -> dict:
    """What the memory and the time of a row have in common."""
    model, architecture, targets = MODELS[row["params_B"], row["model"]]
    return dict(
        table="litgpt",
        citation=row["source"],
        model=model,
        architecture=architecture,
        task="causal_lm",
        strategy=row["strategy"],
        gpu=gpu_key(row["gpu"]) or row["gpu"],
        gpus=count,
        parallel="fsdp" if count > 1 else None,
        # FSDPStrategy(activation_checkpointing_policy={Block}) of its scripts of that day
        gradient_checkpointing="full" if count > 1 else "none",
        micro_batch=int(row["micro_batch_size"]),
        accumulation=steps,
        precision="bf16",
        optimizer="adamw",
        # chunks of 128 tokens, about an eighth of the longest example; bf16-true adapters
        loss="chunked",
        adapter_precision="weights",
        lora_rank=8,
        lora_targets=targets,
        # own loaders: every linear layer is converted, the rest stays in 16 bits
        kbit_preparation="none" if row["strategy"] == "qlora" else None,
        quantised_layers="all" if row["strategy"] == "qlora" else None,
        quantised_inputs="kept" if row["strategy"] == "qlora" else None,
        lora_dropout=0.05,
        date="2023-12",
    )


def refusal(row: dict[str, str]) -> str | None:
    """Why a row cannot be asked, or None."""
    if row["strategy"] not in ("lora", "qlora"):
        return f"{row['strategy']} is no strategy of the planner"
    if not row["longest_example_tokens"]:
        return "sequence length not stated"
    if (row["params_B"], row["model"]) not in MODELS:
        return f"no architecture for {row['model']}"
    if not row["peak_mem_GB"] and row["oom_or_na"] != "OOM":
        return f"no figure: {row['oom_or_na']}"
    return None
