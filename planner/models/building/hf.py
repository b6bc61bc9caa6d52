"""transformers models: any config that the library knows, for each task."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from planner.errors import FieldName, ModelError
from planner.libraries import import_library
from planner.models.building.built import BuiltModel, largest_module_list
from planner.models.building.experts import group_experts
from planner.models.building.hf_inputs import batch_maker, symbols_of
from planner.models.building.meta import make_on
from planner.models.building.speech import is_ctc
from planner.models.facts import ModelFacts

if TYPE_CHECKING:
    import torch

#: Task → the library's classes for it, the first that has the model's type.
AUTO_CLASSES: dict[str, tuple[str, ...]] = {
    "causal_lm": (
        "AutoModelForCausalLM",
        "AutoModelForImageTextToText",
        "AutoModelForMultimodalLM",
    ),
    "masked_lm": ("AutoModelForMaskedLM",),
    "seq2seq_lm": ("AutoModelForSeq2SeqLM",),
    "text_classification": ("AutoModelForSequenceClassification",),
    "token_classification": ("AutoModelForTokenClassification",),
    "question_answering": ("AutoModelForQuestionAnswering",),
    "image_classification": ("AutoModelForImageClassification",),
    "audio_classification": ("AutoModelForAudioClassification",),
    "speech_recognition": ("AutoModelForSpeechSeq2Seq", "AutoModelForCTC"),
    "contrastive": ("AutoModel",),
}

#: Parts of a multimodal config that text does not reach.
OTHER_SENSES = ("vision_config", "audio_config", "image_config", "vision_tower_config")
FROZEN_SENSES = (
    "trained on text alone: what reads images or sound gets no gradient and stays as it is"
)
FROZEN_ENCODER = (
    "the convolutions that read the waveform are frozen, as transformers' CTC example does "
    "(freeze_feature_encoder)"
)

#: Modules of the classes above that fine-tuning starts from scratch: the head. Language models have
#: their output embedding instead.
HEAD_MODULES = {
    "classifier",
    "pre_classifier",
    "score",
    "pooler",
    "head",
    "projector",
    "classification_head",
    "visual_projection",
    "text_projection",
    "logit_scale",
    "logit_bias",
    "qa_outputs",
    "logits_proj",
    "sequence_summary",
}

#: Where the families keep their repeated blocks; the first that exists. Encoder-decoders: the
#: decoder's.
BLOCK_PATHS = (
    "model.decoder.layers",
    "decoder.block",
    "decoder.layers",
    "vision_model.encoder.layers",
    "encoder.layers",
    "encoder.layer",
    "transformer.layer",
    "transformer.h",
    "layers",
    "h",
)


def build_transformers(
    facts: ModelFacts,
    *,
    attention: str,
    dtype: torch.dtype,
    classes: int | None,
    image_size: int | None,
    audio_samples: int | None,
    task: str,
    channels_last: bool,
    device: str,
) -> BuiltModel:
    """See ``planner.models.building.build.build``."""
    if task not in AUTO_CLASSES:
        raise ModelError(
            f"a transformers model cannot be trained on the task {task!r}",
            where=facts.name,
            mend=f"Use one of {', '.join(AUTO_CLASSES)}",
        )
    library = import_library("transformers", f"the model {facts.name}")
    config = _config(library, facts)
    _adapt(config, facts, task, classes, image_size)
    module = _module(
        library, config, facts, task=task, attention=attention, dtype=dtype, device=device
    )
    experts = group_experts(module) if device == "meta" else ()
    make = batch_maker(module, config, task, dtype, audio_samples, facts.name)
    frozen, said = _frozen(module, config, task)
    return BuiltModel(
        module=module,
        facts=facts,
        task=task,
        symbols=symbols_of(task, ctc=is_ctc(task, config)),
        make_batch=make,
        loss_function=_loss,
        logits_function=_logits(task, is_ctc(task, config)),
        head=_head(module, task),
        blocks=_blocks(module),
        checkpoint=_checkpointing(module, facts.name),
        frozen=frozen,
        assumptions=(*experts, *said),
    )


def own_labels(facts: ModelFacts) -> int:
    """The number of labels that its config has by itself."""
    library = import_library("transformers", f"the model {facts.name}")
    return int(_config(library, facts).num_labels)


def _config(library: Any, facts: ModelFacts) -> Any:
    """The library's config object. The dtype keys are left out: the question's precision decides,
    not the checkpoint's."""
    if facts.trust_remote_code:
        return library.AutoConfig.from_pretrained(str(facts.folder), trust_remote_code=True)
    plain = {
        key: copy.deepcopy(value)
        for key, value in (facts.config or {}).items()
        if key not in ("torch_dtype", "dtype", "auto_map", "quantization_config")
    }
    try:
        config_class = library.CONFIG_MAPPING[plain["model_type"]]
    except KeyError as error:
        raise ModelError(
            f"the installed transformers {library.__version__} does not know model type "
            f"{plain['model_type']!r}",
            where=facts.name,
            mend="Install a newer one: pip install -U transformers",
        ) from error
    return config_class.from_dict(plain)


