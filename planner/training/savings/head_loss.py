"""The loss of a model that writes tokens, chunked or fused with its head.

chunked: torchtune's ``CEWithChunkedOutputLoss`` (``modules/loss/ce_chunked_output_loss.py``): the
head runs on eight chunks of every sequence, and each chunk's logits become float32 on their own.
fused: ``loss_kernels``. Both stand in the place of the model's own loss: its head hands on what it
was given, and the loss function is where the head's product is made.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import cross_entropy, pad

from planner.errors import FieldName, ModelError
from planner.models.building.built import BuiltModel
from planner.training.savings.loss_kernels import FusedLoss

#: ``num_output_chunks`` of torchtune.
CHUNKS = 8
IGNORED = -100
_HEAD = "_planner_head"
#: Sizes of a chunk's tokens: an eighth of the sequence, of the whole batch, rounded up.
CHUNK_SIZES = (f"S*1/{CHUNKS}", f"BS*1/{CHUNKS}")


def replace_loss(built: BuiltModel, kind: str) -> None:
    """Raises ModelError for a model that has no such loss."""
    model: Any = built.module
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if built.task not in ("causal_lm", "image_text_to_text") or head is None:
        raise ModelError(
            f"a {kind} loss is of models that write tokens, and this one trains {built.task}",
            where=built.facts.name,
            mend=f"Leave out {FieldName('loss')}",
        )
    if kind == "fused" and getattr(head, "bias", None) is not None:
        raise ModelError(
            "the fused loss is planned for heads without a bias, and this one has one",
            where=built.facts.name,
            mend=f"Ask for {FieldName('loss')} chunked",
        )
    _hold_caps(model)
    head.forward = types.MethodType(_handed_on, head)
    called = _chunked if kind == "chunked" else _fused
    model.loss_function = HeadLoss(called, built.facts.name)


def _as_it_is(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


@dataclass(frozen=True)
class HeadLoss:
    """Stands in the place of a model's loss function."""

    called: Callable[..., torch.Tensor]
    name: str
    part: Callable[..., Any] = _as_it_is

    def __call__(
        self, logits: torch.Tensor, labels: torch.Tensor, *_: Any, **__: Any
    ) -> torch.Tensor:
        return self.called(*_given(logits, labels, self.name), self.part)

    def in_parts(self, part: Callable[..., Any]) -> HeadLoss:
        """The same with ``part(function, *arguments)`` calling what is compiled of it."""
        return replace(self, part=part)


def vocabulary_sizes(built: BuiltModel, kind: str | None) -> tuple[str, ...]:
    """The sizes of a chunk, as monomials that are rounded."""
    if kind is None:
        return ()
    if kind == "chunked":
        return CHUNK_SIZES
    model: Any = built.module
    weight = model.get_output_embeddings().weight
    chunks = -(-weight.shape[0] // weight.shape[1])
    return (f"BS^{chunks}", f"S^{chunks}")


def _hold_caps(model: Any) -> None:
    """A cap on logits is computed inside the kernels."""
    for config in (model.config, model.config.get_text_config()):
        if getattr(config, "final_logit_softcapping", None) is not None:
            config.final_logit_softcapping = None


def _handed_on(head: Any, hidden: torch.Tensor) -> torch.Tensor:
    handed = hidden.view_as(hidden)
    setattr(handed, _HEAD, head)
    return handed


def _given(logits: torch.Tensor, labels: torch.Tensor, name: str) -> tuple:
    """(hidden states [B, S, width], the labels of the next tokens [B, S], the head)."""
    head = getattr(logits, _HEAD, None)
    if head is None:
        raise ModelError(
            "its logits are changed between the head and the loss, which a chunked or fused loss "
            "would have to know of",
            where=name,
            mend=f"Leave out {FieldName('loss')}",
        )
    return logits, pad(labels, (0, 1), value=IGNORED)[..., 1:], head


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")


def _chunked(hidden: torch.Tensor, labels: torch.Tensor, head: Any, part: Any) -> torch.Tensor:
    project = type(head).forward
    logits = [
        project(head, chunk).reshape(-1, head.weight.shape[0])
        for chunk in hidden.tensor_split(CHUNKS, dim=1)
    ]
    targets = [chunk.reshape(-1) for chunk in labels.tensor_split(CHUNKS, dim=1)]
    total = hidden.new_zeros((), dtype=torch.float32)
    for chunk, target in zip(logits, targets, strict=True):
        total = total + part(_cross_entropy, chunk, target)
    return total / (labels != IGNORED).sum()


def _fused(hidden: torch.Tensor, labels: torch.Tensor, head: Any, _part: Any) -> torch.Tensor:
    rows = hidden.reshape(-1, hidden.shape[-1])
    loss: torch.Tensor = FusedLoss.apply(rows, head.weight)  # pyright: ignore[reportAssignmentType]
    return loss / (labels != IGNORED).sum()
