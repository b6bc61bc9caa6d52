"""What the words of a report mean to the planner: strategies, tasks, precisions, modules."""

from __future__ import annotations

import re

#: A strategy's words → the planner's strategy. The first that matches counts; None: another
#: objective, or other parameters than the planner's strategies train.
STRATEGIES = (
    (r"\b(d|or|p|grp|kt|rlo)po\b|grpo|\bkto\b|\brl(hf)?\b|reward|prefix|prompt tuning", None),
    (r"partial.*\d+ ?%", "partial_fine_tune"),
    (r"partial|adapter|projection|backbone|self-supervised|/|inversion|dora|galore", None),
    (r"distill", "distillation"),
    (r"qlora|4-bit lora", "qlora"),
    (r"lora", "lora"),
    (r"linear prob|feature extraction|frozen", "feature_extraction"),
    (r"scratch|pre-?training", "scratch"),
    (r"^(full|fine-?tun)", "fine_tune"),
)
#: A task's words → (task, modality). The first that matches counts; None: no task of the planner's.
TASKS = (
    (r"^replaced token|RLHF|preference|\bRL\b|reward model", None, "language model"),
    (r"vision-language|document image|visual question|caption", None, "image and text"),
    (r"detection|segmentation|masked image|depth", None, "image"),
    (r"diffusion|text-to-image|layout-to-image|image generation", None, "diffusion"),
    (r"text to speech|speech synthesis", None, "speech"),
    (r"robot", None, "robot"),
    (r"causal LM|^reasoning|language model(l?ing)?$", "causal_lm", "language model"),
    (r"masked LM|masked language", "masked_lm", "text encoder"),
    (r"speech recognition|transcription|\bCTC\b", "speech_recognition", "speech"),
    (r"audio classification|keyword", "audio_classification", "speech"),
    (r"image classification", "image_classification", "image"),
    (r"image[- ]text|\bCLIP\b", "contrastive", "image and text"),
    (r"embedding|retriever|similarity", "contrastive", "text embedder"),
    (r"extractive QA|question answering", "token_classification", "text encoder"),
    (r"token classification|\bNER\b|tagging", "token_classification", "text encoder"),
    (r"seq2seq|summari[sz]ation|translation", "seq2seq_lm", "sequence to sequence"),
    (r"classification|sentiment|\bNLI\b|\bGLUE\b", "text_classification", "text encoder"),
)
#: The linear modules of a decoder of Llama's kind, by the short names that reports use.
LLAMA_LINEAR = ("q", "k", "v", "o", "gate", "up", "down")
#: What PEFT's all-linear adapts in architectures that name their modules otherwise.
ALL_LINEAR = (
    (r"flan-t5|^t5", ("q", "k", "v", "o", "wi_0", "wi_1", "wo")),
    (r"falcon|bloom", ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")),
    (r"opt-", ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")),
    (r"", tuple(f"{name}_proj" for name in LLAMA_LINEAR)),
)
#: Optimizers as reports write them → as a question may.
OPTIMIZERS = (
    (r"^adamw? 8-bit", "adamw_8bit"),
    (r"^sgd momentum|^sgd$", "sgd"),
    (r"^decoupled[ _]adamw|^adamw_apex_fused", "adamw_fused"),
    (r"^decoupled_lionw", "lion"),
)


def strategy_of(words: str) -> str | None:
    """The planner's strategy, None where the words say another."""
    return next((name for pattern, name in STRATEGIES if re.search(pattern, words, re.I)), None)


def trained_share_of(words: str) -> float | None:
    """The share of the layers in words such as ``30% of layers trained``."""
    found = re.search(r"(\d+) ?% of (?:the )?(?:layers|blocks)", words)
    return int(found[1]) / 100 if found else None


def task_of(words: str) -> tuple[str | None, str]:
    """(task, modality): the task is None where the planner has none for these words."""
    for pattern, task, modality in TASKS:
        if re.search(pattern, words, re.I):
            return task, modality
    return None, "other"


def classes_of(words: str) -> int | None:
    """The count in words such as ``text classification (77)``."""
    if re.search("extractive QA|question answering", words):
        return 2
    found = re.search(r"\((\d+)\)", words)
    return int(found[1]) if found else None


def precision_of(words: str, strategy: str, sharded: bool) -> str | None:
    """None where the words name none. Adapters keep the base in the 16 bits that are named; whole
    models are trained by autocast unless their state is sharded."""
    if re.search("not stated", words):
        return None
    bits = next((b for b in ("bf16", "fp16", "fp32") if re.search(b, words, re.I)), None)
    if re.search(r"fp32/fp16 mixed", words):
        return "amp_fp16"
    if bits is None or bits == "fp32":
        return bits
    if re.search(r"amp|autocast|mixed", words, re.I):
        return f"amp_{bits}"
    if strategy in ("lora", "qlora") or (sharded and bits == "bf16"):
        return bits
    return f"amp_{bits}"


def optimizer_of(words: str) -> str | None:
    for pattern, name in OPTIMIZERS:
        if re.search(pattern, words, re.I):
            return name
    first = words.split(" ")[0].replace("-", "_").lower()
    return first or None


def targets_of(words: str, model: str) -> list[str] | None:
    """The modules that the words name; None where they name none that is known."""
    plain = re.sub(r"\(.*?\)|\+.*|unet.*|transformer.*", "", words).strip()
    if re.match(r"all[- ]linear|decoder\.layers", plain):
        return list(next(names for pattern, names in ALL_LINEAR if re.search(pattern, model, re.I)))
    names = [part.strip() for part in plain.split(",") if part.strip()]
    if not names or " " in plain.replace(", ", ","):
        return None
    t5 = re.search(r"t5", model, re.I)
    return [f"{name}_proj" if name in LLAMA_LINEAR and not t5 else name for name in names]
