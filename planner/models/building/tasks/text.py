"""Tasks of texts: writing, filling masks, classifying, finding answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from planner.models.building.tasks.base import Feed, TrainingTask, output_embedding, without

if TYPE_CHECKING:
    import torch

#: Parts of a multimodal config that text does not reach.
OTHER_SENSES = ("vision_config", "audio_config", "image_config", "vision_tower_config")
FROZEN_SENSES = (
    "trained on text alone: what reads images or sound gets no gradient and stays as it is"
)


def classifier_config(config: Any, classes: int | None) -> None:
    """The question's number of classes, one label a sample, and a padding token, which decoders
    look for to find the last one."""
    if classes is not None:
        config.num_labels = classes
    if config.num_labels > 1:
        config.problem_type = "single_label_classification"
    for part in (config, config.get_text_config()):
        if getattr(part, "pad_token_id", None) is None:
            part.pad_token_id = 0


def decoder_logits(module: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
    """Without labels the decoder needs its inputs; the labels shifted right have the labels'
    shape."""
    given = {"decoder_input_ids" if key == "labels" else key: v for key, v in batch.items()}
    return module(**given).logits


def frozen_senses(module: Any, config: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    """What a multimodal model trained on text alone leaves as it is."""
    if not any(hasattr(config, part) for part in OTHER_SENSES):
        return frozenset(), ()
    language = _language_model(module)
    names = {name for name, p in module.named_parameters() if id(p) not in language}
    if not names or not language:
        return frozenset(), ()
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name not in names)
    return frozenset(names), (FROZEN_SENSES,)


def _language_model(module: Any) -> set[int]:
    """Ids of the parameters that text reaches: the decoder, the embeddings, the head."""
    decoder = module.get_decoder() if hasattr(module, "get_decoder") else None
    if decoder is None or decoder is module or decoder is getattr(module, "model", None):
        return set()
    parts = (decoder, module.get_input_embeddings(), module.get_output_embeddings())
    return {id(p) for part in parts if part is not None for p in part.parameters()}


def _writing(feed: Feed, b: int, s: int | None, _t: int | None) -> dict[str, Any]:
    return {"input_ids": (tokens := feed.ids(b, s)), "labels": tokens}


def _labelled_tokens(feed: Feed, b: int, s: int | None, _t: int | None) -> dict[str, Any]:
    return {
        "input_ids": feed.ids(b, s),
        "attention_mask": feed.mask(b, s),
        "labels": feed.ids(b, s),
    }


def _labelled_texts(feed: Feed, b: int, s: int | None, _t: int | None) -> dict[str, Any]:
    """One label is a number to be met, not a class."""
    one = getattr(feed.config, "num_labels", 2) == 1
    return {
        "input_ids": feed.ids(b, s),
        "attention_mask": feed.mask(b, s),
        "labels": feed.values(b) if one else feed.ids(b),
    }


def _answers(feed: Feed, b: int, s: int | None, _t: int | None) -> dict[str, Any]:
    return {
        "input_ids": feed.ids(b, s),
        "attention_mask": feed.mask(b, s),
        "start_positions": feed.ids(b),
        "end_positions": feed.ids(b),
    }


def _rewriting(feed: Feed, b: int, s: int | None, t: int | None) -> dict[str, Any]:
    return {"input_ids": feed.ids(b, s), "labels": feed.ids(b, t)}


def _starts(config: Any, _classes: int | None) -> None:
    if getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = 0


ONE_SEQUENCE = "its decoder reads the source and writes the target in one sequence"


def _read_and_written(feed: Feed, b: int, s: int | None, t: int | None) -> dict[str, Any]:
    return {"input_ids": (tokens := feed.ids(b, (s or 0) + (t or 0))), "labels": tokens}


def _frozen_and_joined(module: Any, config: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    names, said = frozen_senses(module, config)
    return names, (*said, ONE_SEQUENCE)


def _decoder_alone(config: Any) -> TrainingTask | None:
    """Families that the library's mapping has among the encoder-decoders and that are none."""
    return None if getattr(config, "is_encoder_decoder", False) else _JOINED


_JOINED = TrainingTask(
    "seq2seq_lm",
    ("AutoModelForSeq2SeqLM",),
    _read_and_written,
    symbols=("B", "S", "T"),
    head=output_embedding,
    frozen=_frozen_and_joined,
)
TASKS = (
    TrainingTask(
        "causal_lm",
        ("AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoModelForMultimodalLM"),
        _writing,
        head=output_embedding,
        frozen=frozen_senses,
    ),
    TrainingTask("masked_lm", ("AutoModelForMaskedLM",), _labelled_tokens, head=output_embedding),
    TrainingTask(
        "seq2seq_lm",
        ("AutoModelForSeq2SeqLM",),
        _rewriting,
        symbols=("B", "S", "T"),
        logits=decoder_logits,
        head=output_embedding,
        adapt=_starts,
        variant=_decoder_alone,
    ),
    TrainingTask(
        "text_classification",
        ("AutoModelForSequenceClassification",),
        _labelled_texts,
        adapt=classifier_config,
    ),
    TrainingTask(
        "token_classification",
        ("AutoModelForTokenClassification",),
        _labelled_tokens,
        adapt=classifier_config,
    ),
    TrainingTask(
        "question_answering",
        ("AutoModelForQuestionAnswering",),
        _answers,
        logits=without("start_positions", "end_positions", output="start_logits"),
    ),
)
