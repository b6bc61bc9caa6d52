"""What a run's own software brings with it: kernels written by hand, optimizers of their own kind,
batches without padding."""

from __future__ import annotations

import importlib.util
import json

import pytest

from planner import Question
from planner.answer.estimate import estimate
from planner.errors import PlannerError, QuestionError

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("transformers", "peft")),
    reason="needs the extra hf",
)
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 256,
    "torch_dtype": "bfloat16",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    (folder / "config.json").write_text(json.dumps(LLAMA))
    return str(folder)


def answered(model, strategy="fine_tune", **more):
    amount = {"samples": 64, "tokens_per_sample": 50, "micro_batch": 4, "global_batch": 4}
    document = estimate(
        Question(
            model=model,
            task="causal_lm",
            strategy=strategy,
            gpu="l4",
            price=1.0,
            offline=True,
            **amount | more,
        )
    )
    (option,) = document["options"]
    return option, [line["text"] for line in document["first_lines"]]


def test_lomo_updates_in_the_backward_pass_and_keeps_neither_gradients_nor_states(model):
    option, _ = answered(model, optimizer="lomo")
    plain, _ = answered(model, optimizer="sgd_plain")
    assert option["training"]["optimizer_in_backward"]
    own, other = (each["memory"]["breakdown"] for each in (option, plain))
    assert own["optimizer"] == other["optimizer"] == 0 and own["gradients"] <= other["gradients"]
    assert option["step"]["seconds"]["p50"] > 0


def test_prodigy_holds_four_of_each_weight_and_came_little_more_than_a_moment(model):
    """prodigyopt: both moments, a sum and the first weights; came_pytorch: a float32 moment and
    four vectors of a matrix."""
    held = {
        name: answered(model, optimizer=name)[0]["memory"]["breakdown"]["optimizer"]
        for name in ("adamw", "prodigy", "came")
    }
    assert 1.9 < held["prodigy"] / held["adamw"] < 2.1
    assert 0.5 < held["came"] / held["adamw"] < 1.2  # vectors of 512 bytes at the least


def test_a_layerwise_optimizer_is_the_plain_one_inside_the_backward_pass(model):
    inside, said = answered(model, optimizer="galore_adamw_layerwise")
    after, _ = answered(model, optimizer="galore_adamw")
    assert inside["training"]["optimizer_in_backward"] and not after["training"].get(
        "optimizer_in_backward"
    )
    assert inside["memory"]["breakdown"]["optimizer"] == after["memory"]["breakdown"]["optimizer"]
    assert any("singular vectors" in text for text in said)
    assert "bytes by the shapes" in after["training"]["optimizer_states"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"optimizer": "lomo", "optimizer_in_backward": False},
            "lomo updates each weight inside the backward pass",
        ),
        ({"optimizer": "adalomo", "global_batch": 8}, "adalomo updates after every micro-batch"),
        ({"kernels": "liger", "compile": True}, "planned without torch.compile"),
        ({"optimizer": "lbfgs"}, "its line search runs the model up to 25 times"),
        ({"optimizer": "Sophia"}, "its estimate of the Hessian runs the model once more"),
    ],
)
def test_what_does_not_go_together_is_refused(model, more, words):
    with pytest.raises(QuestionError, match=words):
        answered(model, **more)


def test_kernels_fuse_the_loss_where_they_have_one_and_nothing_else_is_asked(model):
    option, said = answered(model, kernels="liger")
    assert option["training"]["kernels"] == "liger" and option["training"]["loss"] == "fused"
    assert any(text.startswith("kernels of liger, recorded as they run") for text in said)
    own, _ = answered(model, kernels="liger", loss="plain")
    assert own["training"].get("loss") is None
    plain, _ = answered(model)
    peaks = [each["memory"]["allocated_bytes"]["p50"] for each in (option, own, plain)]
    assert peaks == sorted(peaks) and len(set(peaks)) == 3


def test_unsloth_leaves_the_rest_of_weights_in_few_bits_in_16(model):
    option, said = answered(model, "qlora", kernels="unsloth")
    assert option["training"]["precision"] == "bf16"
    assert any("kbit" in text and "left in 16 bits" in text for text in said)
    with pytest.raises(PlannerError, match="not under autocast"):
        answered(model, "qlora", kernels="unsloth", kbit_preparation="peft")


def test_the_stacks_prior_for_kernels_is_off_where_they_are_recorded(model):
    recorded, said = answered(model, "lora", kernels="unsloth")
    both, _ = answered(model, "lora", kernels="unsloth", stack="unsloth")
    times = [each["step"]["seconds"]["p50"] for each in (recorded, both)]
    assert times[0] == pytest.approx(times[1], rel=0.05)
    assert not any("our prior" in text for text in said)


def test_a_model_that_they_are_not_written_for_is_refused():
    with pytest.raises(PlannerError, match="gpt2 is of the type gpt2"):
        answered("gpt2", kernels="liger")