def _adapt(
    config: Any, facts: ModelFacts, task: str, classes: int | None, image_size: int | None
) -> None:
    """What training needs of a config: no cache of keys and values, the question's classes and
    image size, a padding token."""
    for part in [config, *(getattr(config, name, None) for name in ("text_config", "decoder"))]:
        if hasattr(part, "use_cache"):
            part.use_cache = False
    if task.endswith("classification"):
        if classes is not None:
            config.num_labels = classes
        if config.num_labels > 1:
            config.problem_type = "single_label_classification"
        if getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = 0  # decoders look for the last token that is not padding
    if task == "seq2seq_lm" and getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = 0
    if image_size is not None:
        getattr(config, "vision_config", config).image_size = image_size
    for name in ("layerdrop", "encoder_layerdrop", "decoder_layerdrop"):
        if getattr(config, name, 0):
            setattr(config, name, 0.0)  # a step that skips random layers has no fixed operations
    if hasattr(config, "mask_time_prob"):  # data2vec's config does not name the switch
        config.apply_spec_augment = False  # masks of random, data-dependent size
    if is_ctc(task, config) and getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = 0  # the blank of CTC


def _module(
    library: Any,
    config: Any,
    facts: ModelFacts,
    *,
    task: str,
    attention: str,
    dtype: torch.dtype,
    device: str,
) -> torch.nn.Module:
    maker = _auto_class(library, config, task).from_config
    trust = {"trust_remote_code": True} if facts.trust_remote_code else {}

    def make() -> torch.nn.Module:
        try:
            return maker(
                config, attn_implementation="eager" if attention == "eager" else "sdpa", **trust
            )
        except ValueError as error:  # a model with one attention implementation only
            if "attn_implementation" not in str(error) and "does not support" not in str(error):
                raise
            return maker(config, attn_implementation="eager", **trust)

    module = make_on(device, make, dtype)
    if (facts.config or {}).get("tie_word_embeddings") is False:
        _untie(module)
    return module


def _auto_class(library: Any, config: Any, task: str) -> Any:
    """The first of the task's classes that the installed library has the config's type for; the
    first of all where none has, which then says so."""
    found = [getattr(library, name) for name in AUTO_CLASSES[task] if hasattr(library, name)]
    return next((auto for auto in found if type(config) in auto._model_mapping), found[0])


def _untie(module: Any) -> None:
    """T5's config class ties the output embedding whatever its published config says; the
    checkpoints of Flan-T5 have their own."""
    import torch

    source, output = module.get_input_embeddings(), module.get_output_embeddings()
    if output is not None and source is not None and output.weight is source.weight:
        output.weight = torch.nn.Parameter(output.weight.detach().clone())


