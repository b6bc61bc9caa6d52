"""Setup: every choice of a training, settled. The names are those of ``settings.SETTINGS``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from planner.question.settings import SETTINGS, asked, in_recipe_words

if TYPE_CHECKING:
    from planner.question.question import Question


@dataclass(frozen=True)
class TracedSettings:
    """The part of a setup that changes the operations of one micro-batch: what a recipe is made
    of. By a recipe's words; None where it does not apply or the model's own is meant."""

    strategy: str  # one of question.TRAINING_STRATEGIES
    task: str
    precision: str  # fp32 | tf32 | fp16 | bf16 | amp_fp16 | amp_bf16
    optimizer: str
    gradient_checkpointing: str = "none"  # none | full | selective
    attention: str = "sdpa"  # eager | sdpa | flash
    compile: bool = False
    float8: str | None = None  # tensorwise | rowwise | rowwise_with_gw_hp; None: not
    float8_layers: str | None = None  # auto; None: all but the head
    loss: str | None = None  # chunked | fused; None: the model's own
    kernels: str | None = None  # liger | unsloth; None: torch's
    adapter_precision: str | None = None  # weights; None: float32
    optimizer_in_backward: bool | None = None
    offload: tuple[str, ...] | None = None  # words of ``host_memory``
    classes: int | None = None
    image_size: int | None = None
    # contiguous; None: images and weights of convolutions in channels-last order
    memory_format: str | None = None
    # objects of each image that a detector learns, where it is not the usual number
    objects_per_image: int | None = None
    # length of a raw waveform, where the model's lengths are not linear in it
    audio_samples: int | None = None
    # pictures of a sample that the vision tower sees, tiles each
    images: int | None = None
    vision_tower: str | None = None  # trained; None: frozen
    negatives: int | None = None  # hard negatives beside each query of an embedding model
    adapter: str | None = None  # of profiles/adapters.csv; None: lora
    virtual_tokens: int | None = None
    adapter_block_size: int | None = None
    lora_rank: int | None = None
    lora_targets: tuple[str, ...] | None = None  # None: every linear layer but the head
    lora_exclude: tuple[str, ...] | None = None
    lora_layers: tuple[str, ...] | None = None
    lora_layers_pattern: tuple[str, ...] | None = None
    lora_modules_to_save: tuple[str, ...] | None = None
    lora_rank_pattern: tuple[str, ...] | None = None
    lora_dropout: float | None = None
    load_in: str | None = None  # 4bit | 8bit; None: as the checkpoint (qlora: 4bit)
    # peft | none; a recipe has it in its precision: peft is mixed precision over float32
    kbit_preparation: str | None = None
    quantised_layers: str | None = None  # installed | all
    # kept: what 4-bit layers read lives until their backward pass, as bitsandbytes had it
    quantised_inputs: str | None = None
    prior_preservation: bool | None = None  # DreamBooth's: half of a batch is of the class
    unfrozen_blocks: int | None = None
    teacher: str | None = None  # fingerprint of the teacher
    objective: str | None = None  # of training/objectives; None: the task's own loss
    # model | precomputed, of an objective that compares with a frozen copy; None: without
    reference: str | None = None
    # feature_extraction: "cached" traces the head on cached features; "features" the forward pass
    # that makes them
    variant: str | None = None


@dataclass(frozen=True, kw_only=True)
class Setup(TracedSettings):
    """All that was chosen for a run on its device. Lengths in tokens (of a waveform in samples),
    the micro-batch in samples a device."""

    model: str  # a name that planner.models resolves, or a label where ``architecture`` is given
    gpu: str  # a name that planner.devices finds
    micro_batch: int
    # {"kind": ..., arguments of the library's configuration class}
    architecture: dict[str, Any] | None = None
    gpus: int = 1
    parallel: str | None = None  # ddp | fsdp | data_parallel (one process, many devices)
    accumulation: int = 1
    sequence_length: int | None = None
    target_length: int | None = None
    samples: int | None = None
    epochs: float | None = None
    steps: int | None = None


def traced_values(settings: TracedSettings) -> dict[str, Any]:
    """Name → value of the traced part of any setup."""
    return {
        field.name: getattr(settings, field.name) for field in dataclasses.fields(TracedSettings)
    }


def for_record(setup: Setup) -> dict[str, Any]:
    """What a record's ``setup`` holds of a setup: all that is known, but for what only published
    tables say."""
    values = {
        setting.name: getattr(setup, setting.name)
        for setting in SETTINGS.values()
        if setting.flag or not setting.published
    }
    return {
        name: list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value is not None
    }


def asked_values(question: Question) -> dict[str, Any]:
    """What a question says of the traced settings, by a recipe's words. What it leaves open (None,
    ``auto``) and whom it asks about (``strategy``, which may be several) is the caller's to
    settle."""
    names = {field.name for field in dataclasses.fields(TracedSettings)} - {"strategy"}
    said: Mapping[str, Any] = {
        setting.name: getattr(question, setting.name)
        for setting in asked()
        if setting.name in names
    }
    return in_recipe_words(said)
