"""What the words of a report mean to the planner: strategies, tasks, precisions, modules."""

from __future__ import annotations

import re

#: The beginning of a strategy's words → the planner's strategy. The first that matches counts.
STRATEGIES = (
    (r"^full( fine-tune)?( |$)(?!.*(ppo|grpo|orpo|dpo))", "fine_tune"),
    (r"^scratch$", "scratch"),
    (r"^lora$", "lora"),
    (r"^qlora$", "qlora"),
    (r"^distillation$", "distillation"),
)
#: The beginning of a task's words → (task, modality). None: no task of the planner's.
TASKS = (
    (r"^causal LM|^reasoning", "causal_lm", "language model"),
    (r"^seq2seq", "seq2seq_lm", "sequence to sequence"),
    (r"^text classification", "text_classification", "text encoder"),
    (r"^extractive QA", "token_classification", "text encoder"),
    (r"^masked LM", "masked_lm", "text encoder"),
    (r"^sentence embedding|^contrastive retriever", "contrastive", "text embedder"),
    (r"^image classification", "image_classification", "image"),
    (r"^speech recognition", "speech_recognition", "speech"),
    (r"^replaced token|^RLHF|^preference|^RL with", None, "language model"),
    (r"^vision-language|^document image", None, "image and text"),
    (r"^object detection|^masked image", None, "image"),
    (r"diffusion|text-to-image|layout-to-image", None, "diffusion"),
    (r"^text to speech", None, "speech"),
    (r"^robot", None, "robot"),
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


def task_of(words: str) -> tuple[str | None, str]:
    """(task, modality): the task is None where the planner has none for these words."""
    for pattern, task, modality in TASKS:
        if re.search(pattern, words, re.I):
            return task, modality
    return None, "other"


def classes_of(words: str) -> int | None:
    """The count in words such as ``text classification (77)``."""
    if re.search("extractive QA", words):
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
