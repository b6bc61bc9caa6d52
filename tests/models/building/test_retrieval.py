"""Embedding models and rerankers: their losses against ones by hand, what they feed, which
strategies train them."""

import importlib.util
import json

import pytest
import torch
from torch.nn import functional

from planner.errors import ModelError
from planner.models.building.build import build
from planner.models.building.tasks.retrieval import SCALE, in_batch_loss, pooled
from planner.models.resolve import resolve
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

if importlib.util.find_spec("transformers") is None:
    pytest.skip("needs transformers", allow_module_level=True)

BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 100,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
QWEN = {
    **{key: BERT[key] for key in ("hidden_size", "num_hidden_layers", "vocab_size")},
    "model_type": "qwen3",
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 64,
}


def facts(tmp_path, config, task):
    (tmp_path / "config.json").write_text(json.dumps(config))
    return resolve(str(tmp_path), task=task, offline=True)


def test_mean_and_last_token_by_hand():
    hidden = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert pooled(hidden, mask, last=False).tolist() == [[1.0, 2.0], [8.0, 9.0]]
    assert pooled(hidden, mask, last=True).tolist() == [[2.0, 3.0], [10.0, 11.0]]


@pytest.mark.parametrize("negatives", [0, 2])
def test_the_loss_is_softmax_over_every_candidate_of_the_batch(tmp_path, negatives):
    built = build(facts(tmp_path, BERT, "text_embedding"), negatives=negatives, device="cpu")
    batch = built.batch(4, 5, 7)
    assert batch["anchor_ids"].shape == (4, 5) and batch["positive_ids"].shape == (4, 7)
    assert sum(name.startswith("negative") for name in batch) == 2 * negatives
    loss = in_batch_loss(built.module, batch)

    def mean(name):
        return built.module(input_ids=batch[f"{name}_ids"]).last_hidden_state.mean(1)

    others = ["positive", *(f"negative{i + 1}" for i in range(negatives))]
    anchors, candidates = mean("anchor"), torch.cat([mean(name) for name in others])
    cosines = functional.cosine_similarity(anchors[:, None], candidates[None], dim=-1)
    assert cosines.shape == (4, 4 * (1 + negatives))
    right = (cosines * SCALE).log_softmax(-1).diagonal()
    assert loss.item() == pytest.approx(-right.mean().item(), rel=1e-5)


def test_a_reranker_has_one_logit_and_binary_cross_entropy(tmp_path):
    built = build(facts(tmp_path, BERT, "reranking"), device="cpu")
    batch = built.batch(3, 6)
    logits = built.logits(built.module, batch)
    assert logits.shape == (3, 1) and batch["labels"].shape == (3,)
    chances, labels = torch.sigmoid(logits[:, 0]), batch["labels"]
    by_hand = -(labels * chances.log() + (1 - labels) * (1 - chances).log()).mean()
    assert built.loss(built.module, batch).item() == pytest.approx(by_hand.item(), rel=1e-4)


def recorded(found, **choices):
    recipe = Recipe(
        **{"task": found.task, "strategy": "fine_tune", "precision": "fp32", "optimizer": "adamw"}
        | choices
    )
    source = trace_for(found, recipe)
    source.keep = False
    return source._record("b2", 16).traces[0]


def test_each_column_runs_through_the_encoder_once(tmp_path):
    found = facts(tmp_path, BERT, "text_embedding")
    pairs, triplets = recorded(found), recorded(found, negatives=1)
    assert set(pairs.symbols) == {"B", "S", "T"}

    def products(trace):
        names = {i for i, s in enumerate(trace.signatures) if s.op.startswith("aten.addmm")}
        return sum(trace.counts[i].sum() for i in names)

    assert products(triplets) == products(pairs) * 3 // 2


def test_the_pooler_that_nothing_asks_is_not_trained(tmp_path):
    built = build(facts(tmp_path, BERT, "text_embedding"))
    assert built.frozen == {"pooler.dense.weight", "pooler.dense.bias"}
    assert any("mean pooling" in said for said in built.assumptions)


def test_decoders_take_their_last_token(tmp_path):
    found = facts(tmp_path, QWEN, "text_embedding")
    assert any("last token" in said for said in build(found).assumptions)
    trace = recorded(found, precision="bf16")
    assert any(s.op.startswith("aten.gather") for s in trace.signatures)


@pytest.mark.parametrize("strategy", ["lora", "partial_fine_tune", "distillation"])
@pytest.mark.parametrize("task", ["text_embedding", "reranking"])
def test_strategies_that_train_them(tmp_path, task, strategy):
    found = facts(tmp_path, BERT, task)
    more = {
        "lora": {"lora_rank": 4, "lora_dropout": 0.0},
        "partial_fine_tune": {"unfrozen_blocks": 1},
        "distillation": {"teacher": found.fingerprint},
    }[strategy]
    recipe = Recipe(task=task, strategy=strategy, precision="fp32", optimizer="adamw", **more)
    source = trace_for(found, recipe, teacher=found if strategy == "distillation" else None)
    source.keep = False
    assert source._record("b2", 16).traces[0].op_count > 100


def test_pooling_has_nothing_that_a_frozen_backbone_could_train(tmp_path):
    with pytest.raises(ModelError, match="no head"):
        recorded(facts(tmp_path, BERT, "text_embedding"), strategy="feature_extraction")
