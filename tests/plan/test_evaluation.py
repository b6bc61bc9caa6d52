"""Evaluations of a run: how many samples in which batches, what they write, and what that takes."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from planner.answer.estimate import estimate
from planner.cli import main

TUNED = {"gpu": "t4", "price": 0.5, "strategy": "fine_tune", "offline": True}


def ask(model="t5-base", **fields):
    lengths = {} if model == "resnet50" else {"tokens_per_sample": 100}
    answer = estimate(model, **TUNED | {"samples": 2000} | lengths | fields)
    return answer, answer["options"][0]["run"]


def hours(model="t5-base", **fields):
    return ask(model, **fields)[1]["breakdown_hours"]["evaluation"]


def line(answer):
    return next(one["text"] for one in answer["first_lines"] if "evaluated" in one["text"])


def test_the_batch_is_the_trainers_own():
    answer, run = ask("bert-base-uncased", micro_batch=32, global_batch=32)
    assert run["evaluation_batch"] == 8 and run["evaluated_samples"] == 100
    assert "on 100 samples in batches of 8" in line(answer)
    assert run["generated_tokens"] is None and run["beams"] is None
    assert ask("bert-base-uncased", stack="unsloth")[1]["evaluation_batch"] == 4
    loop = ask("bert-base-uncased", stack="loop", micro_batch=32, global_batch=32)[1]
    assert loop["evaluation_batch"] == 32
    assert ask("bert-base-uncased", evaluation_batch=50)[1]["evaluation_batch"] == 50
    # no larger than what is held out
    assert ask("bert-base-uncased", evaluation_samples=3)[1]["evaluation_batch"] == 3


def test_larger_batches_spare_a_host_that_sets_the_pace():
    small, large = (
        hours("bert-base-uncased", tokens_per_sample=8, evaluation_batch=n) for n in (1, 50)
    )
    assert small > 5 * large


def test_metrics_of_text_need_text():
    answer, run = ask("t5-base", target_tokens_per_sample=40)
    assert run["evaluation_generates"] is True
    # until the longest of 8 texts ends, whose mean is 40 tokens
    assert 40 < run["generated_tokens"] < 128 and run["beams"] == 1
    written = f"writing up to {run['generated_tokens']:,.0f} tokens each with 1 beam: "
    assert written in line(answer)
    assert "of the run" in line(answer)
    # cut where run_summarization.py cuts it
    assert ask("t5-base", target_tokens_per_sample=400)[1]["generated_tokens"] == 128
    for model in ("gpt2", "bert-base-uncased", "resnet50"):
        assert ask(model)[1]["evaluation_generates"] is False


def test_ctc_reads_its_text_off_the_frames():
    assert ask("wav2vec2-base", tokens_per_sample=None)[1]["evaluation_generates"] is False
    answer, run = ask("wav2vec2-base", tokens_per_sample=None, evaluation_generates=True)
    assert run["evaluation_generates"] is False


def test_text_is_written_where_it_is_asked():
    plain, written = hours("gpt2"), hours("gpt2", evaluation_generates=True, generated_tokens=50)
    assert written > 3 * plain
    assert hours("t5-base", evaluation_generates=False) < hours("t5-base")


def test_a_token_of_t5_on_a_t4_is_some_milliseconds_and_is_said():
    answer = ask("t5-base", generated_tokens=40)[0]
    said = [
        text for text in answer["options"][0]["assumptions"] if "each" in text and "token" in text
    ]
    assert any("an evaluated batch of 8 writes about 40 tokens a text" in text for text in said)


def test_the_parts_sum_to_the_whole_and_evaluation_is_one_of_them():
    run = ask("t5-base")[1]
    assert sum(run["breakdown_hours"].values()) == pytest.approx(run["wall_hours"]["p50"])
    assert run["breakdown_hours"]["evaluation"] > 0
    none = ask("t5-base", evaluations_per_epoch=0)[1]
    assert none["breakdown_hours"]["evaluation"] == 0


@pytest.mark.parametrize("stack, passes, few", [("loop", 100, 1), ("lightning", 102, 2)])
def test_lightning_evaluates_two_batches_before_it_starts(stack, passes, few):
    asked = {"evaluation_batch": 8, "epochs": 1, "evaluations_per_epoch": 1, "stack": stack}
    whole, one = (
        hours("bert-base-uncased", evaluation_samples=samples, **asked) for samples in (800, 8)
    )
    # of one batch alone no second one can be looked at
    assert whole / one == pytest.approx(passes / few)


def test_logits_that_take_more_than_training_are_said():
    answer, _ = ask(
        "gpt2", micro_batch=1, global_batch=8, evaluation_batch=256, evaluation_samples=1000
    )
    said = [line["text"] for line in answer["first_lines"]]  # more than the device has
    said += answer["options"][0]["warnings"]
    assert any("evaluating 256 samples at once takes" in text for text in said)
    assert any("--evaluation-batch" in text or "evaluation_batch" in text for text in said)
    few = ask("gpt2", micro_batch=8, global_batch=8)[0]["options"][0]["warnings"]
    assert not any("samples at once takes" in text for text in few)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 3000),
    st.integers(1, 3),
    st.integers(1, 40),
    st.sampled_from(["t5-base", "whisper-small", "gpt2"]),
)
def test_more_samples_beams_or_tokens_are_never_cheaper(samples, beams, tokens, model):
    asked = {
        "evaluation_generates": True,
        "evaluation_samples": samples,
        "beams": beams,
        "generated_tokens": tokens,
        "epochs": 1,
        "evaluations_per_epoch": 1,
    }
    base = hours(model, **asked)
    assert base > hours(model, **asked | {"evaluation_generates": False})
    assert hours(model, **asked | {"evaluation_samples": samples + 100}) >= base
    assert hours(model, **asked | {"beams": beams + 1}) >= base
    if model != "gpt2":  # a decoder alone reads as much less as it writes more
        assert hours(model, **asked | {"generated_tokens": tokens + 10}) > base


def test_as_a_user_asks_it(capsys):
    command = ["estimate", "t5-base", "--samples", "2000", "--tokens-per-sample", "100"]
    command += ["--gpu", "t4", "--price", "0.5", "--strategy", "fine_tune", "--offline"]
    command += ["--evaluation-generates", "--generated-tokens", "60", "--beams", "4"]
    command += ["--evaluation-batch", "16", "--details"]
    assert main.run(command) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "in batches of 16, writing up to 60 tokens each with 4 beams" in text
    assert main.run([*command, "--beams", "0"]) == 2
    assert "--beams" in capsys.readouterr().err


def test_a_field_of_text_has_no_effect_on_a_classifier_and_that_is_said():
    answer = ask("bert-base-uncased", beams=4)[0]
    assert any("beams" in one["text"] and one["warning"] for one in answer["first_lines"])
