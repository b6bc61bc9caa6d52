"""Published configurations of each tool, their facts re-written: every key has one fate, and what
is understood of one file of each tool is what its tool would run."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import imported_configs
from planner.question import Question
from planner.question.files import project_file
from planner.question.files.of_file import imported
from planner.question.importers.keys import CANNOT_BE_ASKED, FATES, UNDERSTOOD, UNKNOWN, unset
from planner.question.parsing import question_from

EXAMPLES = Path(__file__).parent / "examples"
with (EXAMPLES / "sources.csv").open(newline="", encoding="utf-8") as handle:
    SOURCES = list(csv.DictReader(handle))
#: Given to every file, which then needs no data, and to those that name no model.
COUNTS = {"samples": 1000, "tokens_per_sample": 200}


def leaves(value, path=""):
    """Everything that holds nothing further, counted here by other means than the code's."""
    if isinstance(value, dict) and value:
        return sum(leaves(one, path) for one in value.values())
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return sum(leaves(one, path) for one in value)
    return 1


def test_ten_files_of_each_tool_with_the_place_of_each():
    tools = Counter(row["file"].partition("/")[0] for row in SOURCES)
    assert len(tools) == 10 and min(tools.values()) >= 10
    files = {f.relative_to(EXAMPLES).as_posix() for f in EXAMPLES.rglob("*") if f.is_file()}
    assert files == {row["file"] for row in SOURCES} | {"sources.csv"}
    for row in SOURCES:
        assert row["commit"] in row["source"] and row["date"]


@pytest.mark.parametrize("file", [row["file"] for row in SOURCES])
def test_every_key_has_one_fate(file):
    path = EXAMPLES / file
    found = imported(path)
    document = project_file.read(path, Question.model_fields).values
    if file.startswith("kohya/") and file.endswith(".toml"):
        assert set(document) <= {"general", "datasets"}
    assert len(found.fates) == sum(leaves(value) for value in document.values())
    assert {one.fate for one in found.fates} <= set(FATES)
    assert len({one.key for one in found.fates}) == len(found.fates)
    assert not found.of(UNKNOWN)
    # what a key is said to set is set, and nothing is set without a key or a default
    assert {one.field for one in found.of(UNDERSTOOD)} - {""} <= set(found.values)
    assert set(found.values) <= set(Question.model_fields)


@pytest.mark.parametrize("file", [row["file"] for row in SOURCES])
def test_what_is_understood_is_a_question(file):
    """With counts and a model for those that name none; what is not in it is in its notes."""
    found = imported(EXAMPLES / file)
    model = {} if "model" in found.values else {"model": "gpt2"}
    question = question_from(str(EXAMPLES / file), None, {**COUNTS, **model})
    left = [one for one in found.fates if one.fate == CANNOT_BE_ASKED and not unset(one.value)]
    assert bool(question.notes) >= bool(left)
    for word in found.words(CANNOT_BE_ASKED):
        assert word in question.notes[0]


