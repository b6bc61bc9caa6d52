"""Steps of small models that are trained whole to find what the host needs: real architectures, so
narrow that the device has next to nothing to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.calibrate.host import model as own
from planner.models.facts import ModelFacts
from planner.models.resolve import resolve
from planner.training.recipe import Recipe

BATCH, LENGTH, TARGET = 2, 16, 8
_WIDTH, _HIDDEN, _HEADS, _WORDS = 32, 64, 2, 64
_TEXT = "text_classification"

#: By the names of transformers' configurations.
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "bert": dict(
        hidden_size=_WIDTH,
        intermediate_size=_HIDDEN,
        num_hidden_layers=4,
        num_attention_heads=_HEADS,
        vocab_size=_WORDS,
        architectures=["BertForSequenceClassification"],
    ),
    "t5": dict(
        d_model=_WIDTH,
        d_kv=_WIDTH // _HEADS,
        d_ff=_HIDDEN,
        num_layers=2,
        num_heads=_HEADS,
        vocab_size=_WORDS,
        pad_token_id=0,
        decoder_start_token_id=0,
        architectures=["T5ForConditionalGeneration"],
    ),
    "gpt2": dict(
        n_embd=_WIDTH,
        n_layer=4,
        n_head=_HEADS,
        vocab_size=_WORDS,
        n_positions=_WORDS,
        architectures=["GPT2LMHeadModel"],
    ),
    "llama": dict(
        hidden_size=_WIDTH,
        intermediate_size=_HIDDEN,
        num_hidden_layers=4,
        num_attention_heads=_HEADS,
        num_key_value_heads=1,
        vocab_size=_WORDS,
        architectures=["LlamaForCausalLM"],
    ),
}


@dataclass(frozen=True)
class SmallModel:
    """A step to run. ``kind``: a model type of transformers, None for the project's own encoder;
    ``configuration``: its sizes, by default those of ``CONFIGURATIONS``. ``mixed``: under
    autocast."""

    name: str
    kind: str | None
    task: str
    strategy: str = "fine_tune"
    mixed: bool = False
    lengths: Mapping[str, int] = field(default_factory=lambda: {"S": LENGTH})
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])
    configuration: Mapping[str, Any] | None = None

    def facts(self, folder: Path) -> ModelFacts:
        """Raises ModelError, MissingExtraError."""
        if self.kind is None:
            return resolve(f"{own.__name__}:{own.encoder.__name__}")
        written = folder / self.kind
        if not written.exists():
            written.mkdir(parents=True)
            configuration = {
                "model_type": self.kind,
                **(self.configuration or CONFIGURATIONS[self.kind]),
            }
            (written / "config.json").write_text(json.dumps(configuration), encoding="utf-8")
        return resolve(str(written), task=self.task, offline=True)

    def recipe(self, autocast: str) -> Recipe:
        """``autocast``: the precision of those that are mixed."""
        return Recipe(
            strategy=self.strategy,
            task=self.task,
            optimizer="adamw",
            precision=autocast if self.mixed else "fp32",
            **self.more,
        )


_LORA = dict(lora_rank=4, lora_dropout=0.05)
_BOTH = {"S": LENGTH, "T": TARGET}
#: Most important first: what comes before the time is over is run. They differ in what they pay:
#: modules, operations without one, autograd's nodes, casts, adapters.
SMALL_MODELS = (
    SmallModel("encoder", None, "own", lengths={"S": own.LENGTH}),
    SmallModel("bert under autocast", "bert", _TEXT, mixed=True, more={"classes": 2}),
    SmallModel("t5", "t5", "seq2seq_lm", lengths=_BOTH),
    SmallModel("llama with adapters", "llama", "causal_lm", "lora", more=_LORA),
    SmallModel("gpt2", "gpt2", "causal_lm"),
    SmallModel("bert frozen", "bert", _TEXT, "feature_extraction", more={"classes": 2}),
    SmallModel("bert with adapters", "bert", _TEXT, "lora", True, more={"classes": 2, **_LORA}),
)
