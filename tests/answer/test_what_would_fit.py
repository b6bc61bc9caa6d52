"""Ways that do not fit are compared under one policy of checkpointing, and the remedy is named."""

import pytest

from planner.answer.estimate import estimate
from planner.answer.fixes import advice
from planner.answer.fixes.advice import fixes


@pytest.fixture(scope="module")
def towers():
    asked = {"samples": 5000, "tokens_per_sample": 200, "gpu": "h100", "strategy": ["fine_tune"]}
    return {
        tower: estimate("llava-1.5-7b-hf", vision_tower=tower, **asked)["options"][0]
        for tower in ("frozen", "trained")
    }


def test_a_frozen_tower_is_no_dearer_than_a_trained_one(towers):
    frozen, trained = towers["frozen"], towers["trained"]
    assert not frozen["fits"] and not trained["fits"]  # else nothing is tested here
    policies = {option["training"]["gradient_checkpointing"] for option in towers.values()}
    assert len(policies) == 1
    assert frozen["run"]["wall_hours"]["p50"] < trained["run"]["wall_hours"]["p50"]
    used = [o["memory"]["device_used_bytes"]["p50"] for o in (frozen, trained)]
    assert used[0] < used[1]


def test_what_is_not_quantised_of_a_mixture_names_its_remedy():
    asked = {"samples": 3000, "tokens_per_sample": 300, "gpu": "h200", "strategy": ["qlora"]}
    answer = estimate("mixtral-8x7b", **asked)
    (option,) = answer["options"]
    assert not option["fits"]
    assert option["fixes"][0]["change"] == "--kbit-preparation none" and option["fixes"][0]["fits"]
    said = [line["text"] for line in answer["first_lines"] if "stay as they are" in line["text"]]
    assert said and "--kbit-preparation none leaves them in 16 bits" in said[0]
    mended = estimate("mixtral-8x7b", kbit_preparation="none", **asked)
    assert mended["options"][0]["fits"]
    lines = [line["text"] for line in mended["first_lines"]]
    assert not any("they are made float32" in text for text in lines)


def test_logits_that_are_too_much_name_the_loss_in_chunks():
    asked = {"samples": 1000, "tokens_per_sample": 512, "max_length": 4096, "precision": "fp16"}
    answer = estimate("gemma-2-2b", gpu="t4", strategy=["lora"], offline=True, **asked)
    (option,) = answer["options"]
    fix = next(fix for fix in option["fixes"] if "--loss chunked" in fix["change"])
    assert not option["fits"] and fix["fits"]
    mended = estimate(
        "gemma-2-2b",
        gpu="t4",
        strategy=["lora"],
        offline=True,
        loss="chunked",
        gradient_checkpointing="full",
        micro_batch=1,
        **asked,
    )
    assert mended["options"][0]["fits"]


def test_gradients_that_are_too_much_name_updates_inside_the_backward_pass():
    asked = {
        "samples": 1000,
        "tokens_per_sample": 512,
        "gpu": "a100-40gb",
        "strategy": ["fine_tune"],
        "evaluations_per_epoch": 0,
        "offline": True,
    }
    (option,) = estimate("Llama-3.1-8B", **asked)["options"]
    fix = next(fix for fix in option["fixes"] if "--optimizer-in-backward" in fix["change"])
    assert not option["fits"] and fix["fits"]
    mended = estimate(
        "Llama-3.1-8B",
        optimizer="adamw_8bit",
        optimizer_in_backward=True,
        gradient_checkpointing="full",
        global_batch=1,
        **asked,
    )
    assert mended["options"][0]["fits"]


def test_changes_are_tried_once_an_answer(monkeypatch):
    tried = []

    def counted(problem, option, **more):
        tried.append(option.placement.key)
        return fixes(problem, option, **more)

    monkeypatch.setattr(advice, "fixes", counted)
    asked = {"samples": 100, "tokens_per_sample": 64, "micro_batch": 1, "gpu": "l4"}
    answer = estimate("Llama-3.1-8B", strategy=["fine_tune"], **asked)
    (option,) = answer["options"]
    assert not option["fits"] and option["fixes"] and len(tried) == 1
    limit = next(line["text"] for line in answer["first_lines"] if line["topic"] == "limit")
    assert f"would do: {option['fixes'][0]['change']}" in limit
