"""The keyword arguments of ``estimate`` and ``choose`` for editors and checkers: every
field of ``Question`` but the model and the data, with what it takes. Written by
``benchmarks/question_fields.py``."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Literal, TypedDict


class QuestionFields(TypedDict, total=False):
    """Numbers may be texts with a suffix (``"20k"``), lists a text with commas. ``help(Question)``
    says what each is."""

    samples: int | str | None
    tokens_per_sample: float | str | None
    target_tokens_per_sample: float | str | None
    audio_hours: float | str | None
    seconds_per_sample: float | str | None
    text_columns: Sequence[str] | str | None
    task: str | None
    classes: int | str | None
    strategy: Sequence[str] | str | None
    gpu: str | None
    gpus: int | str
    nodes: int | str | None
    parallel: Literal["auto", "ddp", "fsdp", "hsdp", "zero1", "zero2", "zero3"] | None
    shard_devices: int | str | None
    tensor_parallel: int | str
    pipeline_parallel: int | str
    pipeline_chunks: int | str
    pipeline_schedule: Literal["1f1b", "interleaved", "zb_h1", "zbv"] | None
    context_parallel: int | str
    expert_parallel: int | str
    provider: str | None
    region: str | None
    spot: bool
    price: float | str | None
    commitment: str | None
    interruptions_per_day: float | str | None
    checkpoint_minutes: float | str | None
    trials: int | str
    failed_share: float | str
    keep_months: float | str
    usd_per_label: float | str | None
    labels: int | str | None
    owned_usd: float | str | None
    owned_years: float | str | None
    owned_utilisation: float | str | None
    usd_per_kwh: float | str | None
    epochs: float | str | None
    max_steps: int | str | None
    micro_batch: int | str | None
    global_batch: int | str | None
    max_length: int | str | None
    length_spread: float | str | None
    image_size: int | str | None
    largest_image_size: int | str | None
    objects_per_image: int | str | None
    most_objects: int | str | None
    images_per_sample: int | str | None
    vision_tower: Literal["frozen", "trained"] | None
    negatives: int | str | None
    padding: Literal["longest", "max", "packed", "free"] | None
    group_by_length: bool | None
    precision: Literal["fp32", "tf32", "fp16", "bf16", "amp_fp16", "amp_bf16"] | None
    optimizer: str | None
    gradient_checkpointing: Literal["auto", "none", "full", "selective"]
    attention: Literal["eager", "sdpa", "flash", "flex"]
    compile: bool
    float8: Literal["tensorwise", "rowwise", "rowwise_with_gw_hp"] | None
    float8_layers: Literal["all", "auto"] | None
    loss: Literal["plain", "chunked", "fused"] | None
    kernels: Literal["liger", "unsloth"] | None
    optimizer_in_backward: bool | None
    max_grad_norm: float | str | None
    empty_cache_steps: int | str | None
    allocator: str | None
    ema: Literal["loop", "list", "host", "lerp"] | None
    ema_every: int | str | None
    offload: Sequence[str] | str | None
    adapter: str | None
    virtual_tokens: int | str | None
    adapter_block_size: int | str | None
    lora_rank: int | str
    lora_alpha: float | str | None
    lora_targets: Sequence[str] | str | None
    lora_exclude: Sequence[str] | str | None
    lora_layers: Sequence[str] | str | None
    lora_layers_pattern: Sequence[str] | str | None
    lora_modules_to_save: Sequence[str] | str | None
    lora_rank_pattern: Sequence[str] | str | None
    lora_dropout: float | str
    adapter_precision: Literal["fp32", "weights"] | None
    load_in: Literal["4bit", "8bit"] | None
    kbit_preparation: Literal["peft", "none"]
    quantised_layers: Literal["installed", "all"]
    prior_preservation: bool | None
    unfrozen_blocks: int | str | None
    unfreezing: Literal["last_blocks", "gradual"]
    cached_features: bool | None
    objective: str | None
    reference: Literal["model", "none", "precomputed"] | None
    generations_per_prompt: int | str | None
    completion_tokens: float | str | None
    generation_engine: Literal["transformers", "vllm", "vllm_server"] | None
    on_policy_share: float | str | None
    teacher_writes: bool
    teacher: str | None
    stack: str | None
    evaluations_per_epoch: float | str | None
    evaluation_samples: int | str | None
    evaluation_batch: int | str | None
    evaluation_keeps_logits: bool | None
    evaluation_generates: bool | None
    generated_tokens: float | str | None
    beams: int | str | None
    saves_per_epoch: float | str | None
    loader_workers: int | str | None
    preparation_workers: int | str | None
    prepared: bool
    requests_per_month: float | str | None
    horizon_months: float | str
    prompt_tokens: float | str | None
    output_tokens: float | str | None
    few_shot_examples: int | str
    cached_share: float | str
    api_model: str | None
    corpus_tokens: float | str | None
    retrieved_tokens: float | str | None
    embedding_model: str | None
    vector_store: str | None
    concurrent_requests: int | str | None
    licences: Sequence[str] | str | None
    data_must_stay: bool
    exact: bool
    trust_remote_code: bool
    offline: bool
    max_usd: float | str | None
    max_hours: float | str | None
    deadline: datetime.datetime | str | None
