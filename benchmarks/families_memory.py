"""Peak memory of one training step, by the trace and by torch's own tracker.

    python benchmarks/families_memory.py
    python benchmarks/families_memory.py --only vit patchtst
    python benchmarks/families_memory.py --write docs/families_memory.md

Each case is a model in float32 with eager attention at one batch: the step's largest sum of live
tensors (no allocator, no library workspaces) beside
``torch.distributed._tools.mem_tracker.MemTracker`` around the same module, batch, loss and AdamW on
fake tensors, or on real ones where a step reads values. Models whose kernels on CUDA keep other
tensors than a processor's (LSTMs, fused attention without an eager form) cannot be compared so.
Leaves with 1 where a difference is above ``TOLERANCE``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.families.tracked import peak  # noqa: E402
from benchmarks.isolated import each  # noqa: E402
from benchmarks.kept import Kept  # noqa: E402
from planner.cli.writing import write  # noqa: E402

TOLERANCE = 0.03
MIB = 2**20
LIMIT = 240.0  # seconds of a model


@dataclass(frozen=True)
class Case:
    """A family's model at a point."""

    family: str
    model: str
    task: str
    point: tuple[tuple[str, int], ...]
    real: bool = False  # with values: the step reads some, which fake tensors have not


CASES = (
    Case("text encoder", "distilbert-base-uncased", "text_classification", (("B", 4), ("S", 64))),
    Case("decoder", "SmolLM2-135M", "causal_lm", (("B", 2), ("S", 64))),
    Case("image", "timm:vit_tiny_patch16_224", "image_classification", (("B", 4),)),
    Case("image and text", "clip-vit-b32", "contrastive", (("B", 4),)),
    Case("image and text", "siglip-base-patch16-224", "contrastive", (("B", 4),)),
    Case(
        "image-text decoder",
        "SmolVLM-256M-Instruct",
        "image_text_to_text",
        (("B", 1), ("S", 128)),
        real=True,
    ),
    Case("image-text decoder", "blip2-opt-2.7b", "image_text_to_text", (("B", 1), ("S", 64))),
    Case("embeddings", "all-MiniLM-L6-v2", "text_embedding", (("B", 4), ("S", 64), ("T", 48))),
    Case("reranking", "ms-marco-MiniLM-L6-v2", "reranking", (("B", 4), ("S", 64))),
    Case("token classification", "bert-base-cased", "token_classification", (("B", 4), ("S", 64))),
    Case("question answering", "bert-base-uncased", "question_answering", (("B", 4), ("S", 64))),
    Case("masked LM", "ModernBERT-base", "masked_lm", (("B", 4), ("S", 64))),
    Case("protein", "esm2_t6_8M_UR50D", "masked_lm", (("B", 4), ("S", 64))),
    Case("sequence to sequence", "t5-small", "seq2seq_lm", (("B", 2), ("S", 64), ("T", 32))),
    Case("mixture of experts", "config:qwen3_moe", "causal_lm", (("B", 2), ("S", 64))),
    Case("mixture of experts", "config:mixtral", "causal_lm", (("B", 2), ("S", 64))),
    Case("state space", "mamba-130m", "causal_lm", (("B", 2), ("S", 64))),
    Case("speech", "whisper-tiny", "speech_recognition", (("B", 2), ("S", 32))),
    Case(
        "speech",
        "wav2vec2-base-960h",
        "speech_recognition",
        (("B", 2), ("S", 32000), ("T", 32)),
        real=True,
    ),
    Case("sounds", "ast-audioset", "audio_classification", (("B", 2),)),
    Case("detection", "detr-resnet-50", "object_detection", (("B", 2),), real=True),
    Case("detection", "rtdetr_r18vd", "object_detection", (("B", 2),), real=True),
    Case("segmentation", "segformer-b0", "semantic_segmentation", (("B", 2),)),
    Case("masks from prompts", "sam-vit-base", "mask_generation", (("B", 1),)),
    Case("self-supervised images", "vit-mae-base", "masked_image_modeling", (("B", 4),)),
    Case("self-supervised images", "dinov2-vits14", "image_self_distillation", (("B", 2),)),
    Case("diffusion", "stable-diffusion-v1-5", "text_to_image", (("B", 1),)),
    Case("diffusion", "dit-xl-2-256", "text_to_image", (("B", 1),)),
    Case("time series", "config:patchtst", "time_series_forecasting", (("B", 128),)),
)

