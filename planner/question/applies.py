"""Which fields of a question have an effect on what: a field that is asked and changes none of the
planned options is said, with what it is of. Training settings say it themselves (``settings.py``);
a new field that is not for everything is an entry here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from planner.errors import FieldName
from planner.question import adapters
from planner.question.question import Question
from planner.question.settings import LORA, SETTINGS
from planner.question.training_setting import (
    COMPLETED,
    OBJECT_TASKS,
    REPEATED,
    REPLACING,
    TAUGHT,
    TUNED_BY,
    WRITING,
)
from planner.question.what import PAID_STRATEGIES, TRAINING_STRATEGIES


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a field is of; empty for everything. ``needs``: fields of which one has to be asked
    too, but for the strategies ``needless_for``. ``loses_to``: a field beside which it is not
    used. ``any_on``: tasks on which it is of every strategy. ``objectives``: those that it is of
    where one is asked, ``or_objectives``: those that it is of, whatever the strategy.
    ``methods``: of adapters, that take it."""

    strategies: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    needless_for: tuple[str, ...] = ()
    loses_to: str | None = None
    any_on: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()
    or_objectives: tuple[str, ...] = ()


TRAINED = Use(strategies=TRAINING_STRATEGIES)
PAID = Use(strategies=PAID_STRATEGIES)
RAG = Use(strategies=("rag",))
WITH_TOKENS = ("text", "image_text", "audio")
WRITTEN = Use(
    strategies=TRAINING_STRATEGIES,
    tasks=("causal_lm", "seq2seq_lm", "image_text_to_text", "speech_recognition"),
)
#: Tasks whose samples have a second text of a length of its own.
TWO_SIDES = ("seq2seq_lm", "speech_recognition", "text_embedding", "text_to_speech")
HIRED = Use(strategies=TRAINING_STRATEGIES, loses_to="price")
SERVED = Use(needs=("requests_per_month",))
REQUESTED = Use(needs=("requests_per_month",), needless_for=PAID_STRATEGIES)

#: Completions that the model writes while it trains.
WRITES = Use(strategies=TUNED_BY, needs=("objective",), objectives=COMPLETED)

#: Of the fields that are no training setting, those that are not for everything.
USES: dict[str, Use] = {
    "tokens_per_sample": Use(modalities=WITH_TOKENS, loses_to="data"),
    "images_per_sample": Use(tasks=("image_text_to_text",)),
    "largest_image_size": Use(strategies=TRAINING_STRATEGIES, tasks=OBJECT_TASKS),
    "most_objects": Use(strategies=TRAINING_STRATEGIES, tasks=OBJECT_TASKS),
    "target_tokens_per_sample": Use(tasks=TWO_SIDES, loses_to="data"),
    "text_columns": Use(modalities=(*WITH_TOKENS, "table", "series"), needs=("data",)),
    "max_steps": TRAINED,
    "global_batch": TRAINED,
    "micro_batch": TRAINED,
    "max_length": Use(modalities=WITH_TOKENS),
    "length_spread": Use(modalities=("text",), loses_to="data"),
    "padding": Use(strategies=TRAINING_STRATEGIES, modalities=WITH_TOKENS),
    "group_by_length": Use(strategies=TRAINING_STRATEGIES, modalities=WITH_TOKENS),
    "precision": TRAINED,
    "optimizer": TRAINED,
    "gradient_checkpointing": TRAINED,
    "attention": TRAINED,
    "compile": TRAINED,
    "optimizer_in_backward": TRAINED,
    "max_grad_norm": TRAINED,
    "empty_cache_steps": TRAINED,
    "allocator": TRAINED,
    "ema": TRAINED,
    "ema_every": Use(strategies=TRAINING_STRATEGIES, needs=("ema",)),
    "offload": TRAINED,
    "saves_per_epoch": TRAINED,
    "evaluation_batch": TRAINED,
    "evaluation_keeps_logits": TRAINED,
    "generations_per_prompt": replace(WRITES, objectives=REPEATED),
    "completion_tokens": WRITES,
    "generation_engine": replace(WRITES, objectives=(*WRITING, "sequence_distillation")),
    "on_policy_share": replace(WRITES, objectives=REPLACING),
    "teacher_writes": replace(WRITES, objectives=REPLACING),
    "evaluation_generates": WRITTEN,
    "generated_tokens": WRITTEN,
    "beams": WRITTEN,
    "loader_workers": TRAINED,
    "preparation_workers": TRAINED,
    "prepared": TRAINED,
    "stack": TRAINED,
    "nodes": TRAINED,
    "parallel": TRAINED,
    "shard_devices": TRAINED,
    "tensor_parallel": TRAINED,
    "pipeline_parallel": TRAINED,
    "pipeline_chunks": TRAINED,
    "pipeline_schedule": TRAINED,
    "context_parallel": TRAINED,
    "expert_parallel": TRAINED,
    "gpu": TRAINED,
    "gpus": TRAINED,
    "spot": TRAINED,
    "exact": TRAINED,
    "provider": HIRED,
    "commitment": HIRED,
    "lora_alpha": Use(strategies=LORA, methods=adapters.taking("lora_alpha")),
    "unfreezing": Use(strategies=("partial_fine_tune",)),
    "cached_features": Use(strategies=("feature_extraction",), any_on=("text_to_image",)),
    "teacher": Use(strategies=("distillation",), or_objectives=TAUGHT),
    "prompt_tokens": REQUESTED,
    "output_tokens": REQUESTED,
    "concurrent_requests": SERVED,
    "horizon_months": SERVED,
    "few_shot_examples": Use(strategies=("prompting", "rag")),
    "cached_share": PAID,
    "api_model": PAID,
    "corpus_tokens": RAG,
    "retrieved_tokens": RAG,
    "embedding_model": RAG,
    "vector_store": RAG,
}

