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

from benchmarks.families.tracked import peak  # noqa: E402
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
