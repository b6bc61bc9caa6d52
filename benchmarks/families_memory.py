"""Peak memory of one training step, by the trace and by torch's own tracker on fake tensors.

    python benchmarks/families_memory.py
    python benchmarks/families_memory.py --only vit patchtst

Each case is a model in float32 with eager attention at one batch: the step's largest sum of live
tensors (``planner.memory.live_bytes``, no allocator, no library workspaces) beside
``torch.distributed._tools.mem_tracker.MemTracker`` around the same module, batch, loss and AdamW
under ``FakeTensorMode``. Models whose kernels on CUDA keep other tensors than a processor's (LSTMs,
fused attention without an eager form) cannot be compared so. Leaves with 1 where a difference is
above ``TOLERANCE``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.isolated import each  # noqa: E402

TOLERANCE = 0.03
MIB = 2**20


@dataclass(frozen=True)
class Case:
    """A family's model at a point."""

    family: str
    model: str
    task: str
    point: tuple[tuple[str, int], ...]


CASES = (
    Case("text encoder", "distilbert-base-uncased", "text_classification", (("B", 4), ("S", 64))),
    Case("decoder", "SmolLM2-135M", "causal_lm", (("B", 2), ("S", 64))),
    Case("image", "timm:vit_tiny_patch16_224", "image_classification", (("B", 4),)),
    Case("image and text", "clip-vit-b32", "contrastive", (("B", 4),)),
    Case("embeddings", "all-MiniLM-L6-v2", "text_embedding", (("B", 4), ("S", 64), ("T", 48))),
    Case("speech", "whisper-tiny", "speech_recognition", (("B", 2), ("S", 32))),
    Case("detection", "torchvision:ssdlite320_mobilenet_v3_large", "object_detection", (("B", 4),)),
)


def measure(case: Case) -> tuple[float, float] | str:
    """(ours, the tracker's) in bytes, or what went wrong."""
    from planner.models.resolve import resolve
    from planner.training.recipe import Recipe

    facts = resolve(case.model, task=case.task, offline=True)
    recipe = Recipe(
        strategy="fine_tune",
        task=case.task,
        precision="fp32",
        optimizer="adamw_for_loop",
        attention="eager",
    )
    try:
        return _ours(facts, recipe, dict(case.point)), _tracked(facts, recipe, dict(case.point))
    except Exception as error:  # shown in the table
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _ours(facts: Any, recipe: Any, point: dict[str, int]) -> float:
    """The largest sum of live storages of the recorded step."""
    import numpy as np

    from planner.trace.recorder.regimes import runner_for

    raw = runner_for(facts, recipe).record(**point)
    changes = np.zeros(len(raw.operations) + 3)  # what is there before, then during each operation
    for shape, itemsize, birth, death, _category, _module in raw.storages:
        size = float(np.prod(shape)) * itemsize
        changes[birth + 1] += size
        changes[min(death, len(raw.operations)) + 2] -= size
    return float(np.cumsum(changes).max())


def _tracked(facts: Any, recipe: Any, point: dict[str, int]) -> float:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker
    from torch.utils._pytree import tree_map

    from planner.trace.recorder.dispatch_mode import quiet
    from planner.trace.recorder.regimes import build_for

    built = build_for(facts, recipe)
    shapes = built.make_batch(point["B"], point.get("S"), point.get("T"))
    with quiet(), FakeTensorMode(allow_non_fake_inputs=True):
        _onto_processor(built.module)
        batch = tree_map(_fake, shapes)
        trained = [p for p in built.module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, foreach=False)
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tracker = MemTracker()
        tracker.track_external(built.module, optimizer, *_tensors(batch))
        with tracker:
            built.loss(built.module, batch).backward()
            optimizer.step()
        peaks = tracker.get_tracker_snapshot("peak")
    return float(max(found["Total"] for found in peaks.values()))


def _fake(value: Any) -> Any:
    """A tensor as large on the processor; one without values in fake mode."""
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cpu")


def _onto_processor(module: Any) -> None:
    """Every parameter and buffer replaced; what is tied stays so."""
    import torch

    made: dict[int, Any] = {}
    for part in module.modules():
        for name, tensor in list(part._parameters.items()):
            if tensor is not None:
                if id(tensor) not in made:
                    made[id(tensor)] = torch.nn.Parameter(_fake(tensor), tensor.requires_grad)
                part._parameters[name] = made[id(tensor)]
        for name, tensor in list(part._buffers.items()):
            if tensor is not None:
                part._buffers[name] = made.setdefault(id(tensor), _fake(tensor))


def _tensors(batch: dict[str, Any]) -> list[Any]:
    import torch
    from torch.utils._pytree import tree_leaves

    return [leaf for leaf in tree_leaves(batch) if isinstance(leaf, torch.Tensor)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", metavar="WORD")
    only = parser.parse_args().only
    cases = [c for c in CASES if not only or any(w in f"{c.family} {c.model}" for w in only)]
    worst = 0.0
    print(f"{'family':16} {'model':46} {'ours MiB':>9} {'torch MiB':>9} {'differs':>8}")
    for case, found, failure in each(measure, cases, 240.0):
        if failure is not None or isinstance(found, str):
            print(f"{case.family:16} {case.model:46} {failure or found}", flush=True)
            worst = float("inf")
            continue
        ours, theirs = found
        worst = max(worst, abs(ours / theirs - 1))
        figures = f"{ours / MIB:9.1f} {theirs / MIB:9.1f} {ours / theirs - 1:+8.2%}"
        print(f"{case.family:16} {case.model:46} {figures}", flush=True)
    return 1 if worst > TOLERANCE else 0


if __name__ == "__main__":
    sys.exit(main())
