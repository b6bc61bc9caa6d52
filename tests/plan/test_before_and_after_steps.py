"""Preparation, start-up and saving: by hand from their rows, monotonous, and as a user asks."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import estimate
from planner.cli.main import run
from planner.cost.prices.cores import cores_per_device
from planner.datasets.batching import BatchPlan
from planner.datasets.profile import from_counts
from planner.devices.lookup import find_device
from planner.models.resolve import resolve
from planner.plan.phases.host import host_of
from planner.plan.phases.pipeline import pipeline_of
from planner.plan.phases.preparation import preparing_of
from planner.plan.phases.stages import STAGES, WORDS, Work
from planner.plan.phases.start_up import start_up_hours_at_least, stored_bytes
from planner.question import Question
from planner.question.stack import stack_of
from planner.training.recipe import Recipe
from planner.uncertainty.spread import overhead

A100 = find_device("a100-sxm-80")
BERT = {
    "samples": 20_000,
    "tokens_per_sample": 128,
    "task": "text_classification",
    "strategy": "fine_tune",
    "gpu": "a100-sxm-80",
    "epochs": 3,
}


def row(key):
    return overhead(key).p50


OWN = {"owned_usd": 10_000, "owned_years": 3, "owned_utilisation": 0.5, "usd_per_kwh": 0.2}


def prepared(model, data, task, *, devices=1, packed=None, strategy="fine_tune", **asked):
    plan = BatchPlan(packed or data.samples, 1, longest_length=1024)
    work = Work(resolve(model, offline=True), strategy, task, plan)
    question = Question(model=model, samples=1, **asked)
    recipe = Recipe(strategy="fine_tune", task=task, precision="amp_bf16", optimizer="adamw")
    return preparing_of(question, recipe, work, data, A100, devices)


def run_of(model, **fields):
    return estimate(model, **fields)["options"][0]["run"]


def test_texts_are_tokenized_in_batches_by_threads_and_written_by_one_process():
    made = prepared("bert-base-uncased", from_counts(20_000, 128), "text_classification")
    tokens, cores = 20_000 * 128, round(cores_per_device("a100-sxm-80"))
    found = made.seconds()
    assert made.workers == 1 and made.cores == cores
    assert found["tokenize"].p50 == pytest.approx(
        tokens * (row("encode_token_seconds") / cores + row("map_token_seconds"))
    )
    assert found["download the data"].p50 == pytest.approx(
        tokens * row("token_bytes") / row("download_bytes_per_second")
    )


def test_chats_are_rendered_one_by_one_and_plain_text_is_packed():
    chats = prepared("gpt2", from_counts(1000, 500), "causal_lm").seconds()
    assert chats["render"].p50 == pytest.approx(1000 * row("render_record_seconds"))
    assert chats["tokenize"].p50 == pytest.approx(
        500_000 * (row("encode_token_seconds") + row("map_token_seconds"))
    )
    packed = prepared("gpt2", from_counts(1000, 500), "causal_lm", packed=489).seconds()
    assert "render" not in packed
    assert packed["pack"].p50 == pytest.approx(500_000 * row("pack_token_seconds"))
    scratch = prepared("gpt2", from_counts(1000, 500), "causal_lm", strategy="scratch").seconds()
    assert set(scratch) == {"download the data"}


def test_speech_becomes_features_on_as_many_cores_as_there_are():
    data = from_counts(14_400, 30, modality="audio", seconds_per_sample=10.0)
    found = prepared("whisper-small", data, "speech_recognition")
    cores = round(cores_per_device("a100-sxm-80"))
    assert found.workers == min(16, cores)
    assert found.seconds()["make log-mel features"].p50 == pytest.approx(
        14_400 * row("log_mel_window_seconds") / min(16, cores)
    )
    assert found.seconds()["decode"].p50 == pytest.approx(
        144_000 * row("decode_second_seconds") / min(16, cores)
    )
    alone = prepared("whisper-small", data, "speech_recognition", preparation_workers=1)
    assert alone.seconds()["decode"].p50 == pytest.approx(144_000 * row("decode_second_seconds"))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 10**6), st.integers(1, 10**4), st.integers(1, 64), st.integers(1, 8))
def test_more_work_never_costs_less_and_more_processes_never_more(samples, more, workers, devices):
    def seconds(count, processes):
        made = prepared(
            "gpt2",
            from_counts(count, 200),
            "causal_lm",
            devices=devices,
            preparation_workers=processes,
        )
        return sum(part.p50 for part in made.seconds().values())

    assert seconds(samples, workers) <= seconds(samples + more, workers)
    assert seconds(samples, workers + 1) <= seconds(samples, workers) * (1 + 1e-12)


def test_what_is_prepared_costs_nothing():
    assert prepared("gpt2", from_counts(1000, 500), "causal_lm", prepared=True) is None
    whole, done = (run_of("bert-base-uncased", **BERT, prepared=flag) for flag in (False, True))
    assert whole["breakdown_hours"]["preparation"] > 0
    assert done["breakdown_hours"]["preparation"] == 0


def test_every_stage_of_every_pipeline_has_a_price_and_a_word():
    assert set(STAGES) == set(WORDS)
    for parts in STAGES.values():
        assert all(overhead(key).p50 > 0 for key, _ in parts)


def test_the_nearest_row_is_the_pipeline():
    def found(model, task, strategy="fine_tune", data=None):
        work = Work(resolve(model, offline=True), strategy, task, BatchPlan(1, 1))
        return pipeline_of(work, data or from_counts(1, 1), stack_of(None))

    assert found("whisper-small", "speech_recognition").map_workers == 16
    assert found("bert-base-uncased", "token_classification").before == (
        "encode_batched",
        "map_tokens",
    )
    photos = from_counts(1, modality="image")
    assert found("resnet50", "image_classification", data=photos).loader_workers == 4  # timm's
    assert found("gpt2", "causal_lm", "scratch").loaded == ()


def test_a_start_is_its_parts():
    run = run_of("bert-base-uncased", **BERT)
    parts = run["of_which_hours"]["start_up"]
    assert sum(parts.values()) == pytest.approx(run["breakdown_hours"]["start_up"])
    facts = resolve("bert-base-uncased", offline=True)
    size = stored_bytes(facts, "fine_tune")
    assert size in (2 * facts.parameters, 4 * facts.parameters)
    assert parts["download the weights"] * 3600 == pytest.approx(
        size / row("download_bytes_per_second")
    )
    assert parts["read the weights"] * 3600 == pytest.approx(size / row("read_bytes_per_second"))
    least = start_up_hours_at_least(Question(model="m", samples=1), A100, facts, "fine_tune")
    assert least == pytest.approx(run["breakdown_hours"]["start_up"])


def test_scratch_reads_no_weights_and_a_machine_of_ones_own_fetches_none():
    facts = resolve("gpt2", offline=True)
    assert stored_bytes(facts, "scratch", 1e9) == 0
    scratch = run_of("gpt2", **{**BERT, "task": None, "strategy": "scratch"})
    assert "download the weights" not in scratch["of_which_hours"]["start_up"]
    own = run_of("bert-base-uncased", **BERT, **OWN)
    assert set(own["of_which_hours"]["start_up"]) == {
        "import",
        "start the device",
        "read the weights",
    }
    assert "download the data" not in own["of_which_hours"]["preparation"]
    assert host_of(Question(model="m", samples=1), A100).is_rented


def test_compiling_costs_every_operation_of_the_step():
    plain, compiled = (
        estimate("bert-base-uncased", **BERT, compile=flag)["options"][0] for flag in (False, True)
    )
    found = compiled["run"]["of_which_hours"]["start_up"]["compile"] * 3600
    assert "compile" not in plain["run"]["of_which_hours"]["start_up"]
    assert 20 < found < 200
    assert found == pytest.approx(
        compiled["step"]["operations"] * row("compile_operation_seconds"), rel=0.05
    )


def test_checkpoints_hold_the_optimizer_and_come_every_500_steps():
    run = run_of("bert-base-uncased", **BERT)
    answer = estimate("bert-base-uncased", **BERT)["options"][0]
    weights, trainable = answer["model"]["checkpoint_bytes"], answer["model"]["trainable_params"]
    saves = -(-run["steps"] // 500)
    written = saves * (weights + 8 * trainable) + weights  # Adam: two moments in float32
    assert run["breakdown_hours"]["saving"] * 3600 == pytest.approx(
        written / row("write_bytes_per_second"), rel=0.01
    )
    none = run_of("bert-base-uncased", **BERT, saves_per_epoch=0)
    assert none["breakdown_hours"]["saving"] == 0
    twice = run_of("bert-base-uncased", **BERT, saves_per_epoch=2)
    assert twice["breakdown_hours"]["saving"] * 3600 == pytest.approx(
        6 * (weights + 8 * trainable) / row("write_bytes_per_second"), rel=0.01
    )


def test_adapters_alone_are_saved():
    fields = {"samples": 2000, "tokens_per_sample": 200, "gpu": "a100-sxm-80", "epochs": 1}
    lora, full = (run_of("gpt2", strategy=name, **fields) for name in ("lora", "fine_tune"))
    assert lora["breakdown_hours"]["saving"] < full["breakdown_hours"]["saving"] / 20


def test_parts_sum_to_the_run_and_stages_prepare_once():
    for fields in ({}, {"strategy": "partial_fine_tune", "unfreezing": "gradual"}):
        run = run_of("bert-base-uncased", **{**BERT, **fields})
        assert sum(run["breakdown_hours"].values()) == pytest.approx(run["wall_hours"]["p50"])
        assert sum(run["of_which_hours"]["preparation"].values()) == pytest.approx(
            run["breakdown_hours"]["preparation"]
        )
    assert run["breakdown_hours"]["preparation"] == pytest.approx(
        run_of("bert-base-uncased", **BERT)["breakdown_hours"]["preparation"]
    )


def asked(capsys, *arguments):
    assert run(["estimate", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_line_says_what_waits_and_what_changes_it(capsys):
    speech = ("whisper-small", "--audio-hours", "40", "--seconds-per-sample", "10")
    flags = (*speech, "--strategy", "fine_tune", "--gpu", "a100-sxm-80")
    alone, helped = asked(capsys, *flags), asked(capsys, *flags, "--loader-workers", "4")
    said = [line["text"] for line in alone["first_lines"] if "waits for data" in line["text"]]
    assert len(said) == 1 and "--loader-workers" in said[0] and "the training process" in said[0]
    stalls = [
        answer["options"][0]["run"]["of_which_hours"]["training"]["loader_stall"]
        for answer in (alone, helped)
    ]
    assert stalls[0] > 0.5 and stalls[1] < stalls[0] / 10
    hours = [answer["options"][0]["run"]["wall_hours"]["p50"] for answer in (alone, helped)]
    assert hours[0] > hours[1] + 0.5


def test_short_preparation_is_not_said_and_long_is():
    small = {**BERT, "samples": 2_000_000, "tokens_per_sample": 20, "epochs": 0.05}
    texts = [line["text"] for line in estimate("bert-base-uncased", **small)["first_lines"]]
    assert any("before the first step" in text and "--prepared" in text for text in texts)
    usual = [
        line["text"]
        for line in estimate(
            "gpt2", samples=10_000, tokens_per_sample=500, strategy="lora", gpu="t4"
        )["first_lines"]
    ]
    assert not any("before the first step" in text for text in usual)
