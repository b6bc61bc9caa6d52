"""Scripts that are not run here are checked by their names: TRL's keys by the table that imports
them, optimizers by the libraries' own lists."""

import ast
import dataclasses
import itertools
import json
import pydoc

import pytest
import yaml

from planner import tables
from planner.errors import PlannerError
from planner.libraries import import_library
from planner.question.importers.table import table
from planner.question.training_setting import TAUGHT
from planner.recipe.optimizers import trainer_keys
from planner.recipe.scripts import files_of
from planner.recipe.tuned_settings import TRAINERS

#: What the scripts of TRL read of the config themselves, beside TRL's own keys.
OURS = {
    *("model_name_or_path", "dataset_name", "dtype", "attn_implementation", "use_peft"),
    *("evaluation_samples", "kbit_preparation", "load_in_4bit", "lora_r", "lora_alpha"),
    *("lora_dropout", "lora_target_modules", "teacher_model_name_or_path"),
}
WRITING = {"generations_per_prompt": 4, "global_batch": 8}


def settings_of(script):
    """Field names of the script's own Settings."""
    tree = ast.parse(script)
    found = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Settings")
    return {n.target.id for n in found.body if isinstance(n, ast.AnnAssign)}


@pytest.mark.parametrize(
    "objective, strategy", [*((name, "lora") for name in TRAINERS), ("dpo", "qlora")]
)
def test_every_key_of_a_tuned_script_is_known_to_trl(plan_of, pairs, objective, strategy):
    more = WRITING if objective in ("grpo", "rloo") else {}
    if objective in TAUGHT:
        more = {"teacher": "Llama-3.2-3B"}
    if objective == "rloo":
        more = more | {"generations_per_prompt": 2}
    files = files_of(plan_of(pairs, objective=objective, strategy=[strategy], **more))
    values, script = yaml.safe_load(files["config.yaml"]), files["train.py"]
    theirs = set(values) - settings_of(script)
    assert set(values) - theirs <= OURS
    assert theirs <= set(table("trl", "transformers").rows)
    assert f"import {TRAINERS[objective].config}, {TRAINERS[objective].trainer}" in script
    assert "the tests run none" in files["README.md"]
    assert json.loads(files["plan.json"])["columns"]["rejected"] == "rejected"
    assert ("teacher_model=load_teacher" in script) == (objective in TAUGHT)
    assert ("--reward" in script) == (objective in ("grpo", "rloo"))


@pytest.mark.parametrize(
    "fields, word",
    [
        (dict(objective="ppo"), "ppo needs a value model"),
        (
            dict(objective="sequence_distillation", teacher="Llama-3.2-3B"),
            "a teacher writes before",
        ),
        (dict(objective="dpo", reference="none"), "always compares with a reference"),
        (dict(objective="dpo", padding="max", max_length=64), "pads to the longest"),
        (dict(objective="dpo", optimizer="adafactor_torch"), "no name for adafactor_torch"),
        (dict(objective="grpo", generations_per_prompt=3, global_batch=8), "no whole groups"),
        (dict(objective=None), "without an objective"),
    ],
)
def test_what_trl_is_not_told_is_refused(plan_of, pairs, fields, word):
    with pytest.raises(PlannerError, match=word):
        files_of(plan_of(pairs, **fields))


def test_every_key_of_a_trainers_config_is_an_argument_or_the_scripts_own(plan_of, chats):
    transformers = import_library("transformers", "the tests")
    known = {field.name for field in dataclasses.fields(transformers.TrainingArguments)}
    asked = itertools.product(("lora", "qlora", "fine_tune", "partial_fine_tune"), (False, True))
    for strategy, compiled in asked:
        files = files_of(plan_of(chats, strategy=[strategy], compile=compiled))
        values = yaml.safe_load(files["config.yaml"])
        assert set(values) <= known | settings_of(files["train.py"])


def test_optimizers_have_the_names_that_trainer_and_torch_know():
    import_library("transformers", "the tests")
    from transformers.training_args import OptimizerNames

    known = {name.value for name in OptimizerNames}
    rows = tables.rows("recipe_scripts", "optimizers.csv")
    assert {row["optim"] for row in rows} - {""} <= known
    for row in rows:
        if row["class"].startswith("torch."):
            assert isinstance(pydoc.locate(row["class"]), type)
        json.loads(row["arguments"] or "{}")


@pytest.mark.parametrize("row", tables.rows("optimizers.csv"), ids=lambda row: row["optimizer"])
def test_an_optimizer_is_written_or_refused(row):
    written = {one["optimizer"] for one in tables.rows("recipe_scripts", "optimizers.csv")}
    name = row["optimizer"]
    if name in written:
        keys = [key.name for key in trainer_keys(name)]
        assert keys in (["optim"], ["optimizer_class", "optimizer_arguments"])
    else:
        with pytest.raises(PlannerError, match=f"no script runs the optimizer {name}"):
            trainer_keys(name)


@pytest.mark.parametrize(
    "fields",
    [
        dict(model="timm:resnet50", strategy=["fine_tune"]),
        dict(model="timm:vit_base_patch16_224", strategy=["partial_fine_tune"]),
        dict(model="torchvision:resnet50", strategy=["feature_extraction"], cached_features=False),
    ],
    ids=lambda fields: fields["model"],
)
def test_scripts_for_images_have_what_is_planned(plan_of, images, fields):
    plan = plan_of(images, **fields)
    files = files_of(plan)
    ast.parse(files["train.py"])
    values = yaml.safe_load(files["config.yaml"])
    assert values["micro_batch"] == plan.option.setting.micro_batch
    assert values["precision"] == plan.recipe.precision and values["classes"] == 3
    assert values["steps"] == plan.steps and values["max_grad_norm"] == 1.0
    assert ("unfrozen_blocks" in values) == (plan.strategy != "fine_tune")


def test_adapters_in_a_model_of_images_are_refused(plan_of, images):
    with pytest.raises(PlannerError, match="adapters in a model of images"):
        files_of(plan_of(images, model="timm:vit_base_patch16_224"))


def test_the_loss_of_a_students_script_is_the_one_that_is_traced(plan_of, chats):
    """Its functions, and torchtune's as they are recorded."""
    import torch

    from planner.training.objectives import kd

    asked = dict(objective="kd", teacher="Llama-3.2-3B", strategy=["lora"])
    files = files_of(plan_of(chats, **asked))
    tree = ast.parse(files["train.py"])
    kept = [
        node
        for node in tree.body
        if (isinstance(node, ast.FunctionDef) and node.name == "divergence")
        or (isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple))
    ]
    names = {"torch": torch}
    exec(compile(ast.Module(kept, []), "train.py", "exec"), names)
    assert (names["CHUNKS"], names["IGNORED"], names["RATIO"]) == (kd.CHUNKS, -100, kd.RATIO)
    torch.manual_seed(0)
    student, teacher = torch.randn(12, 40), torch.randn(12, 40)
    labels = torch.randint(0, 40, (12,)).masked_fill(torch.arange(12) < 4, -100)
    own = names["divergence"](student, teacher, labels)
    torch.testing.assert_close(own, kd._divergence(student, teacher, labels))
    assert "trl" not in files["requirements.txt"] and "the tests run none" not in files["README.md"]
