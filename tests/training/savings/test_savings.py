"""What a run does to hold less at once, on a small decoder that is really recorded."""

from __future__ import annotations

import importlib.util
import json
from functools import cache

import pytest

if not importlib.util.find_spec("transformers"):
    pytest.skip("needs transformers", allow_module_level=True)

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import ModelError, QuestionError
from planner.memory.peak import peak_allocated
from planner.models.resolve import resolve
from planner.question import Question
from planner.trace.source import TraceSource, trace_for
from planner.trace.table import CATEGORIES, PHASES, StepTrace, value_of
from planner.training.recipe import Recipe
from planner.training.savings.loss_kernels import chunk_rows

VOCABULARY, WIDTH, LAYERS = 1024, 64, 6
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": WIDTH,
    "intermediate_size": 3 * WIDTH,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 2048,
}
POINT = {"B": 4, "S": 256}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    facts = resolve(str(folder))

    @cache
    def found(**choices) -> TraceSource:
        plain = {
            "strategy": "fine_tune",
            "task": "causal_lm",
            "precision": "bf16",
            "optimizer": "adamw_fused",
        }
        return trace_for(facts, Recipe(**{**plain, **choices}))

    return found


def sizes(trace: StepTrace, **point: int) -> np.ndarray:
    """Bytes of every storage."""
    return trace.storage_bytes(trace.dims(**point))[trace.size]


def peak(source: TraceSource, **point: int) -> int:
    trace = source.at(**point)
    return int(peak_allocated(trace, trace.dims(**point)))


def names(trace: StepTrace) -> list[str]:
    return [trace.signatures[index].op.split(".")[1] for index in trace.op_signature]


@given(st.integers(8, 64), st.integers(64, 2048))
@settings(max_examples=30, deadline=None)
def test_a_fused_loss_holds_the_logits_of_one_chunk(source, batch, length):
    trace = source(loss="fused").at(B=batch, S=length)
    rows = chunk_rows(batch * length, VOCABULARY, WIDTH)
    found = sizes(trace, B=batch, S=length)
    assert rows * VOCABULARY * 2 in found
    assert batch * length * VOCABULARY * 2 not in found
    assert "_log_softmax" not in names(trace)


@given(st.integers(1, 10**7), st.integers(1, 4096))
def test_powers_of_two_of_a_size_are_the_kernel_s_own(rows, chunks):
    assert value_of(f"BS^{chunks}", {"B": rows, "S": 1}) == chunk_rows(rows, chunks * 7, 7)
    many = value_of(f"BS^{chunks}", {"B": np.array([rows, 1]), "S": 1})
    assert many[0] == chunk_rows(rows, chunks * 7, 7)


def test_a_loss_in_chunks_casts_an_eighth_at_a_time(source):
    chunked, plain = source(loss="chunked").at(**POINT), source().at(**POINT)
    wide = POINT["B"] * POINT["S"] * VOCABULARY * 4
    assert wide in sizes(plain, **POINT)
    assert wide not in sizes(chunked, **POINT)
    assert wide // 8 in sizes(chunked, **POINT)
    assert names(chunked).count("_log_softmax") == 8
    assert peak(source(loss="chunked"), **POINT) < peak(source(), **POINT)


@pytest.mark.parametrize("kind", ["chunked"])
def test_the_loss_is_the_model_s_own_number(kind, tmp_path):
    """Really computed, with weights, on the processor."""
    from planner.trace.recorder.regimes import build_for

    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    facts = resolve(str(tmp_path))
    recipe = Recipe(strategy="fine_tune", task="causal_lm", precision="fp32", optimizer="adamw")
    torch.manual_seed(0)
    built = build_for(facts, recipe, device="cpu")
    tokens = torch.randint(0, VOCABULARY, (2, 37))
    wanted = built.module(input_ids=tokens, labels=tokens).loss
    from planner.training.savings.head_loss import replace_loss

    replace_loss(built, kind)
    found = built.module(input_ids=tokens, labels=tokens).loss
    assert torch.allclose(found, wanted, rtol=1e-5)


def test_updates_within_the_backward_pass_free_each_gradient(source):
    inside, after = source(optimizer_in_backward=True), source()
    trace, plain = inside.at(**POINT), after.at(**POINT)
    gradients = trace.category == CATEGORIES.index("gradients")
    assert gradients.sum() == names(trace).count("fused_optimizer")
    lived = trace.death[gradients] - trace.birth[gradients]
    assert lived.max() < trace.op_count / LAYERS
    assert PHASES.index("optimizer") not in trace.op_phase
    states = CATEGORIES.index("optimizer")
    held = [
        sizes(one, **POINT)[(one.category == states) & (one.birth < 0)].sum()
        for one in (trace, plain)
    ]
    assert held[0] == held[1]
    small = {"B": 2, "S": 2}  # where gradients are the most of it
    assert peak(inside, **small) < peak(after, **small)


def test_offloaded_activations_come_back_for_the_backward_pass(source):
    away, plain = source(offload=("activations",)), source()
    trace = away.at(**POINT)
    called = names(trace)
    fetched = [i for i, name in enumerate(called) if name == "fetch"]
    assert called.count("offload") >= len(fetched) > LAYERS
    backward = np.flatnonzero(trace.op_phase == PHASES.index("backward"))
    assert min(fetched) >= backward[0]
    kept = [
        sizes(one, **POINT)[one.category == CATEGORIES.index("activations")].sum()
        for one in (trace, plain.at(**POINT))
    ]
    assert kept[0] < kept[1]
    assert peak(away, **POINT) < peak(plain, **POINT)


def test_a_classifier_has_no_loss_over_a_vocabulary(source):
    with pytest.raises(ModelError, match="models that write tokens"):
        source(task="text_classification", classes=3, loss="fused").at(**POINT)


def test_a_question_says_what_it_asks_for():
    asked = Question(model="gpt2", samples=10, offload="activations", loss="plain")
    assert asked.offload == ["activations"]
    with pytest.raises(QuestionError, match="Allowed: activations"):
        Question(model="gpt2", samples=10, offload="everything")


def test_what_changes_nothing_leaves_the_trace_s_key():
    plain = Recipe(strategy="lora", task="causal_lm", precision="bf16", optimizer="adamw")
    assert set(plain.as_dict()).isdisjoint({"loss", "offload", "optimizer_in_backward"})


def test_adapters_may_have_the_weights_type(source):
    half = source(strategy="lora", lora_rank=8, adapter_precision="weights").at(**POINT)
    wide = source(strategy="lora", lora_rank=8).at(**POINT)
    gradients = [t.meta["gradient_bytes"] for t in (half, wide)]
    assert 2 * gradients[0] == gradients[1]
    assert half.meta["trainable_params"] == wide.meta["trainable_params"]
