"""Memory of sharded training beside torch's own simulation of it: FSDP2's ``fully_shard`` on a fake
process group, its peak as ``FSDPMemTracker`` counts it, without a device.

    python benchmarks/sharded_memory.py [--write docs/sharded_memory.md]

Both sides run the same model on the same batch with eager attention, so that what differs is the
sharding alone: torch's fake tensors are a processor's, whose attention kernels and dropout masks
are not CUDA's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402

from planner import units  # noqa: E402
from planner.cli.writing import write  # noqa: E402
from planner.libraries import import_library  # noqa: E402
from planner.memory.lifetimes import OPTIMIZER, WEIGHTS, before_training, steady_step  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402
from planner.parallel.plan import ParallelPlan  # noqa: E402
from planner.parallel.sharded import Kept  # noqa: E402
from planner.parallel.source import shared_trace  # noqa: E402
from planner.trace.source import trace_for  # noqa: E402
from planner.trace.table import StepTrace  # noqa: E402
from planner.training.recipe import Recipe  # noqa: E402

NO_DROPOUT = {
    "GPT2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "Bert": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
}
HEAD = """# Memory of sharded training, beside torch's own simulation

Written by `python benchmarks/sharded_memory.py --write docs/sharded_memory.md`. *torch*: the peak
that `torch.distributed._tools.fsdp2_mem_tracker.FSDPMemTracker` counts over one step of a model
under FSDP2's `fully_shard` of each block and of the whole, on a fake process group (nothing is
computed, nothing is sent). *planner*: the same step's trace, rewritten by
`planner/parallel/sharded.py`; nothing is rounded on either side. With a policy parameters are
gathered in bfloat16 and gradients reduced in float32. Sizes in MiB of one device; *rest* is
gradients, activations and the buffers of collectives, which the tracker does not tell apart before
a block's backward pass has ended; where the peak lies in the optimizer it counts what that holds
for a moment as its states.

"""
COLUMNS = "model|batch × tokens|devices|policy|torch|planner|off|own parameters|gathered"
TABLE = [*COLUMNS.split("|"), "optimizer", "rest"]


@dataclass(frozen=True)
class Model:
    """``kind``: of transformers, as ``Llama``; ``head``: its class with a loss."""

    name: str
    kind: str
    head: str
    task: str
    sizes: dict[str, int] = field(hash=False)
    blocks: str = ""

    def config(self) -> Any:
        library = import_library("transformers", "the benchmark of sharded memory")
        made = getattr(library, f"{self.kind}Config")(
            **self.sizes,
            **NO_DROPOUT.get(self.kind, {}),
            use_cache=False,
            architectures=[f"{self.kind}{self.head}"],
            attn_implementation="eager",
        )
        return made


@dataclass(frozen=True)
class Asked:
    """``wide``: under a mixed-precision policy; ``checkpointed``: blocks are recomputed."""

    model: Model
    batch: int
    length: int
    devices: int
    wide: bool
    checkpointed: bool = False


@dataclass(frozen=True)
class Peak:
    """Bytes at the peak: a device's own parameters, those gathered, optimizer states, the rest."""

    own: float
    gathered: float
    optimizer: float
    rest: float

    @property
    def total(self) -> float:
        return self.own + self.gathered + self.optimizer + self.rest


