"""What is really run: small models of their families with random weights, over data that is made on
the spot. Sizes are such that a run takes a minute or two on two cores."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

LOOPS = ("trainer", "plain")


@dataclass(frozen=True)
class RealCase:
    """``model``: which folder of the place its configuration, weights and tokenizer lie in, made
    of ``config`` (keywords of transformers' configuration of ``architecture``). ``samples`` are
    trained on, ``held_out`` evaluated after every epoch. ``max_length`` cuts inputs, in tokens;
    ``image_size`` in pixels. ``beams`` None: the evaluation generates nothing; else it generates
    up to ``generated`` tokens."""

    name: str
    task: str
    architecture: str
    config: dict[str, Any] = field(hash=False)
    samples: int
    held_out: int
    epochs: int
    micro_batch: int
    evaluation_batch: int
    max_length: int | None = None
    target_length: int | None = None
    image_size: int | None = None
    classes: int | None = None
    beams: int | None = None
    generated: int | None = None
    is_tiny: bool = False

    @property
    def data(self) -> str:
        """Name of the data's folder; cases of one kind and size share it."""
        return f"{self.task}-{self.samples}-{self.held_out}"

    @property
    def model(self) -> str:
        return f"{self.architecture}-tiny" if self.is_tiny else self.architecture


TINY_SAMPLES = 16
#: Wordpieces of the tokenizers that are trained on the generated texts.
VOCABULARY = 4000

_BERT = RealCase(
    "bert",
    "text_classification",
    "bert",
    dict(
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=256,
    ),
    samples=2400,
    held_out=400,
    epochs=2,
    micro_batch=16,
    evaluation_batch=8,
    max_length=128,
    classes=4,
)
_T5 = RealCase(
    "t5-greedy",
    "seq2seq_lm",
    "t5",
    dict(d_model=256, d_kv=32, d_ff=1024, num_layers=3, num_heads=8),
    samples=1600,
    held_out=96,
    epochs=2,
    micro_batch=16,
    evaluation_batch=8,
    max_length=128,
    target_length=32,
    beams=1,
    generated=32,
)
_VIT = RealCase(
    "vit",
    "image_classification",
    "vit",
    dict(
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=4,
        image_size=128,
        patch_size=16,
    ),
    samples=2240,
    held_out=160,
    epochs=2,
    micro_batch=16,
    evaluation_batch=8,
    image_size=128,
    classes=4,
)
CASES: dict[str, RealCase] = {
    case.name: case for case in (_BERT, _T5, replace(_T5, name="t5-beams", beams=4), _VIT)
}


def scaled(case: RealCase, share: float) -> RealCase:
    """The same case over a share of its samples."""
    return replace(
        case,
        samples=max(case.micro_batch, round(share * case.samples)),
        held_out=max(case.evaluation_batch, round(share * case.held_out)),
    )


def tiny(case: RealCase) -> RealCase:
    """The same case over a few samples and with a model of next to nothing: every phase runs, none
    for long."""
    small = {
        "bert": dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1),
        "t5": dict(d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4),
        "vit": dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, image_size=32),
    }[case.architecture]
    return replace(
        case,
        config={**case.config, **small},
        samples=TINY_SAMPLES,
        held_out=8,
        micro_batch=4,
        evaluation_batch=4,
        max_length=case.max_length and 48,
        image_size=case.image_size and 32,
        generated=case.generated and 6,
        is_tiny=True,
    )


def sized(name: str, share: float = 1.0, is_tiny: bool = False) -> RealCase:
    case = CASES[name]
    return tiny(case) if is_tiny else scaled(case, share)
