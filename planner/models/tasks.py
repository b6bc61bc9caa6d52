"""Which task a config is trained on when the question does not say, and what its fields mean under
the families' many names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planner.errors import FieldName, ModelError, nearest
from planner.first_lines import FirstLine
from planner.models.class_names import class_of, class_task
from planner.models.configs import SYNONYMS, model_types
from planner.models.constants import constant, has
from planner.question.training_setting import OBJECT_TASKS
from planner.tasks import modality_of

#: Where a class name does not decide, the first of these that the library can train the model type
#: on.
PREFERENCE: tuple[str, ...] = (
    "contrastive",
    "speech_recognition",
    "image_classification",
    "audio_classification",
    "seq2seq_lm",
    "text_classification",
    "causal_lm",
    "masked_lm",
    "token_classification",
    "text_embedding",
    "time_series_forecasting",
    "object_detection",
    "instance_segmentation",
    "semantic_segmentation",
    "mask_generation",
)


#: Tasks whose images have the size of the family's own image processor.
SIZED_BY_FAMILY = (
    "object_detection",
    "instance_segmentation",
    "semantic_segmentation",
    "mask_generation",
)


#: Tasks of single models, whose families are usually trained on something else.
EMBEDDERS = ("text_embedding", "reranking")


@dataclass(frozen=True)
class Choice:
    """A task, and what is said of it first. ``open``: nobody asked for it and no class name settles
    it, so that the data may decide otherwise."""

    task: str
    line: FirstLine
    open: bool = False


def choose_task(
    config: Mapping[str, Any], task: str | None, where: str, usual: str | None = None
) -> Choice:
    """The task of a config: the asked one, else what its class trains (``architectures``), else
    ``usual`` or the family's. Raises ModelError, naming what is not covered."""
    family = config["model_type"]
    possible = model_types().get(family)  # None: a newer release's, whose classes are believed
    if task is not None:
        if possible is not None and task not in possible:
            raise ModelError(
                f"{task} is not covered for a {family} model",
                where=where,
                mend=f"Covered: {', '.join(sorted(possible)) or 'nothing'}",
            )
        return Choice(task, FirstLine("task", f"trained as {task}, as asked"))
    name = class_of(config)
    if possible is not None and usual not in possible:
        usual = None
    return (
        (_usual(usual, family, name) if usual else None)
        or _by_class(name, possible, where)
        or _by_family(family, possible or frozenset(), name, where)
    )


def _usual(task: str, family: str, name: str | None) -> Choice:
    """What a row of the catalogue says that its model is trained on."""
    row = class_task(name)
    if name and row is not None and task in row.tasks and not row.base:
        return Choice(task, _line(task, name))
    whose = "this model" if task in EMBEDDERS else family
    return Choice(task, _line(task, f"the usual task of {whose}"), open=True)


def _by_class(name: str | None, possible: frozenset[str] | None, where: str) -> Choice | None:
    row = class_task(name)
    if row is None:
        return None
    task = next((task for task in row.tasks if possible is None or task in possible), None)
    if task is not None:
        return Choice(task, _line(task, name or "", changeable=row.base), row.base)
    if row.nearest and (possible is None or row.nearest in possible):
        text = (
            f"{row.words} ({name}) is not covered: priced as {row.nearest}; "
            f"{FieldName('task')} changes it"
        )
        return Choice(row.nearest, FirstLine("task", text, warning=True), row.base)
    if row.base and possible:
        return None
    return _as_it_is(row.words, name or "", possible or frozenset())


def _as_it_is(words: str, name: str, possible: frozenset[str]) -> Choice:
    """A class that no task covers, trained as its own code allows."""
    text = (
        f"{words} ({name}) has no task of its own here: fed after the names of its arguments and "
        "trained on its own loss, or on the mean square of what it returns; check what is said of "
        "its sizes"
    )
    other = f", or {FieldName('task')} {' or '.join(sorted(possible))}" if possible else ""
    return Choice("custom", FirstLine("task", text + other, warning=True))


def _by_family(family: str, possible: frozenset[str], name: str | None, where: str) -> Choice:
    order = PREFERENCE
    if "masked_lm" not in possible:  # a decoder's usual training is to write
        order = (*PREFERENCE[:4], "seq2seq_lm", "causal_lm", *PREFERENCE)
    if has("frame_samples", family):  # as the catalogue's models of these families
        order = ("audio_classification", *PREFERENCE)
    found = next((task for task in order if task in possible), None)
    if found is None and name:
        return _as_it_is("this class", name, possible)
    if found is None:
        raise ModelError(
            f"training a {family} model is not covered",
            where=where,
            mend=f"Give {FieldName('task')}, or a factory package.module:function",
        )
    if class_task(name) is not None:
        reason = f"{name} is its pre-training class; the usual task of a {family} model"
    else:
        reason = f"the usual task of a {family} model"
    return Choice(found, _line(found, reason), open=True)


def _line(task: str, reason: str, *, changeable: bool = True) -> FirstLine:
    """``reason``: a class's name, or a sentence's part."""
    change = f"; {FieldName('task')} changes it" if changeable and " " in reason else ""
    return FirstLine("task", f"trained as {task} ({reason}){change}")


