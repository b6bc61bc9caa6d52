"""transformers models: any config that the library knows, for each task."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from planner.errors import FieldName, ModelError, NoCheckpointingError
from planner.libraries import import_library
from planner.models.building.built import BuiltModel, largest_module_list
from planner.models.building.experts import group_experts
from planner.models.building.meta import make_on
from planner.models.building.sight.left_open import fill_in, give_size
from planner.models.building.tasks.base import (
    Feed,
    TrainingTask,
    config_parts,
    training_task,
    training_tasks,
)
from planner.models.building.tasks.own_class import class_named
from planner.models.facts import ModelFacts

if TYPE_CHECKING:
    import torch

#: Where the families keep their repeated blocks; the first that exists. Encoder-decoders: the
#: decoder's.
BLOCK_PATHS = (
    "language_model.layers",
    "text_model.layers",
    "language_model.model.decoder.layers",
    "language_model.decoder.block",
    "transformer_module.decoder.layers",
    "model.decoder.layers",
    "decoder.wrapped_decoder.layers",
    "decoder.block",
    "decoder.layers",
    "vision_model.encoder.layers",
    "encoder.layers",
    "encoder.layer",
    "transformer.layer",
    "transformer.h",
    "layers",
    "h",
    "stages",
    "encoder.stages",
)


def build_transformers(
    facts: ModelFacts,
    *,
    attention: str,
    dtype: torch.dtype,
    classes: int | None,
    image_size: int | None,
    audio_samples: int | None,
    images: int | None,
    vision_tower: str | None,
    task: str,
    channels_last: bool,
    device: str,
    negatives: int = 0,
    largest: tuple[int, int] | None = None,
    objects: int | None = None,
) -> BuiltModel:
    """See ``planner.models.building.build.build``."""
    if task not in training_tasks():
        raise ModelError(
            f"a transformers model cannot be trained on the task {task!r}",
            where=facts.name,
            mend=f"Use one of {', '.join(training_tasks())}",
        )
    library = import_library("transformers", f"the model {facts.name}")
    config = _config(library, facts)
    kind = training_task(task, config)
    kind.adapt(config, classes)
    assumed = (*fill_in(config), *give_size(library, config, kind.name, image_size))
    _adapt(config, image_size)
    module = _module(
        library, config, facts, kind=kind, attention=attention, dtype=dtype, device=device
    )
    if kind.wrap is not None:
        wrap, library_module = kind.wrap, module
        module = make_on(device, lambda: wrap(library_module, config), dtype)
    stand_ins = (*group_experts(module), *kind.on_meta(module)) if device == "meta" else ()
    feed = Feed(module, config, dtype, audio_samples, facts.name, negatives, images or 1)
    feed = replace(feed, largest=largest, objects=objects or feed.objects)
    kind.check(feed)
    frozen, said = ((), ()) if vision_tower == "trained" else kind.frozen(module, config)
    return BuiltModel(
        module=module,
        facts=facts,
        task=task,
        symbols=kind.symbols if largest is None else (*kind.symbols, "T"),
        make_batch=lambda B, S, T: kind.batch(feed, B, S, T),
        loss_function=kind.loss,
        logits_function=kind.logits,
        soft_loss=kind.soft_loss,
        head=kind.head(module),
        blocks=_blocks(module),
        checkpoint=_checkpointing(module, facts.name),
        stop_checkpointing=_no_checkpointing(module),
        frozen=frozenset(frozen),
        unadapted=frozenset(frozen) if kind.frozen_takes_no_adapters else frozenset(),
        beside_adapters=kind.beside_adapters(module),
        assumptions=(*stand_ins, *said, *assumed, *kind.fed(feed)),
        after_update=kind.after_update(module) if kind.after_update else None,
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


def _adapt(config: Any, image_size: int | None) -> None:
    """What training needs of every config: no cache of keys and values, the question's image size,
    no layers that are skipped at random."""
    if image_size is not None:
        getattr(config, "vision_config", config).image_size = image_size
    for part in config_parts(config):
        if hasattr(part, "use_cache"):
            part.use_cache = False
        for name in ("layerdrop", "encoder_layerdrop", "decoder_layerdrop"):
            if getattr(part, name, 0):
                setattr(part, name, 0.0)  # a step that skips random layers has no fixed operations
        if hasattr(part, "mask_time_prob"):  # data2vec's config does not name the switch
            part.apply_spec_augment = False  # masks of random, data-dependent size


def _module(
    library: Any,
    config: Any,
    facts: ModelFacts,
    *,
    kind: TrainingTask,
    attention: str,
    dtype: torch.dtype,
    device: str,
) -> torch.nn.Module:
    maker = _maker(library, config, kind)
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
    if attention == "flex" and not getattr(module, "_supports_flex_attn", False):
        raise ModelError(
            f"transformers has no flex attention for {type(module).__name__}",
            where=facts.name,
            mend=f"Ask for {FieldName('attention')} sdpa",
        )
    if (facts.config or {}).get("tie_word_embeddings") is False:
        _untie(module)
    return module


def _maker(library: Any, config: Any, kind: TrainingTask) -> Any:
    """What makes the module of a config and an attention."""
    named = kind.own_classes.get(config.model_type)
    if named is not None:
        return getattr(library, named)._from_config
    if kind.name == "custom":
        return class_named(config)._from_config
    return _auto_class(library, config, kind).from_config


def _auto_class(library: Any, config: Any, kind: TrainingTask) -> Any:
    """The first of the task's classes that the installed library has the config's type for; the
    first of all where none has, which then says so."""
    found = [getattr(library, name) for name in kind.auto_classes if hasattr(library, name)]
    return next((auto for auto in found if type(config) in auto._model_mapping), found[0])


def _untie(module: Any) -> None:
    """T5's config class ties the output embedding whatever its published config says; the
    checkpoints of Flan-T5 have their own."""
    import torch

    source, output = module.get_input_embeddings(), module.get_output_embeddings()
    read = getattr(source, "weight", None)  # tables of codebooks have several
    if output is not None and read is not None and output.weight is read:
        output.weight = torch.nn.Parameter(output.weight.detach().clone())


def _blocks(module: torch.nn.Module) -> list[torch.nn.Module]:
    base = getattr(module, getattr(module, "base_model_prefix", ""), None)
    backbone = getattr(module, "backbone", None)
    for root in filter(None, (module, base, backbone)):
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


def _no_checkpointing(module: Any) -> Callable[[], None] | None:
    """Older versions of the library have another name for it: their models are built anew."""
    if not hasattr(module, "activation_checkpointing_disable"):
        return None

    def disable() -> None:
        module.activation_checkpointing_disable()
        module.disable_input_require_grads()  # which enabling asks for and disabling leaves

    return disable


def _checkpointing(module: Any, name: str) -> Callable[..., None]:
    def enable(**options: Any) -> None:
        if not getattr(module, "supports_gradient_checkpointing", False):
            raise NoCheckpointingError(
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
