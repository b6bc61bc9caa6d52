"""Every setting of a training by name, once: what it holds, in which unit, what other tools call
it, and what is said of it. Records, imports, callbacks, tables, questions and views read it here.

A new setting is one entry here, in the place that its column has in tables. One that changes the
step's operations is a line of ``setup.py`` too, one that can be asked about a field of
``Question``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from planner.question.optimizers import asked_row, recipe_names
from planner.question.training_setting import (
    ADAPTERS,
    CLASSIFIERS,
    IMAGE_TASKS,
    LORA,
    OBJECTS_PER_IMAGE,
    SAVINGS,
    SINGLE_VALUES,
    WORKED_OUT,
    TrainingSetting,
)


def _by_name(*settings: TrainingSetting) -> dict[str, TrainingSetting]:
    return {setting.name: setting for setting in settings}


#: name → setting, in the order of the columns of tables.
SETTINGS: dict[str, TrainingSetting] = _by_name(
    TrainingSetting(
        name="model",
        value_type="text",
        words="Local folder or config.json, hub id, catalogue name, timm:NAME, torchvision:NAME, "
        "package.module:function, or a size such as 7B",
        names=(
            ("transformers", "model_name_or_path"),
            ("logs", "model_name"),
            ("transformers", "_name_or_path"),
            ("logs", "base_model_name_or_path"),
            ("logs", "model_id"),
            ("planner", "model"),
            ("axolotl", "base_model"),
        ),
    ),
    TrainingSetting(name="architecture", value_type="object", question=False),
    TrainingSetting(
        name="task",
        value_type="text",
        words="What the model is trained to do; by default what it was made for",
    ),
    TrainingSetting(
        name="strategy",
        value_type="strategy",
        words="Strategies to compare; all when left out",
    ),
    TrainingSetting(
        name="gpu",
        value_type="text",
        words="A name of profiles/, 'local', or a device profile file",
    ),
    TrainingSetting(
        name="gpus",
        value_type="count",
        unit="devices",
        words="Devices to train on",
        largest=10**5,
        names=(
            ("torch", "world_size"),
            ("logs", "num_gpus"),
            ("logs", "n_gpus"),
            ("wandb", "gpu_count"),
            ("logs", "_world_size"),
        ),
    ),
    TrainingSetting(name="parallel", value_type="text", words="How several devices share the work"),
    TrainingSetting(
        name="micro_batch",
        value_type="count",
        unit="samples",
        words="Samples a device runs in one forward pass; by default the largest that fits and "
        "pays",
        names=(
            ("transformers", "per_device_train_batch_size"),
            ("logs", "micro_batch_size"),
            ("planner", "micro_batch"),
            ("deepspeed", "train_micro_batch_size_per_gpu"),
            ("logs", "device_batch_size"),
            ("trainer_state", "train_batch_size"),
            ("axolotl", "micro_batch_size"),
        ),
    ),
    TrainingSetting(
        name="accumulation",
        value_type="count",
        unit="micro-batches",
        question=False,
        names=(
            ("transformers", "gradient_accumulation_steps"),
            ("lightning", "accumulate_grad_batches"),
            ("logs", "grad_accum"),
        ),
    ),
    TrainingSetting(
        name="sequence_length",
        value_type="count",
        unit="tokens",
        largest=10**7,
        question=False,
        names=(
            ("trl", "max_seq_length"),
            ("torchtune", "max_seq_len"),
            ("trl", "max_length"),
            ("planner", "sequence_length"),
            ("megatron", "seq_length"),
            ("transformers", "block_size"),
            ("transformers", "model_max_length"),
        ),
    ),
    TrainingSetting(
        name="target_length", value_type="count", unit="tokens", largest=10**7, question=False
    ),
    TrainingSetting(
        name="image_size",
        value_type="count",
        unit="pixels",
        words="Height and width in pixels; by default the model's own",
        largest=10**5,
        tasks=IMAGE_TASKS,
        names=(("transformers", "image_size"), ("timm", "img_size")),
    ),
    OBJECTS_PER_IMAGE,
    TrainingSetting(
        name="vision_tower",
        value_type="text",
        words="Whether what sees images trains too, in a model that writes about them (not by "
        "itself); adapters leave it alone unless its layers are named",
        choices=("frozen", "trained"),
        tasks=("image_text_to_text",),
        published=False,
    ),
    TrainingSetting(
        name="negatives",
        value_type="whole",
        unit="texts",
        words="Hard negatives beside each query of an embedding model; by default the data's, "
        "else none",
        largest=1000,
        tasks=("text_embedding",),
        names=(("sentence_transformers", "num_negatives"),),
        published=False,
    ),
    TrainingSetting(
        name="precision",
        value_type="text",
        words="Number format of the training; amp_ keeps float32 weights under autocast",
        names=(("lightning", "precision"),),
    ),
    TrainingSetting(
        name="optimizer",
        value_type="text",
        words="By default AdamW in its fastest form",
        names=(("transformers", "optim"), ("logs", "optimizer")),
        choices=tuple(dict.fromkeys(recipe_names().values())),
        recipe_names=recipe_names(),
    ),
    TrainingSetting(
        name="gradient_checkpointing",
        value_type="text",
        words="Recompute activations instead of keeping them",
        names=(
            ("transformers", "gradient_checkpointing"),
            ("logs", "activation_checkpointing"),
        ),
        choices=("none", "full", "selective"),
    ),
    TrainingSetting(
        name="attention",
        value_type="text",
        words="Attention implementation",
        names=(
            ("transformers", "attn_implementation"),
            ("transformers", "_attn_implementation"),
        ),
        choices=("eager", "sdpa", "flash", "flex"),
        recipe_names={"flash": "sdpa"},
    ),
    *SAVINGS,
    *ADAPTERS,
    TrainingSetting(
        name="lora_rank",
        value_type="count",
        words="Rank of lora and qlora, and of other methods of adapters that have one",
        largest=10**5,
        strategies=LORA,
        required=True,
        names=(
            ("logs", "lora_r"),
            ("planner", "lora_rank"),
            ("wandb", "peft_config.default.r"),
            ("mlflow", "peft_config/default/r"),
            ("peft", "r"),
            ("axolotl", "lora_r"),
        ),
    ),
    TrainingSetting(
        name="lora_targets",
        value_type="names",
        words="Modules as PEFT names them: endings, all-linear, or one regular expression; by "
        "default every linear layer but the head",
        strategies=LORA,
        names=(("peft", "target_modules"),),
    ),
    TrainingSetting(
        name="lora_exclude",
        value_type="names",
        words="Modules that lora_targets would adapt and that stay as they are",
        strategies=LORA,
        published=False,
        names=(("peft", "exclude_modules"),),
    ),
    TrainingSetting(
        name="lora_layers",
        value_type="names",
        words="Numbers of the blocks that get adapters, such as 0-15 or 3,7; by default all",
        strategies=LORA,
        published=False,
        names=(("peft", "layers_to_transform"), ("axolotl", "peft_layers_to_transform")),
    ),
    TrainingSetting(
        name="lora_layers_pattern",
        value_type="names",
        words="With lora_layers: name of the list that holds the blocks",
        strategies=LORA,
        published=False,
        names=(("peft", "layers_pattern"), ("axolotl", "peft_layers_pattern")),
    ),
    TrainingSetting(
        name="lora_modules_to_save",
        value_type="names",
        words="Modules that train whole beside the adapters, such as embed_tokens,lm_head",
        strategies=LORA,
        published=False,
        names=(("peft", "modules_to_save"), ("axolotl", "lora_modules_to_save")),
    ),
    TrainingSetting(
        name="lora_rank_pattern",
        value_type="names",
        words="Ranks of single modules, such as q_proj=8",
        strategies=LORA,
        published=False,
        names=(("peft", "rank_pattern"),),
    ),
    TrainingSetting(
        name="load_in",
        value_type="text",
        words="Load the frozen weights under the adapters in fewer bits: 8bit is LLM.int8(), 4bit "
        "NF4 (what qlora does by itself)",
        choices=("4bit", "8bit"),
        strategies=LORA,
        published=False,
    ),
    TrainingSetting(
        name="kbit_preparation",
        value_type="text",
        words="What is done to weights that are not quantised: peft makes them float32 (its "
        "prepare_model_for_kbit_training, as axolotl and TRL until 2025), none leaves them in 16 "
        "bits (own loaders, unsloth, LLaMA-Factory, TRL since 2026)",
        choices=("peft", "none"),
        strategies=LORA,
    ),
    TrainingSetting(
        name="quantised_layers",
        value_type="text",
        words="Layers that loading in few bits converts: those that the installed transformers "
        "does, or all, with experts and layers of a class of their own (own loaders, transformers "
        "before 5)",
        choices=("installed", "all"),
        strategies=LORA,
    ),
    TrainingSetting(
        name="lora_dropout",
        value_type="amount",
        words="Dropout before each adapter",
        strategies=LORA,
        names=(
            ("logs", "lora_dropout"),
            ("wandb", "peft_config.default.lora_dropout"),
            ("peft", "lora_dropout"),
            ("axolotl", "lora_dropout"),
        ),
    ),
    TrainingSetting(
        name="prior_preservation",
        value_type="flag",
        words="DreamBooth: an image of the class beside each of the subject's, which doubles the "
        "batch of a step",
        tasks=("text_to_image",),
        published=False,
        names=(("diffusers", "with_prior_preservation"),),
    ),
    TrainingSetting(
        name="unfrozen_blocks",
        value_type="whole",
        unit="blocks",
        words="Last blocks that partial_fine_tune trains",
        strategies=("partial_fine_tune",),
    ),
    TrainingSetting(
        name="classes",
        value_type="count",
        words="Number of classes of a classifier; from the data where it has labels",
        largest=10**8,
        tasks=CLASSIFIERS,
        names=(("timm", "num_classes"), ("transformers", "num_labels")),
    ),
    TrainingSetting(
        name="memory_format",
        value_type="text",
        choices=("contiguous", "channels_last"),
        question=False,
        flag=False,
    ),
    TrainingSetting(
        name="samples",
        value_type="count",
        unit="samples",
        words="Number of training samples, instead of data",
        published=False,
        names=(
            ("transformers", "train_samples"),
            ("transformers", "max_train_samples"),
            ("logs", "num_train_samples"),
        ),
    ),
    TrainingSetting(
        name="epochs",
        value_type="positive",
        words="Passes over the data",
        published=False,
        names=(
            ("transformers", "num_train_epochs"),
            ("logs", "epochs"),
            ("lightning", "max_epochs"),
            ("trainer_state", "num_train_epochs"),
            ("axolotl", "num_epochs"),
        ),
    ),
    TrainingSetting(
        name="steps", value_type="count", unit="steps", published=False, question=False
    ),
    *WORKED_OUT,
)


def published() -> list[TrainingSetting]:
    """The columns of published tables that say what was run, in their order."""
    return [setting for setting in SETTINGS.values() if setting.published]


def of_runs() -> dict[str, TrainingSetting]:
    """What can be said of a run: single values in the order of their columns, then lists and
    objects."""
    said = [setting for setting in SETTINGS.values() if setting.flag]
    said.sort(key=lambda setting: setting.value_type not in SINGLE_VALUES)
    return {setting.name: setting for setting in said}


def lists_of_runs() -> list[str]:
    """Names of the settings that are lists of words."""
    return [name for name, setting in of_runs().items() if setting.value_type == "names"]


def asked() -> list[TrainingSetting]:
    """Those that a question has a field of the same name and meaning for."""
    return [setting for setting in SETTINGS.values() if setting.question]


def called_by(tool: str) -> Iterator[tuple[TrainingSetting, str]]:
    """(setting, what the tool calls it) of each that the tool has a name for."""
    for setting in SETTINGS.values():
        name = setting.called_by(tool)
        if name is not None:
            yield setting, name


def in_recipe_words(values: Mapping[str, Any]) -> dict[str, Any]:
    """With a recipe's words for a question's. Some optimizers run in the backward pass anyway."""
    row = asked_row(values.get("optimizer") or "")
    within = {"optimizer_in_backward": True} if row is not None and row.in_backward else {}
    said = {
        name: SETTINGS[name].recipe_names.get(value, value)
        if name in SETTINGS and SETTINGS[name].recipe_names
        else value
        for name, value in values.items()
    }
    return said | within
