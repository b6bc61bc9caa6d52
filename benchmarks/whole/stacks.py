"""Which software ran a report, by its kernels, its source and its day, and what that software does
where the report says nothing."""

from __future__ import annotations

import re

from benchmarks.whole.asked import Asked
from benchmarks.whole.report import Report
from planner.question.stack import DEFAULT, stack_of

#: What a row's notes or source name → the stack. The first that matches counts.
NAMED = (
    (r"Unsloth", "unsloth"),
    (r"(?<!no )Liger", "liger"),
    (r"ffcv|llm\.c|mosaicml|Tutorials|litgpt", "loop"),
)
#: Sources that are scripts and notebooks of Hugging Face's Trainer: a precision that they do not
#: name is the Trainer's own.
OF_TRAINER = r"huggingface/(transformers|notebooks|course)|huggingface-course|philschmid"


def stack(report: Report, asked: Asked) -> None:
    """The stack with the day of the report, where it has one; the optimizer and the precision of
    its scripts where the report names none."""
    words = " ".join((report["notes"], report["source"]))
    name = next((name for pattern, name in NAMED if re.search(pattern, words, re.I)), DEFAULT)
    # a span of years is the day on which the repository was read, not that of the run
    day = re.fullmatch(r"20\d\d(-\d\d)?", report["date"])
    asked.fields["stack"] = f"{name}-{day[0]}" if day else name
    if report["optimizer"] == "adamw":  # by that name alone it is the trainer's own
        asked.fields["optimizer"] = "adamw_fused" if report.says("DeepSpeed") else None
    blank = report["precision"] in ("", "not stated")
    if blank and re.search(OF_TRAINER, report["source"]):
        asked.fields["precision"] = stack_of(asked.fields["stack"]).word("precision")


def eight_bit(report: Report, asked: Asked) -> None:
    """LLM.int8: adapters over int8 weights; without a flag for 16 bits the rest is float32, as
    PEFT's ``prepare_model_for_int8_training`` leaves it."""
    if not report.says(r"int8 base"):
        return
    asked.fields["load_in"] = "8bit"
    if re.search(r"fp16/fp32", report["precision"]):
        asked.fields["precision"] = "fp32"