#: Training settings that another one asks for.
NEEDS = {"reference": ("objective",), "float8_layers": ("float8",)}
#: Training settings of adapters over weights that are loaded in few bits, or stored so.
FEW_BITS = ("kbit_preparation", "quantised_layers")


def use_of(name: str) -> Use:
    """Of any field; one that no table names is for everything."""
    if name in USES:
        return USES[name]
    setting = SETTINGS.get(name)
    if setting is None:
        return Use()
    needs = NEEDS.get(name, ())
    found = Use(
        strategies=setting.strategies,
        tasks=setting.tasks,
        needs=needs,
        methods=_methods(name),
    )
    if name not in FEW_BITS:
        return found
    return replace(found, needs=("load_in",), needless_for=("qlora",))


def _methods(name: str) -> tuple[str, ...]:
    return adapters.taking(name) if name in (*adapters.SIZES, *adapters.OPTIONS) else ()


def in_vain(
    question: Question,
    strategies: Collection[str],
    task: str,
    modality: str,
    *,
    stored: bool = False,
) -> list[str]:
    """A sentence for each asked field that changes nothing of what is planned: ``strategies`` on
    this task and modality. ``stored``: the checkpoint holds weights in few bits."""
    found: list[str] = []
    for name in Question.model_fields:
        if name in question.model_fields_set and getattr(question, name) is not None:
            use = use_of(name)
            use = replace(use, needs=()) if stored and name in FEW_BITS else use
            why = _why_not(question, use, strategies, task, modality)
            found += [f"{FieldName(name)} has no effect: {why}"] if why else []
    return found


def _why_not(
    question: Question, use: Use, strategies: Collection[str], task: str, modality: str
) -> str:
    """Why a field has no effect; empty where it has one."""
    if use.loses_to is not None and getattr(question, use.loses_to) is not None:
        return (
            "the data itself is counted"
            if use.loses_to == "data"
            else f"{FieldName(use.loses_to)} is given"
        )
    alone = use.needs and all(getattr(question, name) is None for name in use.needs)
    if alone and not set(use.needless_for) & set(strategies):
        return f"it goes with {FieldName(*use.needs)}"
    if use.or_objectives and question.objective in use.or_objectives:
        return ""
    if use.objectives and question.objective not in use.objectives:
        return f"it is of {FieldName('objective')} {_listed(use.objectives)}"
    if use.strategies and task not in use.any_on and not set(use.strategies) & set(strategies):
        return f"it is of {_listed(use.strategies)}, not of {_listed(strategies)}"
    method = question.adapter or adapters.LORA
    if use.methods and method not in use.methods:
        return f"{FieldName('adapter')} {method} has no such size or option"
    if use.tasks and task not in use.tasks:
        return f"it is of {_listed(use.tasks)}, not of {task}"
    if use.modalities and modality not in use.modalities:
        return f"it is of {_listed(use.modalities)}, not of {modality}"
    return ""


def _listed(names: Collection[str]) -> str:
    """All training strategies, or all that are paid by the token, in a word."""
    if set(TRAINING_STRATEGIES) <= set(names):
        return "training"
    if len(names) > 1 and set(names) == set(PAID_STRATEGIES):
        return "what is paid by the token"
    return ", ".join(names)