def _loss(module: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return module(**batch).loss


def _logits(
    task: str, ctc: bool
) -> Callable[[torch.nn.Module, Mapping[str, torch.Tensor]], torch.Tensor]:
    def text(module: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return module(**{key: value for key, value in batch.items() if key != "labels"}).logits

    def decoder(module: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Without labels the decoder needs its inputs; the labels shifted right have the labels'
        shape."""
        return module(
            **{
                "decoder_input_ids" if key == "labels" else key: value
                for key, value in batch.items()
            }
        ).logits

    def pairs(module: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return module(
            **{key: value for key, value in batch.items() if key != "return_loss"}
        ).logits_per_image

    def spans(module: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        left_out = ("start_positions", "end_positions")
        return module(**{k: v for k, v in batch.items() if k not in left_out}).start_logits

    own = {"contrastive": pairs, "seq2seq_lm": decoder, "question_answering": spans}
    if task == "speech_recognition" and not ctc:
        return decoder
    return own.get(task, text)


def _frozen(module: Any, config: Any, task: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """Names of parameters that stay as they are in a full fine-tuning, and what is said of it."""
    if is_ctc(task, config) and hasattr(module, "freeze_feature_encoder"):
        before = {name for name, p in module.named_parameters() if p.requires_grad}
        module.freeze_feature_encoder()
        now = {name for name, p in module.named_parameters() if p.requires_grad}
        return frozenset(before - now), (FROZEN_ENCODER,)
    if task == "causal_lm" and any(hasattr(config, part) for part in OTHER_SENSES):
        language = _language_model(module)
        names = {name for name, p in module.named_parameters() if id(p) not in language}
        if names and language:
            for name, parameter in module.named_parameters():
                parameter.requires_grad_(name not in names)
            return frozenset(names), (FROZEN_SENSES,)
    return frozenset(), ()


def _language_model(module: Any) -> set[int]:
    """Ids of the parameters that text reaches: the decoder, the embeddings, the head."""
    decoder = module.get_decoder() if hasattr(module, "get_decoder") else None
    if decoder is None or decoder is module or decoder is getattr(module, "model", None):
        return set()
    parts = (decoder, module.get_input_embeddings(), module.get_output_embeddings())
    return {id(p) for part in parts if part is not None for p in part.parameters()}


def _head(module: Any, task: str) -> tuple[str, ...]:
    """Prefixes of the head: the output embedding of language models, else the modules that the base
    checkpoint does not have (BERT's pooler is inside its base model and pretrained with it)."""
    names = {id(part): name for name, part in module.named_modules()}
    if task in ("causal_lm", "masked_lm", "seq2seq_lm", "speech_recognition"):
        if task == "speech_recognition" and hasattr(module, "lm_head"):
            return ("lm_head",)
        output = module.get_output_embeddings()
        return (names[id(output)],) if output is not None else ()
    children = [name for name, _ in module.named_children()] + [
        name for name, _ in module.named_parameters(recurse=False)
    ]
    return tuple(name for name in children if name in HEAD_MODULES)


def _blocks(module: torch.nn.Module) -> list[torch.nn.Module]:
    base = getattr(module, getattr(module, "base_model_prefix", ""), None)
    for root in filter(None, (module, base)):
        for path in BLOCK_PATHS:
            found = _descend(root, path)
            if found is not None:
                return list(found)
    return largest_module_list(module)


def _descend(module: Any, path: str) -> Any:
    for part in path.split("."):
        module = getattr(module, part, None)
    return (
        module
        if module is not None
        and type(module).__name__ in ("ModuleList", "Sequential")
        and len(module)
        else None
    )


def _checkpointing(module: Any, name: str) -> Callable[..., None]:
    def enable(**options: Any) -> None:
        if not getattr(module, "supports_gradient_checkpointing", False):
            raise ModelError(
                "this model has no gradient checkpointing",
                where=name,
                mend=f"Leave {FieldName('gradient_checkpointing')} out",
            )
        plain = {"use_reentrant": False, **options}
        if hasattr(module, "activation_checkpointing_enable"):  # its name from transformers 5 on
            module.activation_checkpointing_enable(activation_checkpointing_kwargs=plain)
        else:
            module.gradient_checkpointing_enable(gradient_checkpointing_kwargs=plain)

    return enable
