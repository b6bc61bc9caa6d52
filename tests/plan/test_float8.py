"""Products in 8-bit floats as a question asks them: what is refused, what is said, what it buys."""

from __future__ import annotations

import importlib.util
import json
from functools import cache

import pytest

if not importlib.util.find_spec("transformers"):
    pytest.skip("needs the extra hf", allow_module_level=True)

from planner import Question
from planner.answer.estimate import estimate
from planner.devices.lookup import find_device
from planner.errors import ModelError, PlannerError, QuestionError
from planner.models.resolve import resolve
from planner.operations.registry import kind_of, work
from planner.plan.steps.point import PointResult, evaluate
from planner.step_time.roofline import Efficiency
from planner.trace.source import trace_for
from planner.training.float8 import RECIPES
from planner.training.recipe import Recipe

WIDTH, LAYERS = 2048, 2
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": WIDTH,
    "intermediate_size": 8192,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 1024,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}
PRODUCT = "planner.scaled_mm.default"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return str(folder)


def recipe(**more) -> Recipe:
    plain = {"strategy": "fine_tune", "task": "causal_lm", "precision": "bf16"}
    return Recipe(**plain | {"optimizer": "adamw_fused"} | more)


@pytest.fixture(scope="module")
def traced(model):
    """Operations of a trace, and its step on an H100."""
    facts = resolve(model)

    @cache
    def found(**more) -> tuple[list[str], PointResult]:
        made = recipe(**more)
        trace = trace_for(facts, made).at(B=2, S=2048)
        ops = [trace.signatures[index].op for index in trace.op_signature]
        point = {"micro_batch": 2, "sequence_length": 2048}
        return ops, evaluate(facts, made, find_device("h100-sxm"), **point)

    return found


def answered(model, gpu="h100-sxm", strategy="fine_tune", **more):
    amount = {"samples": 64, "tokens_per_sample": 512, "micro_batch": 2, "global_batch": 2}
    asked = {"task": "causal_lm", "price": 1.0, "offline": True, "length_spread": 0}
    asked |= {"gradient_checkpointing": "none", "epochs": 1}
    document = estimate(Question(model=model, strategy=strategy, gpu=gpu, **asked | amount | more))
    (option,) = document["options"]
    return option, [line["text"] for line in document["first_lines"]]


@pytest.mark.parametrize("name", RECIPES)
def test_three_products_of_each_layer_but_the_head_s(traced, name):
    ops, _ = traced(float8=name)
    each = 2 if "gw_hp" in name else 3
    assert ops.count(PRODUCT) == LAYERS * 7 * each
    plain, _ = traced()
    products = [op for op in ops if kind_of(op).name == "matmul"]
    assert len(products) == sum(kind_of(op).name == "matmul" for op in plain)


@pytest.mark.parametrize(
    "name",
    [
        "tensorwise",
        pytest.param("rowwise", marks=pytest.mark.slow),
        pytest.param("rowwise_with_gw_hp", marks=pytest.mark.slow),
    ],
)
def test_it_quickens_a_compiled_step_and_slows_another(traced, name):
    fast, plain = (traced(compile=True, float8=f)[1] for f in (name, None))
    assert 0.6 < fast.step_seconds.p50 / plain.step_seconds.p50 < 0.97
    alone, eager = (traced(float8=f)[1] for f in (name, None))
    assert alone.step_seconds.p50 > 1.1 * eager.step_seconds.p50


def test_weights_in_16_bits_are_all_that_lies_between_the_passes(traced):
    """A copy of the weights in 8 bits would be seen in the peak."""
    fast, plain = (traced(compile=True, float8=f)[1] for f in ("tensorwise", None))
    weights = LAYERS * (3 * WIDTH * 8192 + (2 + 0.5) * WIDTH * WIDTH)
    assert fast.allocated_bytes.p50 < plain.allocated_bytes.p50 + weights / 4


def test_auto_leaves_small_layers(traced):
    """Keys and values of few heads."""
    ops, _ = traced(float8="tensorwise", float8_layers="auto")
    assert ops.count(PRODUCT) == LAYERS * 5 * 3


def test_a_product_in_8_bits_takes_the_rate_of_8_bits(model):
    trace = trace_for(resolve(model), recipe(float8="tensorwise")).at(B=4, S=2048)
    dims, spec = trace.dims(B=4, S=2048), find_device("h100-sxm")
    prices = Efficiency(spec, "bf16").seconds(trace, dims, work(trace, dims))
    flops = work(trace, dims).flops
    rates = {
        s.op: float(f / p)
        for s, f, p in zip(trace.signatures, flops, prices, strict=True)
        if s.op in (PRODUCT, "aten.mm.default") and f > 1e11
    }
    assert rates[PRODUCT] > spec.peak_flops["bf16"]
    assert rates[PRODUCT] < 0.75 * spec.peak_flops["fp8"]


@pytest.mark.parametrize("strategy", ["fine_tune", "scratch", "partial_fine_tune"])
def test_an_answer_names_it_and_what_it_does(model, strategy):
    more = {"unfrozen_blocks": 1} if strategy == "partial_fine_tune" else {}
    option, said = answered(model, strategy=strategy, float8="rowwise", compile=True, **more)
    assert option["training"]["float8"] == "rowwise"
    assert not any("without" in text and "float8" in text for text in said)
    noted = " ".join(option["assumptions"])
    assert f"{LAYERS * 7} of {LAYERS * 7} linear layers" in noted


def test_without_compile_is_said(model):
    _, said = answered(model, float8="tensorwise")
    assert any("float8 without" in text and "slower" in text for text in said)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"gpu": "a100-sxm-80"}, "does not multiply in float8"),
        ({"gpu": "rtx-3090"}, "does not multiply in float8"),
        ({"gpu": "cpu"}, "does not multiply in float8"),
        ({"strategy": "lora"}, "train themselves.*lora"),
        ({"objective": "dpo"}, "dpo is planned without"),
        ({"float8": "rowwise_with_gw_hp", "float8_layers": "auto"}, "auto filter"),
    ],
)
def test_what_nobody_runs_is_refused_in_one_line(model, more, words):
    with pytest.raises(QuestionError, match=words) as refusal:
        answered(model, **{"float8": "tensorwise"} | more)
    assert "\n" not in str(refusal.value)


def test_a_card_of_ada_does(model):
    option, _ = answered(model, gpu="l4", float8="tensorwise", compile=True)
    assert option["training"]["float8"] == "tensorwise"


def test_a_model_without_such_layers_is_refused(tmp_path):
    narrow = CONFIG | {"hidden_size": 40, "intermediate_size": 56, "num_attention_heads": 5}
    (tmp_path / "config.json").write_text(json.dumps(narrow | {"num_key_value_heads": 5}))
    with pytest.raises((ModelError, PlannerError), match="none can be multiplied in 8 bits"):
        answered(str(tmp_path), float8="tensorwise")


def test_without_it_a_recipe_is_what_it_was():
    assert {"float8", "float8_layers"}.isdisjoint(recipe().as_dict())
