"""ModelFacts: what is known of a model before anything heavy is imported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from planner.first_lines import FirstLine
from planner.models.folders import Adapter
from planner.models.quantization.stored import Quantization

#: Keys of a config.json that say nothing about the architecture or the work of a step.
IRRELEVANT_KEYS = frozenset(
    {
        "_name_or_path",
        "name_or_path",
        "transformers_version",
        "torch_dtype",
        "dtype",
        "architectures",
        "auto_map",
        "_commit_hash",
        "model_name",
        "use_cache",
        "id2label",
        "label2id",
        "task_specific_params",
        "finetuning_task",
        "license",
        "tokenizer_class",
        "transformers.js_config",
        "bos_token_id",
        "eos_token_id",
        "sep_token_id",
        "cls_token_id",
        "decoder_start_token_id",
        "begin_suppress_tokens",
        "suppress_tokens",
        "forced_decoder_ids",
        "initializer_range",
        "initializer_factor",
        "init_std",
        "max_length",
        "min_length",
        "num_beams",
        "temperature",
        "top_k",
        "top_p",
        "repetition_penalty",
        "length_penalty",
        "early_stopping",
        "no_repeat_ngram_size",
        "prefix",
        "pretraining_tp",
    }
)


@dataclass(frozen=True)
class ModelFacts:
    """A resolved model. ``parameters`` is exact or None; ``weights_dtype`` is the checkpoint's
    ("bfloat16", …) or None.

    ``origin``: catalogue | folder | hub cache | hub | timm | torchvision | factory | size.
    ``library``: transformers | timm | torchvision | factory, and ``architecture`` the name in that
    library (a timm model, ``package.module:function``, None for a config). ``fingerprint`` (sha256
    hex) covers everything that determines the architecture, and nothing else: the same config under
    two names has one fingerprint.
    """

    name: str
    origin: str
    library: str
    task: str
    modality: str  # text | image | audio | image_text
    fingerprint: str
    config: Mapping[str, Any] | None = None
    architecture: str | None = None
    parameters: int | None = None
    weights_dtype: str | None = None
    max_length: int | None = None
    image_size: int | None = None
    blocks: int | None = None
    vocabulary: int | None = None
    tokenizer: Path | None = None
    license: str | None = None
    pretraining_amount: float | None = None  # of the family's published recipe, in pretraining_unit
    pretraining_unit: str | None = None  # tokens | samples | audio_hours
    pretraining_source: str | None = None
    folder: Path | None = None  # where the config came from; needed only to run a model's own code
    assumptions: tuple[str, ...] = field(default=())
    first_lines: tuple[FirstLine, ...] = field(default=())
    trust_remote_code: bool = False
    task_is_open: bool = False  # nobody asked for the task and no class settles it: data may
    adapter: Adapter | None = None  # the folder holds an adapter on this model
    quantization: Quantization | None = None  # how the checkpoint's weights are stored
    arguments: Mapping[str, Any] | None = None  # what a factory is called with, beside classes
    published_weights: bool = True  # there are some to start from, as far as is known

    def made_for(self, **arguments: Any) -> ModelFacts:
        """A factory's model of other sizes, whose parameters are not known before it is built."""
        sizes = json.dumps(arguments, sort_keys=True, separators=(",", ":"))
        return replace(
            self,
            arguments=arguments,
            parameters=None,
            fingerprint=text_fingerprint(f"{self.fingerprint} {sizes}"),
        )

    def with_config(self, **changes: Any) -> ModelFacts:
        """The model of a changed config."""
        config = {**(self.config or {}), **changes}
        return replace(self, config=config, fingerprint=config_fingerprint(config), parameters=None)

    def unquantised(self) -> ModelFacts:
        """The same architecture with plain weights, as where the checkpoint's are not read."""
        config = {k: v for k, v in (self.config or {}).items() if k != "quantization_config"}
        said = "random weights are plain ones: those of the checkpoint, stored in few bits, are "
        return replace(
            self,
            quantization=None,
            config=config,
            fingerprint=config_fingerprint(config),
            assumptions=(*self.assumptions, said + "not read"),
        )


def config_fingerprint(config: Mapping[str, Any]) -> str:
    """sha256 hex of the config's canonical JSON without the keys that do not change the
    architecture."""
    return text_fingerprint(
        "transformers:" + json.dumps(_relevant(config), sort_keys=True, separators=(",", ":"))
    )


def text_fingerprint(text: str) -> str:
    """sha256 hex of a text such as ``timm:resnet50``."""
    return hashlib.sha256(text.encode()).hexdigest()


def _relevant(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _relevant(item) for key, item in value.items() if key not in IRRELEVANT_KEYS}
    return [_relevant(item) for item in value] if isinstance(value, list) else value
