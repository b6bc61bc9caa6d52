"""What software does around a step: as asked, as the stack does, and what excludes it."""

import pytest

from planner.answer.estimate import estimate
from planner.errors import QuestionError
from planner.plan.around.clipping import clipped_at, is_clipped
from planner.question import Question

ASKED = {
    "samples": 2000,
    "tokens_per_sample": 256,
    "strategy": ["fine_tune"],
    "gpu": "a100-sxm-80",
    "micro_batch": 4,
    "global_batch": 4,
}


def answered(**fields):
    document = estimate(Question(model="gpt2", **ASKED | fields))
    return document["options"][0], [line["text"] for line in document["first_lines"]]


@pytest.mark.parametrize(
    ("fields", "norm"),
    [
        ({}, 1.0),
        ({"stack": "trl"}, 1.0),
        ({"stack": "lightning"}, 0.0),
        ({"stack": "loop"}, 0.0),
        ({"stack": "loop", "max_grad_norm": 0.3}, 0.3),
        ({"max_grad_norm": 0}, 0.0),
        ({"optimizer_in_backward": True}, 0.0),
    ],
)
def test_gradients_are_clipped_as_asked_else_as_the_stack_does(fields, norm):
    question = Question(model="gpt2", samples=10, tokens_per_sample=8, **fields)
    assert clipped_at(question) == norm and is_clipped(question) == (norm > 0)


def test_clipping_takes_its_time_whoever_asks_for_it_and_the_first_lines_say_so():
    by_stack, lines = answered()
    assert not [line for line in lines if "clipped" in line]
    none, told = answered(max_grad_norm=0)
    assert "gradients are not clipped" in told
    hours = by_stack["run"]["of_which_hours"]["training"]
    assert hours["clipping"] > 0
    assert none["run"]["of_which_hours"]["training"].get("clipping", 0) == 0
    loop, told = answered(stack="loop", max_grad_norm=1)
    assert "gradients are clipped at a norm of 1" in told
    assert loop["run"]["of_which_hours"]["training"]["clipping"] == pytest.approx(
        hours["clipping"], rel=0.01
    )


@pytest.mark.parametrize("fields", [{"optimizer_in_backward": True}, {"optimizer": "lomo"}])
def test_no_norm_is_taken_of_gradients_that_are_gone(fields):
    with pytest.raises(QuestionError, match="before there is a norm"):
        answered(max_grad_norm=1, global_batch=None, **fields)
    answered(max_grad_norm=0, global_batch=None, **fields)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"offload": "gradients"}, "leave for an optimizer"),
        ({"offload": "optimizer", "gpus": 2}, "where they share state"),
        ({"offload": "optimizer", "optimizer": "adamw_8bit"}, "no software runs"),
        ({"offload": "optimizer", "optimizer_in_backward": True}, "exclude each other"),
        ({"offload": "optimizer", "compile": True}, "without torch.compile"),
        ({"offload": "optimizer", "precision": "bf16", "max_grad_norm": 1}, "before they are clip"),
        ({"offload": ["weights", "activations"]}, "not planned together"),
        ({"offload": "weights", "strategy": ["qlora"]}, "stay on the device"),
        ({"offload": "weights", "loss": "chunked"}, "head's weights"),
        ({"offload": "optimizer", "gpu": "cpu"}, "no memory but the host's"),
    ],
)
def test_what_no_software_offloads_is_refused_in_one_line(fields, why):
    with pytest.raises(QuestionError, match=why):
        answered(**fields)


def test_an_optimizer_of_the_host_is_said_with_the_memory_it_needs():
    option, lines = answered(offload="optimizer,gradients", precision="amp_bf16", max_grad_norm=1)
    count = option["model"]["trainable_params"]
    assert option["memory"]["host_bytes"] == pytest.approx(18 * count, rel=1e-3)
    assert option["memory"]["breakdown"]["optimizer"] == 0
    assert any("ZeRO-Offload" in line and "bucket of 954 MiB" in line for line in lines)
    assert any("virtual cores of the host move" in line for line in lines)
    assert "16 bits" in option["training"]["precision_detail"]
    assert option["training"]["offload"] == ["optimizer", "gradients"]
    narrow, lines = answered(offload="optimizer", precision="bf16")
    assert narrow["memory"]["host_bytes"] == pytest.approx(8 * count, rel=1e-3)
    assert any("CPUOffloadOptimizer" in line for line in lines)
    assert narrow["run"]["of_which_hours"]["training"]["clipping"] == 0
    here, _ = answered(precision="bf16")
    assert narrow["step"]["seconds"]["p50"] > here["step"]["seconds"]["p50"]
    assert "host_bytes" not in here["memory"]


def test_activations_that_wait_are_counted_in_the_host_s_memory():
    option, _ = answered(offload="activations", precision="bf16")
    assert option["memory"]["host_bytes"] > 10 * 2 * 4 * 256 * 768 * 2


def test_a_machine_with_less_memory_is_warned_of():
    option = estimate(
        Question(
            model="llama-3.1-8b",
            samples=500,
            tokens_per_sample=64,
            strategy=["fine_tune"],
            gpu="t4",
            provider="aws",
            offload="weights",
            precision="fp16",
            micro_batch=1,
        )
    )["options"][0]
    assert any("memory for what waits there" in text for text in option["warnings"])


def test_a_model_is_served_with_all_its_weights():
    fields = {"requests_per_month": 10_000, "prompt_tokens": 100, "output_tokens": 20}
    here, _ = answered(precision="bf16", **fields)
    away, _ = answered(precision="bf16", offload="weights", **fields)
    assert away["serving"] == here["serving"]
