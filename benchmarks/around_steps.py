"""What software does around a step, in figures: published steps with what waits in the host's
memory beside the planner's, and what the planner says of the allocator's settings and of clipping.

    python benchmarks/around_steps.py --write docs/around_steps_figures.md

Nothing is fitted to the rows, ``profiles/measured/offloading.csv``. The other tables are the
planner's own figures, held against nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.published_rows import Row, notes  # noqa: E402
from planner import estimate, tables  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.devices.lookup import find_device  # noqa: E402
from planner.models.facts import ModelFacts  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402
from planner.plan.steps.point import (
    evaluate,  # noqa: E402
    memory_at,  # noqa: E402
)
from planner.question.setup import TracedSettings  # noqa: E402
from planner.trace.source import trace_for  # noqa: E402
from planner.training.recipe import Recipe, recipe_of  # noqa: E402
from planner.units import GIGA  # noqa: E402
from planner.validate.architectures import resolvable  # noqa: E402

GIB = 2**30
#: DeepSpeed's tutorial and paper (arXiv 2101.06840): layers of a GPT-2 of width 4,096, and samples.
GPT2 = ((50, 10), (65, 1), (80, 1))
WIDTH, HEADS, LENGTH = 4096, 32, 1024
ALLOCATORS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("torch's own", {}),
    ("`expandable_segments:True`", {"allocator": "expandable_segments:True"}),
    ("`max_split_size_mb:64`", {"allocator": "max_split_size_mb:64"}),
    ("`roundup_power2_divisions:4`", {"allocator": "roundup_power2_divisions:4"}),
    ("`--empty-cache-steps 1`", {"empty_cache_steps": 1}),
    ("`--empty-cache-steps 10`", {"empty_cache_steps": 10}),
    (
        "expandable, emptied at every step",
        {"allocator": "expandable_segments:True", "empty_cache_steps": 1},
    ),
)
CLIPPED = ("Llama-3.2-1B", "Llama-3.1-8B")


def full(facts: ModelFacts, **more: Any) -> Recipe:
    """A full fine-tune of a model for its own task."""
    usual = {"strategy": "fine_tune", "task": facts.task, "optimizer": "adamw_fused"}
    return recipe_of(TracedSettings(**usual | more), facts.image_size)


def published(rows: list[Row]) -> Iterator[str]:
    """torchao's table."""
    yield "| row | peak, published | planned | error | step, published | planned | error |"
    yield "| --- | --: | --: | --: | --: | --: | --: |"
    for row in rows:
        facts = resolve(row["model"], offline=True)
        recipe = full(
            facts,
            precision=row["precision"],
            gradient_checkpointing="full",
            offload=tuple(row["offload"].split()) or None,
            image_size=int(row["image_size"]),
            classes=int(row["classes"]),
        )
        spec = replace(find_device(row["gpu"]), host_cores=float(row["processor_cores"]))
        found = evaluate(facts, recipe, spec, micro_batch=int(row["micro_batch"]))
        peak, step = found.allocated_bytes.p50 / GIGA, found.step_seconds.p50
        wanted, seconds = float(row["peak_gb"]), float(row["step_seconds"])
        yield (
            f"| {row['id']} | {wanted:.2f} GB | {peak:.2f} GB | {peak / wanted - 1:+.1%} | "
            f"{seconds:.2f} s | {step:.2f} s | {step / seconds - 1:+.0%} |"
        )


def on_one_v100(folder: Path) -> Iterator[str]:
    """ZeRO-Offload's largest models."""
    yield "| GPT-2 | parameters | samples | planned | of the device |"
    yield "| --- | --: | --: | --: | --: |"
    spec = find_device("v100-sxm2-32")
    for layers, batch in GPT2:
        shape = {"kind": "causal:gpt2", "n_embd": WIDTH, "n_layer": layers, "n_head": HEADS}
        facts = resolve(resolvable(f"gpt2-{layers}", shape, folder), offline=True)
        recipe = full(
            facts,
            precision="amp_fp16",
            optimizer="adamw",
            gradient_checkpointing="full",
            offload=("optimizer", "gradients"),
        )
        found = evaluate(facts, recipe, spec, micro_batch=batch, sequence_length=LENGTH)
        source = trace_for(facts, recipe)
        count = source.at(B=batch, S=LENGTH).meta["total_params"]
        used, room = found.device_used_bytes.p50, found.device_total_bytes
        yield (
            f"| {layers} layers of {WIDTH:,} | {count / GIGA:.1f}B | {batch} | "
            f"{used / GIGA:.1f} GB | {room / GIGA:.1f} GB, {used / room - 1:+.1%} |"
        )


