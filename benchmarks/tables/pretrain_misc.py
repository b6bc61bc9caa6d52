"""Scattered pre-training figures: nanoGPT's own benchmark."""

from __future__ import annotations

import re
from collections.abc import Iterator

from benchmarks.tables.common import gpu_key
from planner.validate.cases import Case, Refused, slug

NANOGPT = {
    "kind": "gpt2",
    "vocab_size": 50304,
    "n_positions": 1024,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}


def cases(rows: list[dict[str, str]]) -> Iterator[Case | Refused]:
    """nanoGPT's bench.py with and without compilation; the other rows are sharded, exotic or
    without a batch."""
    for row in rows:
        name = slug("pretrain_misc", row["model"], row["note"][:20])
        found = re.search(r"(\d+) ms/iter", row["note"])
        if "bench.py" not in row["model"] or not found:
            yield Refused(
                name, "pretrain_misc", "batch, architecture or parallel layout not recoverable"
            )
            continue
        seconds, compiled = float(found[1]) / 1e3, not row["note"].startswith("no torch.compile")
        yield Case(
            id=slug("pretrain_misc", "nanogpt", "compiled" if compiled else "eager"),
            table="pretrain_misc",
            citation=row["source"],
            model="gpt2-nanogpt",
            architecture=NANOGPT,
            task="causal_lm",
            strategy="scratch",
            gpu=gpu_key("NVIDIA A100 40GB"),
            micro_batch=12,
            sequence_length=1024,
            precision="amp_bf16",
            optimizer="adamw_fused",
            attention="eager",
            compile=compiled,
            step_seconds=seconds,
            samples_per_second=12 / seconds,
            trust="M",
            date="2023-02",
            assumed="no GPU named: the README's A100 40GB; bench.py's defaults of that day: "
            "batch 12, 1024 tokens, bf16 autocast",
        )
