"""An asked field that changes nothing of what is planned is said, with what it is of."""

import pytest

from planner.answer.estimate import estimate
from planner.question import Question
from planner.question.applies import USES, in_vain, use_of
from planner.question.fields import choices
from planner.question.settings import SETTINGS
from planner.question.what import ALL_STRATEGIES, Task

TEXT = {"model": "gpt2", "samples": 100, "tokens_per_sample": 50}


def vain(strategies, task="causal_lm", modality="text", **fields):
    return in_vain(Question(**TEXT | fields), strategies, task, modality)


@pytest.mark.parametrize(
    "fields, strategies, words",
    [
        ({"lora_rank": 64}, {"fine_tune"}, "--lora-rank has no effect: it is of lora, qlora"),
        ({"lora_alpha": 8}, {"scratch"}, "--lora-alpha"),
        ({"classes": 4}, {"lora"}, "--classes"),
        ({"image_size": 384}, {"lora"}, "--image-size"),
        ({"teacher": "gpt2-xl"}, {"lora"}, "--teacher has no effect: it is of distillation"),
        ({"unfreezing": "gradual"}, {"lora"}, "--unfreezing"),
        ({"unfrozen_blocks": 2}, {"fine_tune"}, "--unfrozen-blocks"),
        ({"cached_features": True}, {"fine_tune"}, "--cached-features"),
        ({"target_tokens_per_sample": 9}, {"lora"}, "--target-tokens-per-sample"),
        ({"text_columns": "text"}, {"lora"}, "--text-columns has no effect: it goes with --data"),
        ({"api_model": "x"}, {"lora"}, "--api-model"),
        ({"output_tokens": 9}, {"lora"}, "--output-tokens has no effect: it goes with"),
        ({"provider": "runpod", "price": 2.0}, {"lora"}, "--provider has no effect: --price is"),
        ({"kbit_preparation": "none"}, {"lora"}, "--kbit-preparation has no effect: it goes with"),
        ({"quantised_layers": "all"}, {"lora"}, "--quantised-layers has no effect: it goes with"),
        ({"max_steps": 9}, {"prompting"}, "--max-steps has no effect: it is of training"),
    ],
)
def test_a_field_of_something_else_is_said(fields, strategies, words):
    (line,) = vain(strategies, **fields)
    assert line.startswith(words)


@pytest.mark.parametrize(
    "fields, strategies, task, modality",
    [
        ({"lora_rank": 64}, {"fine_tune", "lora"}, "causal_lm", "text"),
        ({"classes": 4}, {"lora"}, "text_classification", "text"),
        ({"image_size": 384}, {"fine_tune"}, "image_classification", "image"),
        ({"max_steps": 9, "precision": "bf16"}, {"fine_tune", "prompting"}, "causal_lm", "text"),
        ({"output_tokens": 9}, {"prompting"}, "causal_lm", "text"),
        ({"output_tokens": 9, "requests_per_month": 9}, {"lora"}, "causal_lm", "text"),
        ({"target_tokens_per_sample": 9}, {"fine_tune"}, "seq2seq_lm", "text"),
        ({"region": "us-east-1", "price": 2.0}, {"lora"}, "causal_lm", "text"),
    ],
)
def test_a_field_that_some_option_uses_is_not_said(fields, strategies, task, modality):
    fields = fields if modality == "text" else fields | {"tokens_per_sample": None}
    assert vain(strategies, task, modality, **fields) == []


def test_counts_beside_data_are_said(tmp_path):
    file = tmp_path / "notes.jsonl"
    file.write_text('{"text": "a short note about nothing"}\n' * 50)
    answer = estimate("gpt2", file, tokens_per_sample=900, gpu="l4", strategy="fine_tune")
    warned = [line["text"] for line in answer["first_lines"] if line["warning"]]
    assert "--tokens-per-sample has no effect: the data itself is counted" in warned


def test_lengths_of_images_are_said():
    answer = estimate("resnet50", samples=500, max_length=9, gpu="l4", strategy="fine_tune")
    warned = [line["text"] for line in answer["first_lines"] if line["warning"]]
    assert warned == ["--max-length has no effect: it is of text, image_text, audio, not of image"]


def test_over_weights_in_few_bits_their_settings_are_in_use():
    asked = {"kbit_preparation": "none", "quantised_layers": "all"}
    assert vain({"qlora"}, **asked) == vain({"lora"}, load_in="8bit", **asked) == []
    stored = Question(**TEXT | asked)
    assert in_vain(stored, {"lora"}, "causal_lm", "text", stored=True) == []


def test_nothing_is_said_of_what_was_not_asked():
    assert vain({"fine_tune"}) == []


def test_every_use_is_of_a_field_and_names_what_there_is():
    tasks = set(choices(Task))
    for name, use in USES.items():
        assert name in Question.model_fields and name not in ("model", "samples")
        assert set(use.strategies) | set(use.needless_for) <= set(ALL_STRATEGIES)
        assert set(use.tasks) <= tasks and set(use.needs) <= set(Question.model_fields)
    # a training setting says it in its own entry
    for name, setting in SETTINGS.items():
        if setting.strategies or setting.tasks:
            assert name not in USES
            assert use_of(name).strategies == setting.strategies


def test_a_field_of_no_table_is_for_everything():
    assert vain({"rag"}, epochs=2, trials=3, max_usd=5) == []
