"""Where a run is not what was asked, the first lines say so."""

import json

import pytest

from planner.answer.estimate import estimate
from planner.errors import FieldName

TUNED = {"samples": 1000, "tokens_per_sample": 200, "gpu": "a100-sxm-80", "strategy": "lora"}


def lines(answer, warning=None):
    told = answer["first_lines"]
    return [line["text"] for line in told if warning is None or line["warning"] == warning]


def of(answer, start):
    return [text for text in lines(answer) if text.startswith(start)]


def test_checkpointing_of_a_frozen_model_whose_features_are_cached_is_said():
    asked = {"samples": 5000, "classes": 10, "gpu": "a100-sxm-80"}
    fields = asked | {"strategy": "feature_extraction"}
    said = lines(estimate("resnet50", gradient_checkpointing="full", **fields), warning=True)
    assert said == [
        f"{FieldName('gradient_checkpointing')} full has no effect: no backward pass goes "
        f"through the model whose features are cached ({FieldName('cached_features')})"
    ]
    assert lines(estimate("resnet50", **fields), warning=True) == []
    whole = estimate("resnet50", gradient_checkpointing="full", cached_features=False, **fields)
    assert lines(whole, warning=True) == []


def test_cached_features_run_as_long_as_the_others():
    """The pass that makes the features is no epoch of training."""
    answer = estimate(
        "resnet50", samples=5000, classes=10, gpu="a100-sxm-80", strategy="feature_extraction"
    )
    assert len(answer["options"]) == 2 and not of(answer, "not all run as long")


@pytest.mark.parametrize(
    ("fields", "why"),
    [({"evaluations_per_epoch": 0}, "nothing is evaluated"), ({"max_steps": 3}, "too short")],
)
def test_held_out_samples_that_nothing_is_evaluated_on_are_said(fields, why):
    asked = TUNED | {"samples": 50_000} if "max_steps" in fields else TUNED
    answer = estimate("Llama-3.1-8B", evaluation_samples=500, **asked, **fields)
    run = answer["options"][0]["run"]
    (said,) = of(answer, "--evaluation-samples 500 has no effect")
    assert why in said and run["breakdown_hours"].get("evaluation", 0) == 0
    used = estimate("Llama-3.1-8B", evaluation_samples=500, **TUNED)
    assert not of(used, "--evaluation-samples") and of(used, "lora: ")[0].count("evaluated") == 1


def test_a_limit_that_is_kept_stands_beside_the_broken_one():
    answer = estimate("Llama-3.1-8B", max_usd=0.01, max_hours=480, **TUNED)
    (said,) = of(answer, "nothing keeps --max-usd;")
    assert "(--max-usd): broken by" in said and "(--max-hours): kept by" in said


def test_data_that_fills_no_step_is_said():
    answer = estimate("Llama-3.1-8B", gpus=2, **TUNED | {"samples": 5})
    (said,) = of(answer, "the data fills no step: 5 of 6 samples")
    assert "counted as a full one" in said
    assert "steps of 6 samples" in of(answer, "lora: ")[0]
    assert not of(estimate("Llama-3.1-8B", **TUNED), "the data fills no step")


def test_the_epochs_that_a_provider_tunes_by_default_are_said():
    asked = {key: TUNED[key] for key in ("samples", "tokens_per_sample")}
    answer = estimate("Llama-3.1-8B", strategy="provider_fine_tune", **asked)
    (said,) = of(answer, "provider_fine_tune by default: 3 epochs")
    assert "--epochs" in said
    given = estimate("Llama-3.1-8B", strategy="provider_fine_tune", epochs=3, **asked)
    assert not of(given, "provider_fine_tune by default")
    assert given["options"][0]["cost"]["usd"] == answer["options"][0]["cost"]["usd"]


SMALL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 512,
    "torch_dtype": "bfloat16",
}
#: Two tables, and in each block q and o (64 × 64), k and v (64 × 32), three of 64 × 128, two norms.
PARAMETERS = 2 * 512 * 64 + 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64) + 64


@pytest.mark.parametrize("strategy", ["fine_tune", "lora"])
def test_a_folder_without_weights_has_its_size_from_its_config(tmp_path, strategy):
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    answer = estimate(str(tmp_path), **TUNED | {"strategy": strategy})
    assert f"{tmp_path} of {PARAMETERS / 1e3:.0f}k parameters" in lines(answer)


def test_the_template_of_a_folder_without_a_tokenizer_is_assumed_and_said(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    data = tmp_path / "talks.jsonl"
    talk = [{"role": "user", "content": "Who is it?"}, {"role": "assistant", "content": "It is I."}]
    data.write_text("\n".join(json.dumps({"messages": talk}) for _ in range(20)))
    answer = estimate(str(tmp_path), data, gpu="a100-sxm-80", strategy="fine_tune")
    assert any("is assumed" in text and "not at hand" in text for text in lines(answer))
