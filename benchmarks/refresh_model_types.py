"""Rewrites the tasks of ``profiles/models/model_types.csv`` from the installed transformers.

    python benchmarks/refresh_model_types.py

A type has a task where ``modeling_auto.py`` maps it to a class of that task. A multimodal class is
a language model (causal_lm) where a step of text alone can be traced: a small one is run on meta
from the type's default config. What a default config cannot build is taken to work. The columns
that people settled (unusual sizes, contrastive) are kept.
"""

from __future__ import annotations

import csv
import inspect
import re
import sys
from collections.abc import Set
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from planner import tables  # noqa: E402
from planner.libraries import import_library  # noqa: E402
from planner.models.building.sight.image_inputs import image_rules  # noqa: E402
from planner.models.building.tasks.series import CLASSES  # noqa: E402
from planner.models.constants import has  # noqa: E402

MAPPINGS = {
    "causal_lm": "CAUSAL_LM",
    "masked_lm": "MASKED_LM",
    "seq2seq_lm": "SEQ_TO_SEQ_CAUSAL_LM",
    "text_classification": "SEQUENCE_CLASSIFICATION",
    "token_classification": "TOKEN_CLASSIFICATION",
    "question_answering": "QUESTION_ANSWERING",
    "image_classification": "IMAGE_CLASSIFICATION",
    "masked_image_modeling": "MASKED_IMAGE_MODELING",
    "audio_classification": "AUDIO_CLASSIFICATION",
    "speech_recognition": "SPEECH_SEQ_2_SEQ",
    "object_detection": "OBJECT_DETECTION",
    "instance_segmentation": "INSTANCE_SEGMENTATION",
    "semantic_segmentation": "SEMANTIC_SEGMENTATION",
    "mask_generation": "MASK_GENERATION",
}
KEPT = {"contrastive", "image_self_distillation"}
#: A diffusion model, speech in and out, and parts that train one by one.
NO_WRITERS = {"diffusion_gemma", "kyutai_speech_to_text", "qwen3_omni_moe"}
#: What a class that cannot do without an image or a sound says.
NEEDS_MORE = re.compile(
    "pixel_values|flattened_patches|encoder_|image_embeds|required|input_features|input batch_size"
    "|Unrecognized configuration"
)


def main() -> int:
    import_library("transformers", "the table of model types")
    from transformers.models.auto import modeling_auto

    def mapping(name: str) -> dict:
        return dict(getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES"))

    by_task = {task: set(mapping(name)) for task, name in MAPPINGS.items()}
    by_task["instance_segmentation"] |= set(mapping("UNIVERSAL_SEGMENTATION"))
    by_task["speech_recognition"] |= {name for name in mapping("CTC") if has("frame_samples", name)}
    by_task["image_classification"] -= read_tokens(mapping("IMAGE_CLASSIFICATION"))
    by_task["masked_image_modeling"].add("vit_mae")  # its class is one of pre-training in general
    several = {**mapping("IMAGE_TEXT_TO_TEXT"), **mapping("MULTIMODAL_LM")}
    text = {name for name in several if name not in NO_WRITERS and writes_text(name)}
    by_task["causal_lm"] = (by_task["causal_lm"] - set(several)) | text
    by_task["image_text_to_text"] = set(several) & set(image_rules())
    for task in ("seq2seq_lm", "speech_recognition"):
        by_task[task] -= text  # they have no encoder whose length is their own
    by_task["speech_recognition"] -= {"dia", "pop2piano", "vibevoice"}  # they write sound
    bodies = dict(modeling_auto.MODEL_MAPPING_NAMES).keys() - several.keys()
    by_task |= encoders(by_task, mapping("TEXT_ENCODING").keys(), bodies)
    by_task["time_series_forecasting"] = set(CLASSES)
    rows = [dict(row) for row in tables.rows("models", "model_types.csv")]
    for row in rows:
        found = {task for task, types in by_task.items() if row["model_type"] in types}
        kept = KEPT & set(row["tasks"].split())
        row["tasks"] = " ".join(sorted(found | kept))
    write(rows)
    return 0


def encoders(by_task: dict, encoding: Set[str], bodies: Set[str]) -> dict[str, set[str]]:
    """Types whose body embeds texts, and those that judge pairs of texts: no decoder beside an
    encoder, no other sense than text."""
    two_sided = by_task["seq2seq_lm"] | by_task["speech_recognition"]
    read = by_task["masked_lm"] | by_task["text_classification"] | by_task["causal_lm"]
    return {
        "text_embedding": encoding & (read | two_sided) | ((read & bodies) - two_sided),
        "reranking": by_task["text_classification"] - two_sided,
    }


def read_tokens(classes: dict) -> set[str]:
    """Types whose class judges an image by a prompt that it reads beside it: no image classifier
    with a head of classes."""
    import transformers

    found = set()
    for model_type, names in classes.items():
        for name in (names,) if isinstance(names, str) else names:
            forward = inspect.signature(getattr(transformers, name).forward)
            found |= {model_type} if "input_ids" in forward.parameters else set()
    return found


def writes_text(model_type: str) -> bool:
    """Whether its class trains on text alone."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForMultimodalLM

    from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
    from planner.trace.recorder.cuda_mode import CudaLike

    try:
        config = CONFIG_MAPPING[model_type]()
        if getattr(config, "is_encoder_decoder", False):
            return False
        auto = (
            AutoModelForCausalLM
            if type(config) in AutoModelForCausalLM._model_mapping
            else AutoModelForMultimodalLM
        )
        with torch.device("meta"):
            module = auto.from_config(config).to("meta").train()
        ids = torch.empty(2, 16, dtype=torch.int64, device="meta")
        with as_if_on_cuda(CudaLike()):
            module(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    except Exception as error:  # whatever a model's own code raises
        print(f"{model_type}: {type(error).__name__}: {str(error)[:120]}", file=sys.stderr)
        return not NEEDS_MORE.search(str(error)) and "_unimplemented" not in str(error)
    return True


def write(rows: list[dict[str, str]]) -> None:
    file = tables.path("models", "model_types.csv")
    head = [line for line in file.read_text("utf-8").splitlines() if line.startswith("#")]
    with file.open("w", encoding="utf-8", newline="") as handle:
        handle.write("\n".join(head) + "\n")
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