#: Small models beside those of the tracer's coverage: the shape that the authors' repository has
#: for ETTh1 (Nie et al. 2023, arXiv 2211.14730), recalled.
SMALL: dict[str, tuple[dict[str, Any], str]] = {
    "patchtst": (
        {
            "num_input_channels": 7,
            "context_length": 336,
            "prediction_length": 96,
            "patch_length": 16,
            "patch_stride": 8,
            "d_model": 16,
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "ffn_dim": 128,
        },
        "time_series_forecasting",
    )
}


def measure(case: Case) -> tuple[float, float] | str:
    """(ours, the tracker's) in bytes, or what went wrong."""
    from planner.training.recipe import Recipe

    facts = _facts(case)
    recipe = Recipe(
        strategy="fine_tune",
        task=case.task,
        precision="fp32",
        optimizer="adamw_for_loop",
        attention="eager",
    )
    try:
        point = dict(case.point)
        return _ours(facts, recipe, point), peak(facts, recipe, point, case.real)
    except Exception as error:  # shown in the table
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _facts(case: Case) -> Any:
    """A named model's facts; of ``config:KIND`` those of a small one."""
    from benchmarks.coverage_models import EXTRA, configured
    from planner.models.resolve import resolve

    if case.model.startswith("config:"):
        kind = case.model.removeprefix("config:")
        return configured(kind, *(SMALL | EXTRA)[kind])
    return resolve(case.model, task=case.task, offline=True)


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


HEAD = """# Memory of a training step beside torch's own tracker

Written by `python benchmarks/families_memory.py --write docs/families_memory.md`; every number
comes out of it, none is edited by hand. {machine}

The largest sum of live tensors of one step (forward, loss, backward, AdamW) of each model in
float32 with eager attention: by the planner's trace, and by
`torch.distributed._tools.mem_tracker.MemTracker` around the same module, batch and loss. The
tracker runs on fake tensors; where a step reads values, which fake tensors have not, it runs on
real ones on the processor. Neither knows the allocator's blocks or the libraries' workspaces.
Not compared: torchvision's detectors and YOLO, which are recorded with losses of our own for all
images at once and have no values to run with (the tracker stops at `aten._local_scalar_dense`);
LLaVA and PaliGemma, whose check of image places reads values and which are too large to run here.

| family | model | batch | tensors | ours, MiB | tracker, MiB | difference |
| --- | --- | --- | --- | ---: | ---: | ---: |
"""


def machine() -> str:
    """Where and with what, in a sentence."""
    import platform
    from importlib.metadata import version

    libraries = ("torch", "transformers", "timm", "diffusers")
    said = ", ".join(f"{name} {version(name)}" for name in libraries)
    return (
        f"{platform.system()} on {platform.machine()}, Python {platform.python_version()}, {said}."
    )


def row(case: Case, found: tuple[float, float] | str) -> str:
    """A row of the document."""
    point = ", ".join(f"{symbol} {size:,}" for symbol, size in case.point)
    start = f"| {case.family} | {case.model} | {point} | {'real' if case.real else 'fake'} |"
    if isinstance(found, str):
        return f"{start} | | {found.replace('|', '/')} |\n"
    ours, theirs = found
    return f"{start} {ours / MIB:,.1f} | {theirs / MIB:,.1f} | {ours / theirs - 1:+.2%} |\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", metavar="WORD")
    parser.add_argument(
        "--answers", type=Path, metavar="FILE", help="keep answers, go on with them"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the document there")
    options = parser.parse_args()
    only = options.only
    cases = [c for c in CASES if not only or any(w in f"{c.family} {c.model}" for w in only)]
    kept = Kept(options.answers)
    for case, found, failure in each(measure, [c for c in cases if c.model not in kept], LIMIT):
        kept.put(case.model, failure or found)
        print(row(case, failure or found), end="", flush=True)
    answers = [
        found if isinstance(found, str) else (float(found[0]), float(found[1]))
        for found in (kept[case.model] for case in cases)
    ]
    if options.write:
        rows = map(row, cases, answers)
        write(options.write, HEAD.format(machine=machine()) + "".join(rows))
    return 0 if all(map(_agrees, answers)) else 1


def _agrees(found: tuple[float, float] | str) -> bool:
    return not isinstance(found, str) and abs(found[0] / found[1] - 1) <= TOLERANCE


if __name__ == "__main__":
    sys.exit(main())
