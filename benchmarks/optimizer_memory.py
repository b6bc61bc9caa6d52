"""What optimizers hold: bytes of the states of real tiny models after real steps on this processor,
and the most that one update allocates besides, against the recorded steps that estimates are of.

    python benchmarks/optimizer_memory.py            # the table
    python benchmarks/optimizer_memory.py --write    # docs/optimizer_memory.md too

Both are counted as CUDA's allocator rounds them, to 512 bytes. The real optimizer is the class that
a run takes, over lists of tensors where torch takes lists on CUDA; counters that it keeps on the
processor are no memory of the device. Optimizers that exist for CUDA alone cannot be run here and
are named. Leaves with 1 where a state differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.alive import Alive, rounded  # noqa: E402
from planner.models.facts import ModelFacts  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402
from planner.question.optimizers import optimizer_rows  # noqa: E402
from planner.training.recipe import Recipe  # noqa: E402

PAGE = Path(__file__).resolve().parent.parent / "docs" / "optimizer_memory.md"
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 2048,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
IMAGES = "timm/resnet18"
CASES = (("llama", "fp32"), ("llama", "bf16"), ("resnet", "fp32"))
#: What runs on this processor at all.
FOR_CUDA = ("adamw_fused",)


@dataclass(frozen=True)
class Held:
    """Bytes, as the allocator rounds them."""

    optimizer: str
    model: str
    precision: str
    states: int
    planned_states: int
    update: int
    planned_update: int

    @property
    def equal(self) -> bool:
        return self.states == self.planned_states


def runnable() -> Iterator[str]:
    """The names of recipes whose class runs here."""
    rows = [row for row in optimizer_rows() if row.recipe == row.name and row.run_by is None]
    yield from (row.name for row in rows if row.name not in FOR_CUDA + ("galore_adamw_8bit",))


def facts_of(model: str, folder: Path) -> ModelFacts:
    if model == "resnet":
        return resolve(IMAGES)
    (folder / "config.json").write_text(json.dumps(LLAMA))
    return resolve(str(folder))


def recipe_of(optimizer: str, model: str, precision: str) -> Recipe:
    row = next(row for row in optimizer_rows() if row.name == optimizer)
    more = {"optimizer_in_backward": True} if row.in_backward else {}
    task = "image_classification" if model == "resnet" else "causal_lm"
    return Recipe(
        strategy="fine_tune",
        task=task,
        precision=precision,
        optimizer=optimizer,
        image_size=64 if model == "resnet" else None,
        **more,
    )


def held(optimizer: str, model: str, precision: str, folder: Path) -> Held:
    """One optimizer on one model, planned and real."""
    facts, chosen = facts_of(model, folder), recipe_of(optimizer, model, precision)
    point = {"B": 2, "S": 32} if model == "llama" else {"B": 2}
    return Held(
        *(optimizer, model, precision),
        **_real(facts, chosen, point),
        **_planned(facts, chosen, point),
    )


def _planned(facts: ModelFacts, chosen: Recipe, point: dict[str, int]) -> dict[str, int]:
    from planner.trace.recorder.regimes import runner_for
    from planner.trace.table import CATEGORIES, PHASES

    raw = runner_for(facts, chosen).record_whole(point)
    phase = [n for n, (_, p, _) in enumerate(raw.operations) if PHASES[p] == "optimizer"]
    states, changes = 0, {}
    for shape, itemsize, born, died, category, _ in raw.storages:
        size = rounded(_elements(shape) * itemsize)
        if CATEGORIES[category] == "optimizer" and born < 0:
            states += size
        elif phase and born >= phase[0]:
            changes[born] = changes.get(born, 0) + size
            changes[died + 1] = changes.get(died + 1, 0) - size
    return {"planned_states": states, "planned_update": _highest(changes)}


def _elements(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _highest(changes: dict[int, int]) -> int:
    now = most = 0
    for _, change in sorted(changes.items()):
        now += change
        most = max(most, now)
    return most


def _real(facts: ModelFacts, chosen: Recipe, point: dict[str, int]) -> dict[str, int]:
    """Two steps of the real class on random weights."""
    import torch

    from planner.measure.real_step import prepare
    from planner.training.optimizers import OPTIMIZERS

    prepared = prepare(facts, chosen, "cpu")
    optimizer = OPTIMIZERS[chosen.optimizer].recorded(prepared.trainable)
    update = 0
    for _ in range(3):
        prepared.forward(prepared.batch(**point)).backward()
        alive = Alive(rounds=True)
        with alive, torch.no_grad():
            optimizer.step()
        update = alive.peak
        optimizer.zero_grad(set_to_none=True)
    return {"states": _states(optimizer, chosen.optimizer), "update": update}


def _states(optimizer: Any, name: str) -> int:
    """Of tensors that CUDA's run keeps on the device: those whose twins on meta lie there."""
    import torch

    from planner.trace.recorder.updating import made
    from planner.training.optimizers.several import OUTER

    owners = [p for p in optimizer.state if optimizer.state[p]]
    if not owners:
        return 0
    twins = []
    for p in owners:
        twin = torch.nn.Parameter(torch.empty_like(p, device="meta"))
        setattr(twin, OUTER, getattr(p, OUTER, False))
        twin.grad = torch.empty_like(twin)
        twins.append(twin)
    kept = made(twins, recipe_of(name, "llama", "fp32")).state
    storages = {}
    for p, twin in zip(owners, twins, strict=True):
        for key, tensor in optimizer.state[p].items():
            if isinstance(tensor, torch.Tensor) and kept[twin][key].is_meta:
                storage = tensor.untyped_storage()
                storages[storage._cdata] = rounded(storage.nbytes())
    return sum(storages.values())


