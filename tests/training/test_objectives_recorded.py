"""Recorded steps of objectives against real ones on the processor, and what they are made of."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("transformers", "peft")),
    reason="needs the extra hf",
)
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 1024,
    "max_position_embeddings": 512,
    "torch_dtype": "float32",
}


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    import json

    from planner.models.resolve import resolve

    folder = tmp_path_factory.mktemp("tiny")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return resolve(str(folder))


def recipe(objective, strategy="fine_tune", reference="model", precision="bf16", **more):
    from planner.training.recipe import Recipe

    lora = {"lora_rank": 4, "lora_targets": ("q_proj", "v_proj")} if strategy != "fine_tune" else {}
    return Recipe(
        strategy=strategy,
        task="causal_lm",
        precision=precision,
        optimizer="adamw_fused",
        attention="eager",
        objective=objective,
        reference=reference,
        **lora,
        **more,
    )


def recorded(facts, made, **point):
    from planner.trace.recorder.regimes import runner_for

    return runner_for(facts, made).record_whole(point)


def recorded_peak(raw) -> int:
    """Bytes born in the forward and backward passes that are alive at once."""
    from planner.trace.table import PHASES

    ended = max(n for n, (_, phase, _) in enumerate(raw.operations) if PHASES[phase] != "optimizer")
    alive = np.zeros(ended + 2, dtype=np.int64)
    for shape, itemsize, born, died, _, _ in raw.storages:
        if 0 <= born <= ended:
            size = int(np.prod(shape)) * itemsize
            alive[born] += size
            alive[min(died, ended) + 1] -= size
    return int(alive.cumsum().max())


def real(facts, made, **point):
    """(model, reference, batch) on the processor."""
    from dataclasses import replace

    import torch

    from planner.trace.recorder.regimes import build_for
    from planner.training.registry import strategy_of

    plain = replace(made, objective=None, reference=None)
    built = build_for(facts, plain, device="cpu")
    strategy_of(made).apply(built, plain, None)
    copied = made.reference == "model" and made.strategy == "fine_tune"
    reference = build_for(facts, plain, device="cpu").module if copied else None
    if reference is not None:
        reference.eval().requires_grad_(False)
    b, s, t = point["B"], point["S"], point.get("T")
    rows, whole = (b, s + t) if t else (2 * b, s)
    ids = torch.randint(0, CONFIG["vocab_size"], (rows, whole))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if t:
        batch |= {
            "completion_ids": ids[:, s:].clone(),
            "completion_mask": torch.ones(rows, t, dtype=torch.int64),
            "advantages": torch.randn(rows),
        }
    else:
        batch["completion_mask"] = (torch.arange(whole) >= whole // 2).long().expand(rows, -1)
    return built.module, reference, batch


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize(
    ("objective", "strategy", "reference"),
    [
        ("dpo", "fine_tune", "model"),
        ("dpo", "lora", "model"),
        ("grpo", "fine_tune", None),
        ("grpo", "lora", None),
    ],
)
def test_a_recorded_step_holds_what_a_real_one_does(
    facts, objective, strategy, reference, precision
):
    from trl_like import peak_bytes

    point = {"B": 3, "S": 96} | ({"T": 64} if objective == "grpo" else {})
    made = recipe(objective, strategy, reference, precision)
    model, other, batch = real(facts, made, **point)
    peak_bytes(objective, model, other, batch)  # tables that a model makes in its first step
    model.zero_grad(set_to_none=True)
    really = peak_bytes(objective, model, other, batch)
    planned = recorded_peak(recorded(facts, made, **point))
    assert planned == pytest.approx(really, rel=0.001)


def written_once(raw) -> dict[str, int]:
    """Category → bytes that lie there before the step."""
    from planner.trace.table import CATEGORIES

    found = dict.fromkeys(CATEGORIES, 0)
    for shape, itemsize, born, _, category, _ in raw.storages:
        if born < 0:
            found[CATEGORIES[category]] += int(np.prod(shape)) * itemsize
    return found


def read_at_once(raw, phase: str) -> set[int]:
    """Sequences of every look-up of tokens in a phase."""
    from planner.trace.table import PHASES

    return {
        raw.signatures[signature][2][0][0][0]
        for signature, at, _ in raw.operations
        if raw.signatures[signature][0] == "aten.embedding.default" and PHASES[at] == phase
    }


def test_both_halves_of_a_pair_go_through_one_pass_and_the_reference_through_another(facts):
    raw = recorded(facts, recipe("dpo"), B=3, S=32)
    assert read_at_once(raw, "forward") == {6} and read_at_once(raw, "teacher") == {6}
    alone = recorded(facts, recipe("dpo", reference=None), B=3, S=32)
    assert read_at_once(alone, "forward") == {6} and read_at_once(alone, "teacher") == set()


def test_a_reference_is_a_second_copy_of_the_weights_but_of_adapters_the_same(facts):
    alone = written_once(recorded(facts, recipe("dpo", reference=None), B=2, S=32))["weights"]
    full = written_once(recorded(facts, recipe("dpo"), B=2, S=32))["weights"]
    # tables of positions lie there twice too
    assert full == pytest.approx(2 * alone, rel=0.001)
    tuned = [
        written_once(recorded(facts, recipe("dpo", "lora", reference), B=2, S=32))
        for reference in ("model", "precomputed", None)
    ]
    assert tuned[0] == tuned[2] and tuned[0]["weights"] == tuned[1]["weights"]


def test_an_objective_without_a_reference_runs_no_second_pass(facts):
    for objective in ("orpo", "reward"):
        raw = recorded(facts, recipe(objective, "lora", None), B=2, S=32)
        assert read_at_once(raw, "teacher") == set() and read_at_once(raw, "forward") == {4}


def test_kto_runs_mismatched_answers_and_the_reference_both(facts):
    from planner.trace.table import PHASES

    raw = recorded(facts, recipe("kto", "lora"), B=3, S=32)
    looked = [
        PHASES[phase]
        for signature, phase, _ in raw.operations
        if raw.signatures[signature][0] == "aten.embedding.default"
    ]
    assert looked.count("forward") == looked.count("teacher") == 2
    assert read_at_once(raw, "forward") == {3}


def test_ppo_holds_four_models_and_trains_two(facts):
    alone = written_once(recorded(facts, recipe("grpo", reference=None), B=2, S=32, T=16))
    four = written_once(recorded(facts, recipe("ppo"), B=2, S=32, T=16))
    head = CONFIG["vocab_size"] * CONFIG["hidden_size"] * 2  # of logits, which scores have not
    assert four["weights"] == pytest.approx(4 * alone["weights"] - 2 * head, rel=0.01)
    assert four["optimizer"] == pytest.approx(2 * alone["optimizer"] - 2 * head, rel=0.01)


def test_only_the_logits_of_completions_are_made(facts):
    raw = recorded(facts, recipe("grpo", reference=None), B=2, S=48, T=16)
    rows = {
        output[0][0]
        for name, _, outputs, _ in raw.signatures
        for output in outputs
        if name == "aten.mm.default" and output[0][-1] == CONFIG["vocab_size"]
    }
    assert rows == {2 * (16 + 1)}  # the last prompt token's say what comes first


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_log_probabilities_and_their_gradients_are_those_of_the_loops(kind):
    import torch
    from trl_like import entropy_from_logits, selective_log_softmax

    from planner.training.log_probabilities import entropy, log_probabilities

    torch.manual_seed(0)
    values = torch.randn(3, 50, 97, dtype=getattr(torch, kind))
    tokens, weights = torch.randint(0, 97, (3, 50)), torch.randn(3, 50)
    found = []
    for function in (selective_log_softmax, log_probabilities):
        logits = values.clone().requires_grad_()
        each = function(logits, tokens)
        (each * weights).sum().backward()
        found.append((each.detach(), logits.grad))
    close = {"rtol": 1e-5, "atol": 1e-5} if kind == "float32" else {"rtol": 0.02, "atol": 0.02}
    torch.testing.assert_close(found[1][0], found[0][0], **close)
    torch.testing.assert_close(found[1][1], found[0][1], **close)
    with torch.no_grad():
        once = log_probabilities(values, tokens)
    torch.testing.assert_close(once, found[0][0], **close)
    torch.testing.assert_close(entropy(values), entropy_from_logits(values), **close)


def test_words_of_what_samples_are_agree():
    from planner.question import training_setting as asked
    from planner.training import objective as made
    from planner.training.registry import objectives

    assert (asked.PAIRS, asked.JUDGED, asked.PROMPTS) == (made.PAIRS, made.JUDGED, made.PROMPTS)
    assert asked.OBJECTIVES == (asked.SUPERVISED, *objectives())


def test_a_supervised_recipe_keeps_its_key():
    from planner.training.recipe import Recipe

    made = Recipe("lora", "causal_lm", "bf16", "adamw_fused", lora_rank=16)
    assert "objective" not in made.as_dict() and "reference" not in made.as_dict()
