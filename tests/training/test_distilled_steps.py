"""Recorded steps that learn from a teacher against real ones on the processor."""

from __future__ import annotations

import importlib
import importlib.util
import json
from dataclasses import replace

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
LARGER = CONFIG | {"hidden_size": 96, "num_hidden_layers": 3}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """(the student, its teacher)"""
    from planner.models.resolve import resolve

    found = []
    for name, config in (("student", CONFIG), ("teacher", LARGER)):
        folder = tmp_path_factory.mktemp(name)
        (folder / "config.json").write_text(json.dumps(config))
        found.append(resolve(str(folder)))
    return found


def recipe(objective, strategy="fine_tune", precision="bf16"):
    from planner.training.recipe import Recipe

    lora = {"lora_rank": 4, "lora_targets": ("q_proj", "v_proj")} if strategy != "fine_tune" else {}
    return Recipe(
        strategy,
        "causal_lm",
        precision,
        "adamw_fused",
        attention="eager",
        objective=objective,
        **lora,
    )


def recorded(models, made, **point):
    from planner.trace.recorder.regimes import runner_for

    student, teacher = models
    return runner_for(student, made, teacher).record_whole(point)


def real(models, made, b, s, t=0):
    """(student, teacher, batch) on the processor."""
    import torch

    from planner.trace.recorder.regimes import build_for
    from planner.training.registry import strategy_of

    plain = replace(made, objective=None)
    built = build_for(models[0], plain, device="cpu")
    strategy_of(made).apply(built, plain, None)
    teacher = build_for(models[1], plain, device="cpu").module.eval().requires_grad_(False)
    ids = torch.randint(0, CONFIG["vocab_size"], (b, s + t))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}
    if t:
        batch = {**batch, "completion_mask": torch.ones(b, t, dtype=torch.int64)}
    return built.module, teacher, batch


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("strategy", ["fine_tune", "lora"])
@pytest.mark.parametrize("objective", ["gkd", "on_policy_distillation", "kd"])
def test_a_recorded_step_holds_what_a_real_one_does(models, objective, strategy, precision):
    from test_objectives_recorded import recorded_peak
    from trl_like import peak_bytes

    point = {"B": 3, "S": 96} | ({"T": 64} if objective == "on_policy_distillation" else {})
    made = recipe(objective, strategy, precision)
    student, teacher, batch = real(models, made, *point.values())
    peak_bytes(objective, student, teacher, batch)  # tables that a model makes in its first step
    student.zero_grad(set_to_none=True)
    really = peak_bytes(objective, student, teacher, batch)
    planned = recorded_peak(recorded(models, made, **point))
    assert planned == pytest.approx(really, rel=0.001)


def test_the_teacher_lies_beside_the_student_and_has_neither_gradients_nor_an_optimizer(models):
    from test_objectives_recorded import read_at_once, written_once

    raw = recorded(models, recipe("gkd"), B=3, S=32)
    assert read_at_once(raw, "forward") == {3} and read_at_once(raw, "teacher") == {3}
    found = written_once(raw)
    own = found["optimizer"] / 2  # exp_avg and exp_avg_sq in the weights' number format
    assert found["weights"] > 2.5 * own


def test_both_models_make_all_logits_in_float32_but_in_torchtunes_recipe(models):
    vocabulary, rows = CONFIG["vocab_size"], 3 * 64

    def whole(objective, size):
        raw = recorded(models, recipe(objective), B=3, S=64)
        shapes = [(shape, itemsize) for shape, itemsize, born, *_ in raw.storages if born >= 0]
        return sum(
            itemsize == size and _numbers(shape) == rows * vocabulary for shape, itemsize in shapes
        )

    assert whole("gkd", 4) >= 3 and whole("kd", 4) == 0 and whole("kd", 2) == 0


def _numbers(shape):
    number = 1
    for size in shape:
        number *= int(size)
    return number


def test_the_divergence_is_trls_own(models):
    import torch
    from trl_like import jsd

    from planner.training.divergence import divergence

    torch.manual_seed(0)
    student, teacher = torch.randn(2, 7, 50, requires_grad=True), torch.randn(2, 7, 50)
    mask = torch.ones(2, 7, dtype=torch.bool)
    for beta, temperature in ((0.5, 1.0), (0.5, 0.9), (1.0, 1.0), (0.1, 2.0)):
        ours = divergence(student, teacher, beta, temperature).sum() / mask.sum()
        torch.testing.assert_close(ours, jsd(student, teacher, mask, beta, temperature))


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="needs trl")
@pytest.mark.parametrize(
    ("module", "trainer", "beta"),
    [("gkd", "GKDTrainer", 0.5), ("distillation", "DistillationTrainer", 1.0)],
)
def test_an_installed_trl_takes_the_same_divergence_in_the_same_bytes(module, trainer, beta):
    import torch
    from trl_like import jsd

    from benchmarks.alive import Alive
    from planner.libraries import import_library

    import_library("transformers", "TRL")
    found = importlib.import_module(f"trl.experimental.{module}")
    theirs = getattr(found, trainer).generalized_jsd_loss
    torch.manual_seed(0)
    values, teacher = torch.randn(3, 64, 512), torch.randn(3, 64, 512)
    mask = torch.ones(3, 64, dtype=torch.bool)

    def of(function):
        student = values.clone().requires_grad_()
        with Alive() as alive:
            loss = function(student)
            loss.backward()
        return loss.detach(), student.grad, alive.peak

    own = of(lambda logits: jsd(logits, teacher, mask, beta, 1.0))
    other = of(lambda logits: theirs(logits, teacher, labels=mask.long(), beta=beta))
    torch.testing.assert_close(own[:2], other[:2])
    assert own[2] == pytest.approx(other[2], rel=0.001)


@pytest.mark.parametrize("objective", ["gkd", "on_policy_distillation", "kd"])
def test_a_step_at_any_length_is_that_of_its_points(models, objective):
    """Chunks of an eighth of the tokens among them."""
    from planner.trace.source import trace_for

    point = {"B": 5, "S": 72} | ({"T": 24} if objective == "on_policy_distillation" else {})
    made = recipe(objective, "lora")
    raw = recorded(models, made, **point)
    trace = trace_for(models[0], made, teacher=models[1]).at(**point)
    alive = [(born, int(_numbers(shape)) * size) for shape, size, born, *_ in raw.storages]
    sizes = trace.storage_bytes(trace.dims(**point))[trace.size]
    assert sorted(sizes.tolist()) == sorted(size for _, size in alive)
