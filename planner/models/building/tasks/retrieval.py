"""Embeddings of texts that are trained by in-batch negatives, and rerankers of pairs of texts, as
sentence-transformers trains them.

Source: sentence_transformers/losses/MultipleNegativesRankingLoss.py, models/Pooling.py and
cross_encoder/losses/BinaryCrossEntropyLoss.py of UKPLab/sentence-transformers; read 2026-11-29.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from planner.models.building.tasks.base import Feed, TrainingTask, children_of_head
from planner.models.configs import model_types

if TYPE_CHECKING:
    import torch

    Batch = Mapping[str, Any]

#: What the cosine is multiplied with before the softmax, the library's default. It changes no cost.
SCALE = 20.0
MEAN = (
    "a text's embedding is the mean of its tokens (mean pooling); taking the first token instead "
    "costs less than 1 % of a step"
)
LAST = "a text's embedding is its last token (last-token pooling), as decoders are tuned"


def writes(config: Any) -> bool:
    """Whether a config's family only writes: its last token has then seen the whole text."""
    possible = model_types().get(config.model_type, frozenset())
    return "causal_lm" in possible and "masked_lm" not in possible


def pooled(hidden: torch.Tensor, mask: torch.Tensor, last: bool) -> torch.Tensor:
    """[B, S, width] and mask [B, S] → [B, width]: the mean over tokens, or the last token."""
    import torch

    whole = mask.unsqueeze(-1).expand(hidden.size()).to(hidden.dtype)
    if not last:
        return (hidden * whole).sum(1) / torch.clamp(whole.sum(1), min=1e-9)
    ends, places = torch.min(mask, 1)
    places = torch.clamp(torch.where(ends == 0, places, mask.shape[1]) - 1, min=0)
    rows = places.unsqueeze(-1).repeat(1, hidden.shape[-1]).unsqueeze(1)
    return torch.gather(hidden * whole, 1, rows).squeeze(dim=1)


def embedded(module: Any, batch: Batch) -> list[torch.Tensor]:
    """[B, width] of each column in turn (anchor, positive, negatives), one pass a column."""
    found = []
    last = writes(module.config)
    for name in (key for key in batch if key.endswith("_ids")):
        mask = batch[name.replace("_ids", "_mask")]
        hidden = module(input_ids=batch[name], attention_mask=mask).last_hidden_state
        found.append(pooled(hidden, mask, last))
    return found


def in_batch_loss(module: Any, batch: Batch) -> torch.Tensor:
    """Every anchor against all candidates of the batch: its own positive is the right one."""
    import torch
    from torch.nn import functional

    anchors, *others = embedded(module, batch)
    candidates = torch.cat(others)
    anchors, candidates = (functional.normalize(side, p=2, dim=1) for side in (anchors, candidates))
    scores = torch.mm(anchors, candidates.transpose(0, 1)) * SCALE
    own = torch.arange(0, scores.size(0), device=scores.device)
    return functional.cross_entropy(scores, own)


def all_embeddings(module: Any, batch: Batch) -> torch.Tensor:
    """[columns · B, width]: what a student is compared by."""
    import torch

    return torch.cat(embedded(module, batch))


def squared_distance(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """As sentence_transformers/losses/MSELoss.py: a student's embeddings imitate the teacher's."""
    from torch.nn import functional

    return functional.mse_loss(student, teacher)


def pair_loss(module: Any, batch: Batch) -> torch.Tensor:
    """Binary cross-entropy of the one logit of each pair."""
    from torch.nn import functional

    logits = module(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
    ).logits.view(-1)
    return functional.binary_cross_entropy_with_logits(logits, batch["labels"].float())


def pair_logits(module: Any, batch: Batch) -> torch.Tensor:
    return module(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits


def _columns(feed: Feed, b: int, s: int | None, t: int | None) -> dict[str, Any]:
    """Anchors of length S; positives and hard negatives of length T."""
    others = ["positive", *(f"negative{i}" for i in range(1, feed.negatives + 1))]
    batch: dict[str, Any] = {}
    for name, length in (("anchor", s), *((name, t) for name in others)):
        batch |= {f"{name}_ids": feed.ids(b, length), f"{name}_mask": feed.mask(b, length)}
    return batch


def _judged_pairs(feed: Feed, b: int, s: int | None, _t: int | None) -> dict[str, Any]:
    return {
        "input_ids": feed.ids(b, s),
        "attention_mask": feed.mask(b, s),
        "labels": feed.values(b),
    }


def _one_logit(config: Any, _classes: int | None) -> None:
    """A score, and the padding token that decoders look for to find the last one."""
    config.num_labels = 1
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = 0


def _said_of_pooling(module: Any, config: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    """The pooler of BERT reads the first token for another task: nothing asks it, so that it gets
    no gradient, no state of the optimizer, and no operation."""
    unread = {name for name, _ in module.named_parameters() if name.split(".")[0] == "pooler"}
    return frozenset(unread), (LAST if writes(config) else MEAN,)


def _no_head(_module: Any) -> tuple[str, ...]:
    """Embeddings have no head: pooling has no parameters."""
    return ()


TASKS = (
    TrainingTask(
        "text_embedding",
        ("AutoModelForTextEncoding", "AutoModel"),
        _columns,
        symbols=("B", "S", "T"),
        loss=in_batch_loss,
        logits=all_embeddings,
        soft_loss=squared_distance,
        head=_no_head,
        frozen=_said_of_pooling,
    ),
    TrainingTask(
        "reranking",
        ("AutoModelForSequenceClassification",),
        _judged_pairs,
        loss=pair_loss,
        logits=pair_logits,
        soft_loss=squared_distance,
        head=children_of_head,
        adapt=_one_logit,
    ),
)
