"""Questions with an objective: what they cost beside each other, how hours and memory add up, and
what is refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import Question, estimate
from planner.devices.lookup import find_device
from planner.errors import QuestionError
from planner.plan.phases.rollouts import training_share
from planner.plan.steps.point import room_bytes, used_by

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("transformers", "peft")),
    reason="needs the extra hf",
)
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 4096,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny_policy")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return str(folder)


def asked(model, objective, strategy="lora", **more):
    """The one option of a question."""
    given = {"samples": 2000, "tokens_per_sample": 200, "gpu": "h100-sxm", "length_spread": 0}
    answer = estimate(model, objective=objective, strategy=strategy, **given | more)
    (option,) = answer["options"]
    return option


def hours(option, phase):
    return option["run"]["breakdown_hours"].get(phase, 0.0)


def test_hours_by_phase_sum_to_the_run_and_memory_to_what_is_used(tiny):
    for objective, more in (
        ("dpo", {}),
        ("dpo", {"reference": "precomputed"}),
        ("grpo", {"generation_engine": "vllm", "reference": "model"}),
        ("ppo", {}),
    ):
        option = asked(tiny, objective, **more)
        run, memory = option["run"], option["memory"]
        assert sum(run["breakdown_hours"].values()) == pytest.approx(run["wall_hours"]["p50"])
        written = run["of_which_hours"].get("generation", {})
        assert sum(written.values()) == pytest.approx(run["breakdown_hours"].get("generation", 0))
        used = memory["device_used_bytes"]["p50"]
        assert sum(memory["breakdown"].values()) == pytest.approx(used)


def test_phases_are_those_of_the_objective(tiny):
    plain = asked(tiny, None)["run"]["breakdown_hours"]
    assert not {"generation", "scoring", "reference"} & set(plain)
    assert set(asked(tiny, "dpo")["run"]["breakdown_hours"]) == set(plain)
    once = asked(tiny, "dpo", reference="precomputed")
    assert hours(once, "reference") > 0
    written = asked(tiny, "grpo")
    assert hours(written, "generation") > 0 and hours(written, "scoring") == 0
    compared = asked(tiny, "grpo", reference="model")
    assert hours(compared, "scoring") > 0


def test_supervised_is_what_is_answered_without_an_objective(tiny):
    assert asked(tiny, "supervised") == asked(tiny, None)


def test_pairs_cost_more_than_their_chosen_halves_and_a_reference_more_than_none(tiny):
    more = {"global_batch": 32, "micro_batch": 8, "epochs": 1}
    single = asked(tiny, None, **more)["step"]["seconds"]["p50"]
    alone = asked(tiny, "dpo", reference="none", **more)["step"]["seconds"]["p50"]
    compared = asked(tiny, "dpo", **more)["step"]["seconds"]["p50"]
    assert single < alone < compared


def test_a_full_tuning_holds_its_reference_and_adapters_do_not(tiny):
    def weights(strategy, reference):
        made = {"reference": reference, "micro_batch": 2, "global_batch": 2}
        return asked(tiny, "dpo", strategy, **made)["memory"]["breakdown"]["weights"]

    assert weights("fine_tune", "model") == pytest.approx(
        2 * weights("fine_tune", "none"), rel=0.01
    )
    assert weights("lora", "model") == pytest.approx(weights("lora", "none"), rel=0.001)


@settings(max_examples=6)
@given(
    fewer=st.integers(2, 6),
    more=st.integers(7, 16),
    engine=st.sampled_from(["transformers", "vllm", "vllm_server"]),
    objective=st.sampled_from(["grpo", "rloo"]),
)
def test_more_generations_cost_more(tiny, fewer, more, engine, objective):
    def usd(each):
        made = {"generations_per_prompt": each, "completion_tokens": 64}
        return asked(tiny, objective, generation_engine=engine, **made)["cost"]["usd"]["p50"]

    assert usd(fewer) < usd(more)


@settings(max_examples=6)
@given(short=st.integers(16, 100), long=st.integers(120, 600))
def test_longer_completions_cost_more(tiny, short, long):
    def made(tokens):
        option = asked(tiny, "grpo", completion_tokens=tokens, micro_batch=8, global_batch=16)
        return hours(option, "generation"), option["memory"]["allocated_bytes"]["p50"]

    (few_hours, few_bytes), (many_hours, many_bytes) = made(short), made(long)
    assert few_hours < many_hours and few_bytes < many_bytes


def test_what_vllm_holds_beside_the_training_is_in_its_memory(tiny):
    made = {"micro_batch": 8, "global_batch": 16}
    alone = asked(tiny, "grpo", **made)["memory"]
    beside = asked(tiny, "grpo", generation_engine="vllm", **made)["memory"]
    whole = alone["device_total_bytes"]
    assert beside["device_total_bytes"] == whole
    added = beside["device_used_bytes"]["p50"] - alone["device_used_bytes"]["p50"]
    assert added == pytest.approx(0.3 * whole, rel=0.001)
    assert added == pytest.approx(
        beside["breakdown"]["context"] - alone["breakdown"]["context"], rel=0.001
    )


def test_what_an_engine_holds_is_no_room_for_the_training(tiny):
    question = Question(model=tiny, objective="grpo", generation_engine="vllm", samples=1)
    alone = find_device("t4")
    beside = training_share(question, alone)
    lost = room_bytes(alone, "text") - room_bytes(beside, "text")
    assert beside.held_bytes == int(0.3 * alone.total_memory_bytes)
    assert beside.held_bytes / 1.5 < lost <= beside.held_bytes
    assert used_by(beside, "text", 1e9).p50 - used_by(alone, "text", 1e9).p50 == pytest.approx(
        beside.held_bytes
    )


def test_a_server_beside_the_training_is_paid_by_the_hour(tiny):
    made = {"completion_tokens": 64, "price": 2.0}
    option = asked(tiny, "grpo", generation_engine="vllm_server", **made)
    cost, wall = option["cost"], option["run"]["wall_hours"]["p50"]
    assert cost["breakdown"]["api"] == pytest.approx(2.0 * wall)
    assert sum(cost["breakdown"].values()) == pytest.approx(cost["usd"]["p50"])
    assert asked(tiny, "grpo", **made)["cost"]["breakdown"]["api"] == 0


def test_ppo_trains_each_completion_four_times_and_writes_it_once(tiny):
    made = {"completion_tokens": 32, "micro_batch": 8, "global_batch": 32, "epochs": 1}
    ppo, grpo = (
        asked(tiny, name, **made, **more)["run"]["steps"]
        for name, more in (("ppo", {}), ("grpo", {"generations_per_prompt": 2}))
    )
    assert ppo == pytest.approx(4 * grpo / 2, abs=4)


PAIR = {"prompt": "why is it so? " * 20, "chosen": "for a reason " * 10}


def lines(answer):
    return " ".join(line["text"] for line in answer["first_lines"])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [PAIR | {"rejected": "who knows " * (30 + n % 3)} for n in range(40)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def of_data(model, file: Path, objective=None):
    return estimate(model, str(file), objective=objective, strategy="lora", gpu="h100-sxm")


def test_a_file_of_pairs_gives_the_lengths_of_both_halves(tiny, pairs):
    both, chosen = of_data(tiny, pairs, "dpo"), of_data(tiny, pairs)
    assert both["dataset"]["lengths"]["mean"] > chosen["dataset"]["lengths"]["mean"]
    assert both["dataset"]["trained_as"] == "40 pairs"
    assert "prompts with chosen answers of mean" in lines(both)
    assert "count only in preference training" not in lines(both)
    assert "--objective dpo prices both halves" in lines(chosen)


def test_the_tokens_of_pairs_are_those_of_both_halves(tiny, pairs):
    answer = of_data(tiny, pairs, "dpo")
    data, (option,) = answer["dataset"], answer["options"]
    chosen, rejected = (half["mean"] for half in data["halves"])
    run, step = option["run"], option["step"]
    assert rejected > chosen and data["lengths"]["mean"] == pytest.approx(rejected, rel=0.01)
    assert run["tokens_per_epoch"] == pytest.approx(40 * (chosen + rejected))
    each = step["tokens_per_second"] / step["samples_per_second"]
    assert each == pytest.approx(chosen + rejected)
    padded = step["padded_tokens_per_second"] / step["samples_per_second"]
    assert padded == pytest.approx(2 * rejected, rel=0.02)


def test_pairs_that_are_counts_have_two_halves_of_the_stated_length(tiny):
    run = asked(tiny, "dpo", epochs=1)["run"]
    assert run["tokens_per_epoch"] == pytest.approx(2 * 2000 * 200)
    assert asked(tiny, "kto", epochs=1)["run"]["tokens_per_epoch"] == pytest.approx(2000 * 200)


def test_a_prompt_is_tokenized_once_however_often_it_is_written_to(tiny, pairs):
    def tokenizing(**more):
        given = {"strategy": "lora", "gpu": "h100-sxm", "epochs": 1, "global_batch": 16}
        (option,) = estimate(tiny, str(pairs), **given, **more)["options"]
        return option["run"]["of_which_hours"]["preparation"]["tokenize"]

    once = tokenizing(objective="grpo", generations_per_prompt=2)
    assert once > 0
    assert tokenizing(objective="grpo", generations_per_prompt=8) == pytest.approx(once)
    longer = tokenizing(objective="grpo", generations_per_prompt=8, completion_tokens=1500)
    assert longer == pytest.approx(once)
    assert tokenizing(objective="ppo") == pytest.approx(once)
    assert tokenizing(objective="dpo") > once


def test_single_answers_of_pairs_are_two_samples_each(tiny, pairs):
    answer = of_data(tiny, pairs, "kto")
    assert answer["dataset"]["samples"] == 80 and "80 single answers" in lines(answer)


def test_of_pairs_only_the_prompts_are_read_where_the_model_answers_itself(tiny, pairs):
    prompts, chosen = of_data(tiny, pairs, "grpo"), of_data(tiny, pairs)
    assert prompts["dataset"]["lengths"]["mean"] < chosen["dataset"]["lengths"]["mean"]
    assert prompts["dataset"]["target_lengths"]["mean"] == 512
    assert prompts["dataset"]["trained_as"] == "40 prompts"


def test_texts_are_cut_where_the_trainer_cuts_them(tiny):
    given = {"samples": 500, "gpu": "h100-sxm", "strategy": "lora", "tokens_per_sample": 1500}
    cut = estimate(tiny, objective="dpo", **given)
    assert cut["options"][0]["step"]["sequence_length"] <= 1024
    assert "texts are cut at 1,024 tokens, as TRL does by default" in lines(cut)
    asked_for = estimate(tiny, objective="dpo", max_length=2048, **given)
    assert asked_for["options"][0]["step"]["sequence_length"] > 1024
    assert "as TRL does by default" not in lines(asked_for)


def test_data_without_pairs_is_refused(tiny, tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": "a b", "completion": "c d"}) for _ in "123"))
    with pytest.raises(QuestionError, match="learns from pairs of a chosen and a rejected answer"):
        of_data(tiny, file, "dpo")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"objective": "orpo", "reference": "model"}, "compares with no reference"),
        ({"objective": "grpo", "reference": "precomputed"}, "at every step"),
        ({"objective": "ppo", "reference": "none"}, "divergence from a reference"),
        ({"objective": "dpo", "padding": "packed"}, "not packed"),
        ({"objective": "dpo", "strategy": "prompting"}, "not planned with prompting"),
        ({"objective": "dpo", "question": "bert-base-uncased"}, "language model that writes"),
        ({"objective": "grpo", "generations_per_prompt": 1}, "less than the 2 that TRL asks for"),
        ({"objective": "rloo", "generations_per_prompt": 1}, "less than the 2 that TRL asks for"),
        (
            {"objective": "grpo", "generations_per_prompt": 7, "global_batch": 72},
            "no whole groups of 7.*Ask for global_batch 70 or 77",
        ),
        ({"objective": "rloo", "micro_batch": 3}, "no whole groups of 2.*global_batch 6"),
        (
            {"objective": "grpo", "completion_tokens": 4090},
            "longer than the 4,096 tokens .* of at most 4,046",
        ),
        ({"objective": "ppo", "tokens_per_sample": 4090, "length_spread": 0}, "shorter prompts"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(tiny, more, said):
    question = {"question": tiny, "samples": 100, "tokens_per_sample": 50, "gpu": "h100-sxm"}
    with pytest.raises(QuestionError, match=said) as error:
        estimate(**question | more)
    assert "\n" not in str(error.value)


def test_strategies_that_make_no_sense_are_left_out_with_a_line(tiny):
    answer = estimate(tiny, samples=100, tokens_per_sample=50, gpu="h100-sxm", objective="dpo")
    assert {option["strategy"] for option in answer["options"]} <= {"fine_tune", "lora", "qlora"}
    assert "other strategies left out" in lines(answer)


def test_a_model_that_sees_is_tuned_on_text():
    answer = estimate(
        "gemma-3-4b-it",
        samples=100,
        tokens_per_sample=50,
        gpu="h100-sxm",
        objective="dpo",
        strategy="lora",
        micro_batch=2,
    )
    assert "trained as causal_lm: objectives are planned on text" in lines(answer)


@pytest.mark.parametrize(
    ("objective", "more"),
    [
        (None, {"generations_per_prompt": 4}),
        ("supervised", {"completion_tokens": 64}),
        ("dpo", {"generations_per_prompt": 4}),
        ("dpo", {"completion_tokens": 64}),
        ("kto", {"generation_engine": "vllm"}),
        ("ppo", {"generations_per_prompt": 4}),
    ],
)
def test_a_field_of_writing_has_no_effect_where_nothing_is_written(tiny, objective, more):
    given = {"samples": 100, "tokens_per_sample": 50, "gpu": "h100-sxm", "strategy": "lora"}
    answer = estimate(tiny, objective=objective, **given, **more)
    (name,) = more
    assert f"--{name.replace('_', '-')} has no effect" in lines(answer)


@pytest.mark.parametrize(
    ("objective", "stack", "prepared"),
    [
        ("grpo", None, False),
        ("grpo", "trl-2025-10", True),
        ("grpo", "trl-2025-05", False),
        ("dpo", "trl-2025-12", True),
        ("dpo", "trl", False),
        ("orpo", None, True),
        (None, None, True),
    ],
)
def test_weights_beside_those_in_4_bits_are_as_the_trainer_of_the_day_leaves_them(
    tiny, objective, stack, prepared
):
    given = {"stack": stack, "micro_batch": 2, "global_batch": 16, "precision": "bf16"}
    option = asked(tiny, objective, "qlora", **given)
    assert option["training"]["precision"] == ("amp_bf16" if prepared else "bf16")
    left = asked(tiny, objective, "qlora", kbit_preparation="none", **given)
    weights = [one["memory"]["breakdown"]["weights"] for one in (left, option)]
    assert weights[0] < weights[1] if prepared else weights[0] == pytest.approx(weights[1])


def test_adapters_over_4_bits_are_cast_where_the_trainer_casts_them(tiny):
    def adapters(strategy, **more):
        return asked(tiny, "grpo", strategy, **more)["training"].get("adapter_precision")

    assert adapters("qlora") == "weights"
    assert adapters("qlora", adapter_precision="fp32") is None
    assert adapters("qlora", stack="trl-2025-05") is None
    assert adapters("lora") is None


@pytest.mark.parametrize("objective", ["grpo", "rloo", "ppo"])
def test_prompts_are_cut_where_their_completions_need_the_model(tiny, objective):
    given = {"samples": 500, "gpu": "h100-sxm", "strategy": "lora", "tokens_per_sample": 900}
    answer = estimate(tiny, objective=objective, completion_tokens=2048, **given)
    (option,) = answer["options"]
    assert option["step"]["longest_length"] <= 4096 - 2048
    assert "prompts are taken as cut at 2,048 tokens" in lines(answer)
    shorter = estimate(tiny, objective=objective, completion_tokens=32, **given)
    assert "taken as cut" not in lines(shorter)
