"""What has no effect is said, what cannot be is refused in plain words, and what does not fit has a
remedy that fits."""

import re

import pytest

from planner import estimate
from planner.errors import PlannerError
from planner.models.resolve import resolve

TEXTS = {"samples": 20_000, "tokens_per_sample": 900}


def lines(answer):
    return " ".join(line["text"] for line in answer["first_lines"])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"strategy": "lora", "precision": "amp_bf16"}, True),
        ({"strategy": "qlora"}, True),
        ({"strategy": "qlora", "precision": "bf16"}, True),
        ({"strategy": "qlora", "precision": "bf16", "kbit_preparation": "none"}, False),
        ({"strategy": "lora", "precision": "bf16"}, False),
    ],
)
def test_adapters_that_are_float32_anyway_are_said(more, said):
    asked = TEXTS | {"gpu": "h100-sxm"} | more
    answer = estimate("Llama-3.2-1B", adapter_precision="weights", **asked)
    plain = estimate("Llama-3.2-1B", **asked)
    text = f"--adapter-precision weights has no effect on {more['strategy']}"
    assert (text in lines(answer)) is said
    states = [one["options"][0]["memory"]["breakdown"]["optimizer"] for one in (answer, plain)]
    assert (states[0] == states[1]) is said


def test_updates_in_the_backward_pass_have_a_smaller_batch_as_their_remedy():
    asked = TEXTS | {"strategy": "fine_tune", "gpu": "rtx-4090", "optimizer_in_backward": True}
    answer = estimate("Llama-3.2-1B", **asked, global_batch=64)
    (option,) = answer["options"]
    assert not option["fits"]
    text = next(fix["change"] for fix in option["fixes"] if fix["fits"])
    assert "goes without accumulation" in text
    batch = int(text.split("--global-batch ")[1].split(",")[0])
    with_checkpointing = {"gradient_checkpointing": "full"} if "checkpointing" in text else {}
    remedied = estimate("Llama-3.2-1B", **asked, global_batch=batch, **with_checkpointing)
    assert remedied["options"][0]["fits"]
    doubled = estimate("Llama-3.2-1B", **asked, global_batch=2 * batch, **with_checkpointing)
    assert not doubled["options"][0]["fits"]


def test_a_model_without_published_weights_is_trained_from_scratch():
    assert not resolve("own:deepar").published_weights and resolve("gpt2").published_weights
    answer = estimate("own:deepar", samples=1000, gpu="h100-sxm")
    assert answer["recommended"]["strategy"] == "scratch"
    assert {option["strategy"] for option in answer["options"]} == {"scratch"}
    assert "no weights of own:deepar are published" in lines(answer)
    assert "reference way" not in answer["recommended"]["why"]
    own = estimate("own:deepar", samples=1000, gpu="h100-sxm", strategy="fine_tune")
    assert own["recommended"]["strategy"] == "fine_tune"
    assert "fine_tune is of weights of your own" in lines(own)
    assert "reference way" not in own["recommended"]["why"]
    scratch = estimate("own:deepar", samples=1000, gpu="h100-sxm", strategy="scratch")
    assert "published: " not in lines(scratch)


@pytest.mark.parametrize(
    ("model", "more", "said"),
    [
        ("Llama-3.2-1B", TEXTS | {"loss": "chunked"}, "has its own loss, and (--)?loss chunked is"),
        ("own:deepar", {"samples": 1000}, "is read by the model's own loss: it is not trained"),
    ],
)
def test_cached_features_refuse_what_their_head_cannot_in_plain_words(model, more, said):
    asked = {"gpu": "h100-sxm", "strategy": "feature_extraction"} | more
    with pytest.raises(PlannerError, match=said) as error:
        estimate(model, cached_features=True, **asked)
    assert "torch" not in str(error.value) and "cached_features" in str(error.value)
    both = estimate(model, **asked)
    assert [option["variant"] for option in both["options"]] == ["every epoch"]
    assert re.search(said, " ".join(both["warnings"]))
