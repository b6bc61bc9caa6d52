"""In which order the fields of a question are shown, and what belongs together: for the help of the
command line, forms and reference pages. Every field is in one group; ``FIRST`` are shown before
all."""

from __future__ import annotations

#: The ones that matter first, in the order in which one answers them.
FIRST: tuple[str, ...] = (
    "samples",
    "tokens_per_sample",
    "task",
    "strategy",
    "gpu",
    "gpus",
    "epochs",
    "max_usd",
    "max_hours",
    "deadline",
)
#: Title → the fields that stand under it, those of ``FIRST`` left out.
GROUPS: dict[str, tuple[str, ...]] = {
    "Model": (
        "model",
        "classes",
        "image_size",
        "vision_tower",
        "teacher",
        "trust_remote_code",
        "offline",
    ),
    "Data": (
        "data",
        "text_columns",
        "target_tokens_per_sample",
        "images_per_sample",
        "objects_per_image",
        "most_objects",
        "largest_image_size",
        "negatives",
        "audio_hours",
        "seconds_per_sample",
        "length_spread",
        "max_length",
        "padding",
        "group_by_length",
        "loader_workers",
        "preparation_workers",
        "prepared",
    ),
    "Training": (
        "max_steps",
        "micro_batch",
        "global_batch",
        "precision",
        "optimizer",
        "gradient_checkpointing",
        "attention",
        "compile",
        "float8",
        "float8_layers",
        "loss",
        "kernels",
        "optimizer_in_backward",
        "max_grad_norm",
        "empty_cache_steps",
        "allocator",
        "ema",
        "ema_every",
        "offload",
        "stack",
        "saves_per_epoch",
        "unfrozen_blocks",
        "unfreezing",
        "cached_features",
        "prior_preservation",
    ),
    "Preferences, rewards and teachers": (
        "objective",
        "reference",
        "generations_per_prompt",
        "completion_tokens",
        "generation_engine",
        "on_policy_share",
        "teacher_writes",
    ),
    "Adapters": (
        "adapter",
        "lora_rank",
        "lora_alpha",
        "lora_targets",
        "lora_exclude",
        "lora_layers",
        "lora_layers_pattern",
        "lora_modules_to_save",
        "lora_rank_pattern",
        "lora_dropout",
        "virtual_tokens",
        "adapter_block_size",
        "adapter_precision",
        "load_in",
        "kbit_preparation",
        "quantised_layers",
    ),
    "Evaluation": (
        "evaluations_per_epoch",
        "evaluation_samples",
        "evaluation_batch",
        "evaluation_keeps_logits",
        "evaluation_generates",
        "generated_tokens",
        "beams",
    ),
    "Hardware": (
        "nodes",
        "parallel",
        "shard_devices",
        "tensor_parallel",
        "pipeline_parallel",
        "pipeline_chunks",
        "pipeline_schedule",
        "context_parallel",
        "expert_parallel",
        "provider",
        "region",
        "exact",
    ),
    "Money": (
        "price",
        "spot",
        "commitment",
        "interruptions_per_day",
        "checkpoint_minutes",
        "trials",
        "failed_share",
        "keep_months",
        "usd_per_label",
        "labels",
        "owned_usd",
        "owned_years",
        "owned_utilisation",
        "usd_per_kwh",
    ),
    "Serving": (
        "requests_per_month",
        "horizon_months",
        "prompt_tokens",
        "output_tokens",
        "few_shot_examples",
        "cached_share",
        "api_model",
        "corpus_tokens",
        "retrieved_tokens",
        "embedding_model",
        "vector_store",
        "concurrent_requests",
    ),
    "What is allowed": ("licences", "data_must_stay"),
}


def group_of(field: str) -> str | None:
    """The title that a field stands under; None for one of ``FIRST``. Raises KeyError for what is
    no field of a question."""
    if field in FIRST:
        return None
    return next(title for title, names in (*GROUPS.items(), _unknown(field)) if field in names)


def _unknown(field: str) -> tuple[str, tuple[str, ...]]:
    if not any(field in names for names in GROUPS.values()):
        raise KeyError(field)
    return "", ()