def table() -> list[Held]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in runnable():
            for model, precision in CASES:
                found.append(held(name, model, precision, Path(folder)))
                print(_line(found[-1]), flush=True)
    return found


def _line(row: Held) -> str:
    verdict = "equal" if row.equal else f"{row.planned_states / max(row.states, 1) - 1:+.2%}"
    return (
        f"| {row.optimizer} | {row.model} | {row.precision} | {row.states:,} | "
        f"{row.planned_states:,} | {verdict} | {row.update:,} | {row.planned_update:,} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write docs/optimizer_memory.md")
    asked = parser.parse_args()
    rows = table()
    differing = [row for row in rows if not row.equal]
    print(f"{len(rows) - len(differing)} of {len(rows)} states are equal to the byte")
    if asked.write:
        PAGE.write_text(page(rows))
    return 1 if differing else 0


HEAD = """# What optimizers hold

    python benchmarks/optimizer_memory.py --write

Bytes of the states of {models} real tiny models (a Llama of three blocks; ResNet-18 at 64 pixels)
after three steps of the real class on a processor, beside those of the recorded step that
estimates are of; both as CUDA's allocator rounds them. *Update* is the most that one update
allocates besides.

{equal} of {rows} states, of {optimizers} optimizers, are equal to the byte. The updates of `lomo`
and `adalomo` run inside the backward pass and stand there in the record; `schedule_free_radam`
updates nothing in the first steps, which are the real ones here. Not run here, since they exist for
CUDA alone or their library is not at hand: {absent}.

| Optimizer | Model | Precision | States, B | Planned, B | | Update, B | Planned, B |
|---|---|---|--:|--:|---|--:|--:|
"""


def page(rows: list[Held]) -> str:
    """The table in Markdown."""
    ran = {row.optimizer for row in rows}
    recorded = {row.recipe for row in optimizer_rows()}
    head = HEAD.format(
        models=len({row.model for row in rows}),
        equal=sum(row.equal for row in rows),
        rows=len(rows),
        optimizers=len(ran),
        absent=", ".join(f"`{name}`" for name in sorted(recorded - ran)),
    )
    return head + "\n".join(map(_line, rows)) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
