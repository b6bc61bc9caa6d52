"""How it is trained: what a practitioner chooses, or leaves to the planner."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from planner.question import adapters
from planner.question.fields import OneOf
from planner.question.optimizers import asked_names, refused_names
from planner.question.settings import SETTINGS
from planner.question.training_setting import OBJECTIVES
from planner.question.what import What

Optimizer = Annotated[str, OneOf(asked_names(), refused_names())]
Objective = Annotated[str, OneOf(OBJECTIVES)]
Adapter = Annotated[str, OneOf(adapters.names())]
Precision = Literal["fp32", "tf32", "fp16", "bf16", "amp_fp16", "amp_bf16"]
Padding = Literal["longest", "max", "packed", "free"]
Checkpointing = Literal["auto", "none", "full", "selective"]
Attention = Literal["eager", "sdpa", "flash", "flex"]


class How(What):
    """The fields of a run, after those of ``What``."""

    epochs: float | None = Field(None, gt=0, le=10**6, description=SETTINGS["epochs"].words)
    max_steps: int | None = Field(
        None,
        ge=1,
        le=10**12,
        description="Optimizer steps of the run, through the data again and again; wins over "
        "epochs",
    )
    micro_batch: int | None = Field(None, ge=1, le=10**7, description=SETTINGS["micro_batch"].words)
    global_batch: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="Samples of one optimizer step over all devices; accumulates what a device "
        "cannot hold",
    )
    max_length: int | None = Field(
        None, ge=1, le=10**8, description="Longest sample in tokens; the rest is cut off"
    )
    length_spread: float | None = Field(
        None,
        ge=0,
        le=3,
        description="How lengths spread around tokens_per_sample: the standard deviation of "
        "their logarithm, 0 for samples of one length; by default as in published sets of the task",
    )
    image_size: int | None = Field(None, ge=8, le=16384, description=SETTINGS["image_size"].words)
    largest_image_size: int | None = Field(
        None,
        ge=8,
        le=16384,
        description="Longer side in pixels of the largest images that a detector is trained on, "
        "which its memory is of; by default as the published recipe of its family cuts them, or "
        "the largest of the data",
    )
    objects_per_image: int | None = Field(
        None, ge=1, le=10_000, description=SETTINGS["objects_per_image"].words
    )
    most_objects: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Objects of the fullest image that a detector is trained on, which its memory "
        "is of; by default the data's, else as in a published set of images",
    )
    images_per_sample: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Images of a sample that a model writes about; by default as the data has, "
        "else one",
    )
    vision_tower: Literal["frozen", "trained"] | None = Field(
        None, description=SETTINGS["vision_tower"].words
    )
    negatives: int | None = Field(None, ge=0, le=1000, description=SETTINGS["negatives"].words)
    padding: Padding | None = Field(
        None,
        description="To the longest of the batch, to max_length, packed without padding, or free: "
        "the samples of a batch one after the other without padding, attention within each; by "
        "default packed for text from scratch and plain text, else to the longest",
    )
    group_by_length: bool | None = Field(
        None,
        description="Whether batches are of samples of about one length, as Trainer's "
        "group_by_length makes them; by default not, as trainers of today",
    )
    precision: Precision | None = Field(None, description=SETTINGS["precision"].words)
    optimizer: Optimizer | None = Field(None, description=SETTINGS["optimizer"].words)
    gradient_checkpointing: Checkpointing = Field(
        "auto", description=SETTINGS["gradient_checkpointing"].words
    )
    attention: Attention = Field("sdpa", description=SETTINGS["attention"].words)
    compile: bool = Field(False, description=SETTINGS["compile"].words)
    float8: Literal["tensorwise", "rowwise", "rowwise_with_gw_hp"] | None = Field(
        None, description=SETTINGS["float8"].words
    )
    float8_layers: Literal["all", "auto"] | None = Field(
        None, description=SETTINGS["float8_layers"].words
    )
    loss: Literal["plain", "chunked", "fused"] | None = Field(
        None, description=SETTINGS["loss"].words
    )
    kernels: Literal["liger", "unsloth"] | None = Field(None, description=SETTINGS["kernels"].words)
    optimizer_in_backward: bool | None = Field(
        None, description=SETTINGS["optimizer_in_backward"].words
    )
    max_grad_norm: float | None = Field(
        None,
        ge=0,
        le=10**6,
        description="Norm that all gradients of a step are clipped at together, 0 for no clipping; "
        "by default as the stack does: Trainer and TRL at 1, Lightning and plain loops not",
    )
    empty_cache_steps: int | None = Field(
        None,
        ge=1,
        le=10**6,
        description="Give the allocator's cache back to the driver after the forward pass of every "
        "so manieth step, as Trainer's torch_empty_cache_steps; by default never",
    )
    allocator: str | None = Field(
        None,
        description="Settings of torch's allocator as PYTORCH_CUDA_ALLOC_CONF has them, such as "
        "expandable_segments:True,max_split_size_mb:512; by default torch's own",
    )
    ema: Literal["loop", "list", "host", "lerp"] | None = Field(
        None,
        description="Keep an average of the weights that train: loop, one after another as "
        "diffusers' use_ema; list, over lists (foreach_ema); host, in the host's memory between "
        "steps (offload_ema); lerp, in one operation as timm's ModelEmaV3 and torchvision's; by "
        "default none",
    )
    ema_every: int | None = Field(
        None,
        ge=1,
        le=10**6,
        description="Steps between two updates of the average, as torchvision's model_ema_steps; "
        "by default 1",
    )
    offload: list[Literal["activations", "optimizer", "gradients", "weights"]] | None = Field(
        None, description=SETTINGS["offload"].words
    )
    adapter: Adapter | None = Field(None, description=SETTINGS["adapter"].words)
    virtual_tokens: int | None = Field(
        None, ge=1, le=10_000, description=SETTINGS["virtual_tokens"].words
    )
    adapter_block_size: int | None = Field(
        None, ge=1, le=65536, description=SETTINGS["adapter_block_size"].words
    )
    lora_rank: int = Field(16, ge=1, le=65536, description=SETTINGS["lora_rank"].words)
    lora_alpha: float | None = Field(None, gt=0, description="Scale of lora; changes no cost")
    lora_targets: list[str] | None = Field(None, description=SETTINGS["lora_targets"].words)
    lora_exclude: list[str] | None = Field(None, description=SETTINGS["lora_exclude"].words)
    lora_layers: list[str] | None = Field(None, description=SETTINGS["lora_layers"].words)
    lora_layers_pattern: list[str] | None = Field(
        None, description=SETTINGS["lora_layers_pattern"].words
    )
    lora_modules_to_save: list[str] | None = Field(
        None, description=SETTINGS["lora_modules_to_save"].words
    )
    lora_rank_pattern: list[str] | None = Field(
        None, description=SETTINGS["lora_rank_pattern"].words
    )
    lora_dropout: float = Field(0.0, ge=0, lt=1, description=SETTINGS["lora_dropout"].words)
    adapter_precision: Literal["fp32", "weights"] | None = Field(
        None, description=SETTINGS["adapter_precision"].words
    )
    load_in: Literal["4bit", "8bit"] | None = Field(None, description=SETTINGS["load_in"].words)
    kbit_preparation: Literal["peft", "none"] = Field(
        "peft", description=SETTINGS["kbit_preparation"].words
    )
    quantised_layers: Literal["installed", "all"] = Field(
        "installed", description=SETTINGS["quantised_layers"].words
    )
    prior_preservation: bool | None = Field(None, description=SETTINGS["prior_preservation"].words)
    unfrozen_blocks: int | None = Field(
        None, ge=0, le=10_000, description=SETTINGS["unfrozen_blocks"].words
    )
    unfreezing: Literal["last_blocks", "gradual"] = Field(
        "last_blocks",
        description="Whether partial_fine_tune trains its blocks from the start or unfreezes "
        "them one by one",
    )
    cached_features: bool | None = Field(
        None,
        description="feature_extraction: compute the features once (true), run the backbone "
        "every epoch (false), or show both; text_to_image: make latents and embeddings of captions "
        "once (true) or in every step",
    )
    objective: Objective | None = Field(None, description=SETTINGS["objective"].words)
    reference: Literal["model", "none", "precomputed"] | None = Field(
        None, description=SETTINGS["reference"].words
    )
    generations_per_prompt: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Completions that a model writes to each prompt under grpo, rloo and "
        "on_policy_distillation; by default as TRL",
    )
    completion_tokens: float | None = Field(
        None,
        gt=0,
        le=10**6,
        description="Tokens of each completion that a model or its teacher writes under an "
        "objective; by default the longest that TRL allows, of a teacher that writes once as many "
        "as the data's own answers have",
    )
    generation_engine: Literal["transformers", "vllm", "vllm_server"] | None = Field(
        None,
        description="What writes completions: the trainer itself (by default), vLLM on the same "
        "GPU (by default under sequence_distillation), or vLLM on a GPU of its own beside it",
    )
    on_policy_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="gkd: share of the batches whose answers the student writes itself (TRL's "
        "lmbda); by default 0.5, as TRL",
    )
    teacher_writes: bool = Field(
        False,
        description="gkd: the teacher writes the answers of the other batches (TRL's seq_kd)",
    )
    teacher: str | None = Field(None, description="Model that distillation learns from")
    stack: str | None = Field(
        None,
        description="Software of the run: a trainer, with the year of its versions or without, "
        "such as trainer-2022; by default Hugging Face's Trainer of today",
    )
    evaluations_per_epoch: float | None = Field(
        None,
        ge=0,
        le=10**4,
        description="Evaluations an epoch; by default as the published recipe, else 1",
    )
    evaluation_samples: int | None = Field(
        None,
        ge=0,
        le=10**13,
        description="Samples of one evaluation; by default a stated share of the data",
    )
    evaluation_batch: int | None = Field(
        None,
        ge=1,
        le=10**6,
        description="Samples that a device evaluates at once; by default as the trainer does",
    )
    evaluation_keeps_logits: bool | None = Field(
        None,
        description="Whether an evaluation keeps the logits of all its samples on the device until "
        "it ends, as Trainer does for a compute_metrics without eval_accumulation_steps; by "
        "default not",
    )
    evaluation_generates: bool | None = Field(
        None,
        description="Whether an evaluation writes text token by token, as metrics of text need; by "
        "default as the published recipe, else as the task's examples",
    )
    generated_tokens: float | None = Field(
        None,
        gt=0,
        le=10**7,
        description="Tokens that an evaluation writes until the longest text of a batch ends; by "
        "default the longest target of a batch, up to a common maximum",
    )
    beams: int | None = Field(
        None, ge=1, le=1000, description="Beams of a generation that evaluates; by default 1"
    )
    saves_per_epoch: float | None = Field(
        None,
        ge=0,
        le=10**4,
        description="Checkpoints an epoch; by default as often as the recipe evaluates by steps, "
        "else as the trainer does by itself: every 500 steps",
    )
    loader_workers: int | None = Field(
        None,
        ge=0,
        le=10**4,
        description="Processes a GPU that load samples; 0: the training process does. By default "
        "as the script of the model's library, bounded by the cores for a GPU",
    )
    preparation_workers: int | None = Field(
        None,
        ge=1,
        le=10**5,
        description="Processes that tokenize or make features before the first step; by default "
        "as the trainer's script",
    )
    prepared: bool = Field(
        False,
        description="The data lies on the machine, tokenized, decoded or as features: nothing is "
        "prepared or fetched before the first step",
    )
