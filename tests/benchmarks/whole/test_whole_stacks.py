"""Which software a report is asked with."""

import pytest
from whole_reports import asked

TRAINER = "huggingface/transformers examples/pytorch/text-classification/README.md"


@pytest.mark.parametrize(
    ("cells", "stack"),
    [
        ({"date": "2023-03"}, "trainer-2023-03"),
        ({"date": "2021"}, "trainer-2021"),
        ({"date": ""}, "trainer"),
        ({"date": "2024-2026", "notes": "Unsloth kernels"}, "unsloth"),
        ({"date": "2024-12", "notes": "flash attention 2 + Liger kernels"}, "liger-2024-12"),
        ({"date": "2024-12", "notes": "no flash attention; no Liger"}, "trainer-2024-12"),
        ({"date": "2021-10", "source": "libffcv/ffcv-imagenet README"}, "loop-2021-10"),
    ],
)
def test_a_report_is_asked_with_the_software_of_its_day(cells, stack):
    assert asked(**cells).fields["stack"] == stack


@pytest.mark.parametrize(
    ("cells", "precision"),
    [
        ({"precision": "", "source": TRAINER}, "fp32"),
        ({"precision": "not stated", "source": TRAINER}, "fp32"),
        ({"precision": "fp16 AMP", "source": TRAINER}, "amp_fp16"),
        ({"precision": "", "source": "karpathy/llm.c discussion 481"}, None),
    ],
)
def test_a_blank_precision_is_that_of_the_reports_own_scripts(cells, precision):
    cells = {"strategy": "full", "task": "text classification (2)"} | cells
    assert asked(**cells).fields["precision"] == precision


@pytest.mark.parametrize(
    ("words", "optimizer"),
    [("adamw", None), ("adamw_torch", "adamw_torch"), ("adamw 8-bit", "adamw_8bit")],
)
def test_adamw_alone_is_the_trainers_own(words, optimizer):
    assert asked(optimizer=words).fields["optimizer"] == optimizer


def test_int8_is_loaded_in_eight_bits_and_the_rest_as_the_report_has_it():
    found = asked(precision="int8 base, fp16/fp32 LoRA", strategy="lora").fields
    assert (found["load_in"], found["precision"]) == ("8bit", "fp32")
    found = asked(precision="int8 base, bf16", strategy="lora").fields
    assert (found["load_in"], found["precision"]) == ("8bit", "bf16")
    assert "load_in" not in asked(precision="bf16", strategy="lora").fields


@pytest.mark.parametrize(
    ("notes", "attention"),
    [
        ("eager attention", "eager"),
        ("flash attention (monkey patch)", "flash"),
        ("no flash attention", None),
        ("ZeRO-2 + flash attention 2", "flash"),
        ("", None),
    ],
)
def test_attention_is_the_reports_where_it_names_one(notes, attention):
    assert asked(notes=notes).fields.get("attention") == attention