def on_the_host() -> str:
    """t5-3b, as DeepSpeed's estimates are of."""
    facts = resolve("t5-3b", offline=True)
    recipe = full(
        facts,
        precision="amp_bf16",
        optimizer="adamw",
        offload=("optimizer", "gradients"),
    )
    meta = trace_for(facts, recipe).at(B=1, S=64, T=64).meta
    held = float(meta["host_bytes"]) / GIB
    return (
        f"t5-3b with its optimizer and gradients on the host: {held:.1f} GiB planned. DeepSpeed's "
        "`estimate_zero2_model_states_mem_needs` takes 16 B a parameter, here "
        f"{16 * meta['total_params'] / GIB:.1f} GiB, times a buffer factor of 1.5."
    )


def allocators() -> Iterator[str]:
    """Of Llama 3.2 1B on an A100."""
    yield "| setting | allocated | reserved |"
    yield "| --- | --: | --: |"
    for words, setting in ALLOCATORS:
        answer = estimate(
            "Llama-3.2-1B",
            samples=1000,
            tokens_per_sample=512,
            max_length=512,
            length_spread=0,
            gpu="a100-sxm-80",
            strategy=["fine_tune"],
            precision="bf16",
            optimizer="adamw",
            micro_batch=4,
            global_batch=4,
            gradient_checkpointing="none",
            evaluations_per_epoch=0,
            price=1.0,
            offline=True,
            **setting,
        )
        memory = answer["options"][0]["memory"]
        held = (memory[name]["p50"] / GIGA for name in ("allocated_bytes", "reserved_bytes"))
        yield "| " + " | ".join([words, *(f"{one:.1f} GB" for one in held)]) + " |"


def clipping() -> Iterator[str]:
    """What the norms of gradients add to the peak of full fine-tuning in bf16."""
    yield "| model | optimizer | tokens | peak without | clipping adds |"
    yield "| --- | --- | --: | --: | --: |"
    spec = find_device("h100-sxm")
    for name in CLIPPED:
        facts = resolve(name, offline=True)
        for optimizer in ("adamw", "adamw_fused"):
            source = trace_for(facts, full(facts, precision="bf16", optimizer=optimizer))
            for tokens in (64, 2048):
                plain, clipped = (
                    memory_at(source, spec, {"B": 1, "S": tokens, "T": None}, clips=clips)
                    for clips in (False, True)
                )
                base = plain.allocated_bytes.p50
                added = clipped.allocated_bytes.p50 - base
                yield (
                    f"| {name} | {optimizer} | {tokens:,} | {base / GIGA:.1f} GB | "
                    f"{added / 2**20:.0f} MiB |"
                )


def document() -> str:
    rows = tables.rows("measured", "offloading.csv")
    with tempfile.TemporaryDirectory() as folder:
        v100 = list(on_one_v100(Path(folder)))
    return (
        "\n".join(
            [
                "# Around a step, in figures\n",
                "Written by `python benchmarks/around_steps.py --write "
                "docs/around_steps_figures.md`. Nothing is fitted to what is published.\n",
                "## What waits on the host: torchao's table\n",
                *published(rows),
                "",
                *notes(rows, "the planner"),
                "\n## ZeRO-Offload on one V100 of 32 GB\n",
                "DeepSpeed's tutorial trains 10B in batches of 10, its paper (arXiv 2101.06840) "
                f"13B at the most. Planned at {LENGTH:,} tokens, under `amp_fp16`:\n",
                *v100,
                "",
                on_the_host(),
                "\n## The allocator's settings\n",
                "Full fine-tuning of Llama 3.2 1B in bf16, 4 sequences of 512 tokens, AdamW over "
                "lists; replays, none held against a device:\n",
                *allocators(),
                "\n## What clipping holds\n",
                *clipping(),
            ]
        )
        + "\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the document there")
    options = parser.parse_args()
    text = document()
    if options.write:
        write(options.write, text)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