LLAMA = Model(
    "Llama, 4 blocks of 512",
    "Llama",
    "ForCausalLM",
    "causal_lm",
    {
        "hidden_size": 512,
        "intermediate_size": 1376,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 8000,
        "max_position_embeddings": 512,
    },
    "model.layers",
)
GPT2 = Model(
    "GPT-2, 12 blocks of 768",
    "GPT2",
    "LMHeadModel",
    "causal_lm",
    {"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024},
    "transformer.h",
)
BERT = Model(
    "BERT, 12 blocks of 768",
    "Bert",
    "ForMaskedLM",
    "masked_lm",
    {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "vocab_size": 30522,
    },
    "bert.encoder.layer",
)
TINY = Model(
    "Llama, 3 blocks of 66",
    "Llama",
    "ForCausalLM",
    "causal_lm",
    {
        "hidden_size": 66,  # no whole number of parts on 8 devices
        "intermediate_size": 130,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "vocab_size": 101,
        "max_position_embeddings": 64,
    },
    "model.layers",
)


def cases() -> Iterator[Asked]:
    for model in (LLAMA, GPT2, BERT):
        for devices in (2, 8):
            for wide in (False, True):
                yield Asked(model, 4, 256, devices, wide)
                yield Asked(model, 1, 16, devices, wide)
    for wide in (False, True):
        yield Asked(LLAMA, 4, 256, 8, wide, checkpointed=True)
        yield Asked(GPT2, 4, 256, 8, wide, checkpointed=True)


# ---- torch's side


def simulated(asked: Asked) -> Peak:
    """By torch's tracker, of a step after one that made the optimizer's states."""
    import torch
    import torch.distributed as dist
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from torch.testing._internal.distributed.fake_pg import FakeStore

    config = asked.model.config()
    library = import_library("transformers", "the benchmark of sharded memory")
    policy = MixedPrecisionPolicy()
    if asked.wide:
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    dist.init_process_group("fake", rank=0, world_size=asked.devices, store=FakeStore())
    try:
        mesh = init_device_mesh("cpu", (asked.devices,))
        with FakeTensorMode():
            model = getattr(library, config.architectures[0])(config).train()
            if asked.checkpointed:
                model.gradient_checkpointing_enable()
            for block in model.get_submodule(asked.model.blocks):
                fully_shard(block, mesh=mesh, mp_policy=policy)
            fully_shard(model, mesh=mesh, mp_policy=policy)
            optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
            ids = torch.randint(0, 100, (asked.batch, asked.length))

            def step() -> None:
                model(input_ids=ids, labels=ids).loss.backward()
                optimizer.step()
                optimizer.zero_grad()

            step()
            tracker = FSDPMemTracker(model, optimizer)
            tracker.track_inputs((ids,))
            with tracker:
                step()
            (found,) = tracker.get_tracker_snapshot("peak").values()
    finally:
        dist.destroy_process_group()
    parts = {str(key).rpartition(".")[2]: float(value) for key, value in found.items()}
    whole = parts.pop("Total")
    own, gathered = parts.get("SHARDED_PARAM", 0.0), parts.get("UNSHARDED_PARAM", 0.0)
    states = parts.get("OPT", 0.0)
    return Peak(own, gathered, states, whole - own - gathered - states)


# ---- ours


def planned(asked: Asked) -> Peak:
    """By the trace of one device, rewritten."""
    with tempfile.TemporaryDirectory() as folder:
        asked.model.config().save_pretrained(folder)
        facts = resolve(folder, task=asked.model.task)
        recipe = Recipe(
            strategy="fine_tune",
            task=asked.model.task,
            precision="bf16" if asked.wide else "fp32",
            optimizer="adamw",
            gradient_checkpointing="full" if asked.checkpointed else "none",
            attention="eager",
        )
        source = trace_for(facts, recipe)
        source.keep = False
        trace = source.at(B=asked.batch, S=asked.length)
    plan = ParallelPlan(dp_shard=asked.devices, sharding="fsdp")
    return peak_of(
        shared_trace(trace, plan, Kept(asked.wide)), {"B": asked.batch, "S": asked.length}
    )


def peak_of(trace: StepTrace, point: dict[str, int]) -> Peak:
    """Live bytes of a steady step, nothing rounded, by what they are."""
    sizes = trace.storage_bytes(trace.dims(**point))[trace.size]
    sizes = np.concatenate([sizes, sizes])
    events = np.concatenate([schedule.storage for schedule in steady_step(trace, 1)])
    there = before_training(trace, with_optimizer=True)
    change = np.where(events >= 0, 1, -1) * sizes[np.where(events >= 0, events, ~events)]
    last = int(np.argmax(np.cumsum(change)))
    alive = dict.fromkeys(there.tolist())
    for event in events[: last + 1].tolist():
        alive.pop(~event) if event < 0 else alive.update({event: None})
    storages = np.array(list(alive))
    category, before = trace.category[storages], trace.birth[storages] < 0
    held = sizes[storages]
    own = float(held[(category == WEIGHTS) & before].sum())
    gathered = float(held[(category == WEIGHTS) & ~before].sum())
    states = float(held[category == OPTIMIZER].sum())
    return Peak(own, gathered, states, float(held.sum()) - own - gathered - states)


# ---- the page


def row(asked: Asked, torch_own: Peak, ours: Peak) -> str:
    def pair(name: str) -> str:
        first, second = getattr(torch_own, name), getattr(ours, name)
        return f"{first / units.MIB:,.1f} / {second / units.MIB:,.1f}"

    name = asked.model.name + (", recomputed" if asked.checkpointed else "")
    return (
        " | ".join(
            [
                f"| {name}",
                f"{asked.batch} × {asked.length}",
                str(asked.devices),
                "bfloat16" if asked.wide else "none",
                f"{torch_own.total / units.MIB:,.1f}",
                f"{ours.total / units.MIB:,.1f}",
                f"{ours.total / torch_own.total - 1:+.2%}",
                *(pair(name) for name in ("own", "gathered", "optimizer", "rest")),
            ]
        )
        + " |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", type=Path, help="write the page to this file")
    asked = parser.parse_args()
    lines, worst = [], 0.0
    for case in cases():
        both = simulated(case), planned(case)
        lines.append(row(case, *both))
        worst = max(worst, abs(both[1].total / both[0].total - 1))
        print(lines[-1], flush=True)
    top = ["| " + " | ".join(TABLE) + " |", "| --- " * len(TABLE) + "|"]
    page = HEAD + "\n".join([*top, *lines]) + f"\n\nThe largest difference is {worst:.2%}.\n"
    if asked.write:
        write(asked.write, page)
    return 0 if worst <= 0.03 else 1


if __name__ == "__main__":
    sys.exit(main())