def modality_in(config: Mapping[str, Any], task: str) -> str:
    """The task's, or of a class without a task of its own what its config reads."""
    if task != "custom":
        return modality_of(task)
    name = class_of(config) or ""
    text = any(key in config for key in ("vocab_size", "text_config", "llm_config", "vlm_config"))
    sees = any(
        key in config for key in ("image_size", "vision_config", "num_channels", "backbone_config")
    )
    hears = any(key in config for key in ("num_mel_bins", "conv_kernel", "sampling_rate"))
    if hears or (not text and ("Audio" in name or "Speech" in name)):
        return "audio"  # those that write sound as tokens read tokens
    if sees or not text:
        return "image_text" if text else "image"
    return "text"


def check_task(task: str | None, only: str, where: str) -> str:
    if task not in (None, only):
        raise ModelError(
            f"trains on {only}, not on {task!r}",
            where=where,
            mend=f"Leave {FieldName('task')} out"
            + (f" or use {only}" if nearest(task, [only]) else ""),
        )
    return only


#: Where the configs of multimodal models keep their language model.
TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "language_model")


def text_parts(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A config, then the parts of it that describe its language model, outermost first."""
    yield config
    for name in TEXT_PARTS:
        if isinstance(config.get(name), Mapping):
            yield from text_parts(config[name])


def config_field(config: Mapping[str, Any], *names: str) -> Any:
    """The first of the names that the config, or its text part, holds; None where none does."""
    for part in text_parts(config):
        for name in names:
            if part.get(name) is not None:
                return part[name]
    return None


def describe(config: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The ModelFacts fields that a config states: max_length (tokens), image_size (pixels), blocks,
    vocabulary, weights_dtype."""
    own_vision = config.get("vision_config")
    vision = own_vision if isinstance(own_vision, Mapping) else config
    image = _image_size(config, vision, task)
    length = (
        config_field(config, "max_position_embeddings", "n_positions", "max_target_positions")
        if modality_of(task) != "image"
        else None
    )
    family = config["model_type"]
    if length and has("reserved_positions", family):
        length -= int(constant("reserved_positions", family))
    if has("relative_positions", family):
        length = None
    if task == "image_self_distillation":  # whatever size its weights were published for
        image = int(constant("global_crop_pixels"))
    return {
        "max_length": length,
        "image_size": max(image) if isinstance(image, list) else image,
        "blocks": config_field(
            config,
            "num_hidden_layers",
            "n_layer",
            "n_layers",
            "num_decoder_layers",
            "decoder_layers",
            "num_layers",
            "encoder_layers",
        ),
        "vocabulary": config_field(config, "vocab_size") if reads_text(task) else None,
        "weights_dtype": weights_dtype(config),
    }


def reads_text(task: str) -> bool:
    """Whether a task's samples hold texts as tokens."""
    spoken = ("speech_recognition", "text_to_speech")
    return modality_of(task) in ("text", "image_text") or task in spoken


def _image_size(config: Mapping[str, Any], vision: Mapping[str, Any], task: str) -> Any:
    """Pixels, or [height, width]: of a family whose images for this task are of another size than
    its config says, that size."""
    if modality_of(task) not in ("image", "image_text"):
        return None
    family, stated = config["model_type"], vision.get("image_size")
    own = task in SIZED_BY_FAMILY and has("training_side", family)
    return int(constant("training_side", family)) if own else stated


#: Tasks that learn objects, by default as many an image as a row of ``constants.csv`` says.
OF_OBJECTS = OBJECT_TASKS


def resizes_on_device(library: str, task: str) -> bool:
    """Whether images travel as they lie on disk: torchvision's detectors resize them themselves."""
    return library == "torchvision" and task in OF_OBJECTS


def keeps_shape(library: str, architecture: str | None, family: str, task: str) -> bool:
    """Whether images for this task keep their shape, so that a size is that of their shorter side.
    torchvision's detectors resize so, but for SSD. ``family``: transformers' model_type."""
    if resizes_on_device(library, task):
        return not (architecture or "").startswith("ssd")
    return task in SIZED_BY_FAMILY and has("keeps_shape", family)


def weights_dtype(config: Mapping[str, Any]) -> str | None:
    """The type of a checkpoint's weights as its config, or its text part, states it; None where it
    does not."""
    found = config_field(config, "dtype", "torch_dtype")
    return found.removeprefix("torch.") if isinstance(found, str) and found != "auto" else None


def unstated_dtype(task: str) -> tuple[FirstLine, ...]:
    """What is said of a language model of which neither config nor weights state a dtype: mixed
    precision is then taken for what may be 16-bit weights."""
    if task != "causal_lm":
        return ()
    text = (
        "its config states no dtype: the weights are taken as float32, as transformers makes them "
        f"then; {FieldName('precision')} bf16 trains 16-bit weights"
    )
    return (FirstLine("model", text),)


def unstated_sizes(config: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The assumption that a config without any size forces: the library fills in its family's
    defaults."""
    sizes = {SYNONYMS.get(key, key) for key in config}
    parts = any(
        isinstance(value, Mapping) and key.endswith("_config") for key, value in config.items()
    )
    if parts or sizes & {
        "hidden_size",
        "num_hidden_layers",
        "hidden_sizes",
        "depths",
        "embed_dim",
        "embed_dims",
        "block_sizes",
    }:
        return ()
    return (
        f"{where} states neither width nor depth: the library's defaults for a "
        f"{config['model_type']} model were taken",
    )