UNDERSTOOD_OF = {
    "trl/zephyr_7b_beta_sft_config_qlora.yaml": {
        "model": "mistralai/Mistral-7B-v0.1",
        "strategy": ["qlora"],
        "precision": "bf16",
        "micro_batch": 4,
        "global_batch": 8,
        "epochs": 1,
        "lora_rank": 16,
        "max_length": 2048,
        "padding": None,
        "gradient_checkpointing": "full",
        "attention": "flash",
        "stack": "trl",
    },
    "trl/zephyr_7b_beta_sft_config_full.yaml": {
        "strategy": ["fine_tune"],
        # autocast over weights that are bfloat16 already
        "precision": "bf16",
        "global_batch": 16,
    },
    "llamafactory/examples_train_lora_qwen3_lora_sft.yaml": {
        "model": "Qwen/Qwen3-4B-Instruct-2507",
        "strategy": ["lora"],
        "precision": "bf16",
        "lora_rank": 8,
        "max_length": 2048,
        "micro_batch": 1,
        "global_batch": 8,
        "gradient_checkpointing": "full",
        "attention": "sdpa",
    },
    "llamafactory/examples_train_full_qwen3_full_sft.yaml": {
        "strategy": ["fine_tune"],
        "precision": "amp_bf16",
        "global_batch": 2,
    },
    "llamafactory/extras_llama_pro_llama3_freeze_sft.yaml": {
        "strategy": ["partial_fine_tune"],
        "unfrozen_blocks": 8,
    },
    "torchtune/configs_llama3_2_3b_lora_single_device.yaml": {
        "model": "meta-llama/Llama-3.2-3B",
        "strategy": ["lora"],
        "lora_targets": ["q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "lora_rank": 64,
        "micro_batch": 4,
        "global_batch": 32,
        "precision": "bf16",
        "optimizer": "adamw_fused",
        "gradient_checkpointing": "full",
        "compile": False,
    },
    "torchtune/configs_llama3_1_8b_qlora_single_device.yaml": {
        "model": "meta-llama/Llama-3.1-8B",
        "strategy": ["qlora"],
        "kbit_preparation": "none",
    },
    "torchtune/configs_qwen2_1_5b_to_0_5b_kd_lora_single_device.yaml": {
        "model": "Qwen/Qwen2-0.5B",
        "teacher": "Qwen/Qwen2-1.5B",
        "objective": "kd",
        "strategy": ["lora"],
        "loss": None,
        "adapter_precision": "weights",
        "global_batch": 64,
    },
    "torchtune/configs_llama3_1_8b_lora_dpo_single_device.yaml": {
        "objective": "dpo",
        "strategy": ["lora"],
        "micro_batch": 4,
        "max_length": 1024,
        "gradient_checkpointing": "full",
    },
    "torchtune/configs_llama3_1_8b_full_dpo.yaml": {"objective": "dpo", "strategy": ["fine_tune"]},
    "trl/scripts_gkd.sh": {
        "model": "Qwen/Qwen2-0.5B-Instruct",
        "teacher": "Qwen/Qwen2-1.5B-Instruct",
        "objective": "gkd",
        "strategy": ["lora"],
        "lora_rank": 64,
        "global_batch": 32,
        "gradient_checkpointing": "full",
    },
    "trl/scripts_distillation.sh": {
        "objective": "on_policy_distillation",
        "strategy": ["fine_tune"],
        "teacher": "Qwen/Qwen2.5-1.5B-Instruct",
    },
    "torchtune/configs_llama3_2_1b_full_single_device.yaml": {
        "strategy": ["fine_tune"],
        "optimizer": "adamw_8bit_paged",
    },
    "unsloth/assets_configs_lora_text.yaml": {
        "model": "unsloth/Qwen2.5-0.5B",
        "strategy": ["qlora"],
        "micro_batch": 2,
        "global_batch": 8,
        "lora_rank": 64,
        "epochs": 1,
    },
    "unsloth/assets_configs_full_finetune.yaml": {"strategy": ["fine_tune"]},
    "accelerate/examples_config_yaml_templates_multi_node.yaml": {"parallel": "ddp"},
    "deepspeed/training_bingbertsquad_deepspeed_bsz24_config.json": {
        "micro_batch": 3,
        "global_batch": 24,
    },
    "lightning/docs_tutorials_config.yaml": {"precision": "amp_fp16", "optimizer": "adamw"},
    "diffusers/train_text_to_image_lora_3.sh": {
        "strategy": ["lora"],
        "lora_rank": 4,
        "micro_batch": 1,
        "image_size": 512,
        "epochs": 100,
        # as its launcher was told
        "precision": "fp16",
    },
    "diffusers/train_dreambooth_lora_sdxl_11.sh": {
        "model": "stabilityai/stable-diffusion-xl-base-1.0",
        "precision": "fp16",
        "image_size": 1024,
        "global_batch": 4,
        "max_steps": 500,
    },
    "kohya/train_network_1.sh": {
        "strategy": ["lora"],
        "lora_rank": 16,
        "optimizer": "adamw_8bit",
        "epochs": 10,
        "precision": "fp16",
        "gradient_checkpointing": "full",
    },
    "kohya/data_buckets.toml": {"micro_batch": 6, "image_size": 1024, "data": "images"},
}


@pytest.mark.parametrize("file", UNDERSTOOD_OF)
def test_what_a_file_says(file):
    found = imported(EXAMPLES / file).values
    wanted = UNDERSTOOD_OF[file]
    assert {name: found.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("trl/zephyr_7b_beta_dpo_config_full.yaml", "beta"),
        ("kohya/sd3_train_network_4.sh", "blocks_to_swap"),
    ],
)
def test_another_training_than_the_one_that_is_priced_is_said(file, key):
    found = {one.key for one in imported(EXAMPLES / file).of(CANNOT_BE_ASKED)}
    assert key in found


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("llamafactory/examples_train_lora_qwen3_lora_dpo.yaml", "objective", "dpo"),
        ("torchtune/configs_llama3_2_3b_lora_single_device.yaml", "loss", "chunked"),
        ("torchtune/configs_llama3_2_3b_lora_single_device.yaml", "adapter_precision", "weights"),
        ("axolotl/mistral_dpo_mistral_dpo_qlora.yaml", "objective", "dpo"),
    ],
)
def test_objectives_and_losses_are_understood(file, field, value):
    assert imported(EXAMPLES / file).values[field] == value


def test_the_page_is_of_these_files():
    text = imported_configs.page(list(imported_configs.examples()))
    written = (imported_configs.ROOT / "docs" / "imported_configs.md").read_text(encoding="utf-8")
    assert text == written, "python benchmarks/imported_configs.py --write docs/imported_configs.md"
    assert json.dumps(len(SOURCES)) in text
