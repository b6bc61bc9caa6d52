"""What an evaluation takes of a device: figures by hand, the batch that is planned where the
question leaves it open, and what an answer says where an asked one does not fit."""

import json
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from planner.answer.estimate import estimate
from planner.choose.decision import decide
from planner.cli import main
from planner.devices.lookup import find_device
from planner.models.resolve import resolve
from planner.plan.decoding.memory import forward_bytes, result_bytes, staying_bytes
from planner.plan.phases.evaluation_memory import Kept
from planner.plan.steps.point import EvaluationMemory, memory_at, used_by
from planner.question import Question
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

GIB = 2**30
LLAMA = {"samples": 2000, "tokens_per_sample": 1000, "max_length": 1024, "offline": True}
LLAMA |= {"strategy": ["lora"], "evaluation_samples": 200}


def ask(gpu="rtx-3060", **fields):
    answer = estimate("Llama-3.2-1B", **LLAMA | {"gpu": gpu, "price": 0.2} | fields)
    return answer["options"][0], [line["text"] for line in answer["first_lines"]]


def test_gpt2s_logits_by_hand():
    source = trace_for(resolve("gpt2"), Recipe("fine_tune", "causal_lm", "fp32", "adamw"))
    trace = source.at(B=8, S=512)
    made = result_bytes(trace, trace.dims(B=8, S=512))
    # 8 × 512 tokens of 50257 logits in float32, and their logarithms; labels and losses are small
    logits = 8 * 512 * 50257 * 4
    assert made == pytest.approx(2 * logits, rel=0.01)
    assert forward_bytes(trace, trace.dims(B=8, S=512)) >= made
    # 124.4M parameters, and Adam's two states, in float32
    held = staying_bytes(trace, trace.dims(B=8, S=512))
    assert held == pytest.approx(3 * 4 * 124.44e6, rel=0.02)


def test_the_widest_operation_counts_where_results_are_small():
    """A classifier's results are 1,000 numbers: its widest operation reads and writes 256 channels
    of 56 × 56 of what ResNet-50's first stage adds."""
    recipe = Recipe("fine_tune", "image_classification", "fp32", "adamw")
    trace = trace_for(resolve("resnet50"), recipe).at(B=64)
    dims = trace.dims(B=64)
    plane = 64 * 256 * 56 * 56 * 4
    assert result_bytes(trace, dims) < plane / 10
    assert 2 * plane <= forward_bytes(trace, dims) <= 4 * plane


def test_the_largest_batch_that_fits_is_planned_and_said():
    option, lines = ask()
    batch = option["run"]["evaluation_batch"]
    assert batch in (1, 2, 4) and option["fits"] is True
    figures = option["memory"]["evaluation_bytes"]
    assert figures["p90"] <= option["memory"]["device_total_bytes"]
    said = next(text for text in lines if "evaluated in batches of" in text and "set" in text)
    assert f"set per_device_eval_batch_size to {batch}" in said and "8 at once" in said
    # the next power of two does not fit
    twice, _ = ask(evaluation_batch=2 * batch)
    assert twice["fits"] is False
    roomy, lines = ask(gpu="a100-sxm-80")
    assert roomy["run"]["evaluation_batch"] == 8
    assert not any("per_device_eval_batch_size" in text for text in lines)


def test_an_asked_batch_that_does_not_fit_is_no_fit_with_a_mend():
    option, lines = ask(evaluation_batch=64)
    memory = option["memory"]
    assert option["fits"] is False and memory["verdict"] == "does not fit"
    over = memory["evaluation_bytes"]["p90"] - memory["device_total_bytes"]
    assert memory["short_by_bytes"] == int(over) > 0
    assert memory["chance_out_of_memory"] > 0.9
    first = option["fixes"][0]
    assert first["fits"] and "evaluation-batch" in first["change"]
    smaller = int(first["change"].split()[-1])
    assert any(f"evaluation-batch {smaller} fits" in text for text in lines)
    mended, _ = ask(evaluation_batch=smaller)
    assert mended["fits"] and mended["run"]["evaluation_batch"] == smaller
    assert mended["memory"]["evaluation_bytes"]["p90"] <= memory["device_total_bytes"]


def test_a_change_of_the_step_mends_the_evaluation_with_it():
    """Where neither the step nor the evaluation fits, every change names both."""
    option, _ = ask(evaluation_batch=64, strategy=["fine_tune"], micro_batch=8, optimizer="adamw")
    assert option["fits"] is False and option["fixes"]
    own = [fix for fix in option["fixes"] if not fix["change"].startswith("a larger")]
    assert own and all("evaluation-batch" in fix["change"] for fix in own)


def test_what_is_not_evaluated_needs_no_memory():
    option, _ = ask(evaluations_per_epoch=0, evaluation_batch=64)
    assert option["fits"] is True and "evaluation_bytes" not in option["memory"]


def test_the_leanest_evaluation_may_not_fit():
    """1000 rows of 2000 tokens: keys and values of 12 layers of 768 numbers, 78 GB in 2 bytes."""
    counts = {"samples": 2000, "tokens_per_sample": 100, "target_tokens_per_sample": 40}
    counts |= {"gpu": "t4", "price": 0.5, "strategy": "fine_tune", "offline": True}
    answer = estimate("t5-base", **counts, beams=1000, generated_tokens=2000)
    option = answer["options"][0]
    assert option["fits"] is False and option["run"]["evaluation_batch"] == 1
    rows = 1000 * (2000 + 128) * 12 * 2 * 768 * 2
    assert option["memory"]["evaluation_bytes"]["p50"] == pytest.approx(rows, rel=0.2)
    assert option["memory"]["device_used_bytes"]["p90"] < option["memory"]["device_total_bytes"]
    assert any("one sample at a time takes" in line["text"] for line in answer["first_lines"])
    assert answer["recommended"] is None


@pytest.mark.parametrize("asked", [None, 8, 64])
def test_choose_never_advises_what_cannot_be_evaluated(asked):
    document = decide(Question(model="Llama-3.2-1B", **LLAMA, evaluation_batch=asked))
    found = document["recommended"]
    gpu = {"gpu": found["gpu_key"], "gpus": found["gpus"], "micro_batch": found["micro_batch_size"]}
    option, _ = ask(**gpu, evaluation_batch=asked)
    assert (
        option["fits"]
        and option["memory"]["evaluation_bytes"]["p90"] <= (found["device_total_bytes"])
    )
    # logits alone, in 2 bytes and again in 4
    logits = option["run"]["evaluation_batch"] * 1024 * 128256 * 6
    assert logits < option["memory"]["evaluation_bytes"]["p50"]


def test_nothing_that_fits_is_said_with_its_mend():
    """Batches that no device can hold: what would do is the smaller one."""
    with_all = {"strategy": ["lora"], "evaluation_batch": 10_000, "evaluation_samples": 10_000}
    document = decide(Question(model="Llama-3.2-1B", **LLAMA | with_all))
    assert document["recommended"] is None
    said = [line["text"] for line in document["first_lines"] if "nothing fits" in line["text"]]
    assert said and "would do: --evaluation-batch" in said[0]


def test_as_a_user_asks_it(capsys):
    command = ["estimate", "Llama-3.2-1B", "--samples", "2000", "--tokens-per-sample", "1000"]
    command += ["--gpu", "rtx-3060", "--price", "0.2", "--strategy", "lora", "--offline"]
    command += ["--evaluation-samples", "200", "--max-length", "1024"]
    assert main.run([*command, "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)["options"][0]
    assert planned["fits"] and planned["run"]["evaluation_batch"] < 8
    assert main.run([*command, "--evaluation-batch", "64"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "evaluating 64 samples at once takes" in text and "--evaluation-batch" in text
    # a smaller batch than the trainer's is something to set: it stands on the first screen
    assert main.run(command) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "set per_device_eval_batch_size to" in text


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 60), st.floats(0, 60))
def test_a_run_needs_the_larger_of_training_and_evaluation(held, made):
    spec = find_device("rtx-3090")
    recipe = Recipe("fine_tune", "text_classification", "fp32", "adamw")
    source = trace_for(resolve("bert-base-uncased"), recipe)
    memory = memory_at(source, spec, {"B": 2, "S": 128, "T": None})
    used = used_by(spec, "text", (held + made) * GIB)
    evaluation = EvaluationMemory(4, held * GIB, made * GIB, used, spec.total_memory_bytes)
    both = replace(memory, evaluation=evaluation)
    assert both.fits == (memory.fits and evaluation.fits)
    assert both.needed_bytes.p90 == max(memory.device_used_bytes.p90, used.p90)
    assert (both.short_by_bytes is None) == both.fits
    assert both.chance_out_of_memory >= memory.chance_out_of_memory
    assert both.verdict == "fits" if both.fits else both.verdict != "fits"
    assert np.isclose(sum(both.breakdown.values()), memory.device_used_bytes.p50)


def test_kept_outputs_by_hand():
    """24 samples of 100 MiB in batches of 8: joined 800, 1600 and 2400 MiB, the last beside the
    1600 before it; no freed block is large enough for the next, and what was made last lies beside
    it: 800 + 800 + 1600 + 2400 MiB are reserved, the freed 800 taken by a batch."""
    mebi = 2**20
    kept = Kept(24, 8, (100.0 * mebi,))
    assert kept.live_bytes == (4000.0 * mebi,)
    assert kept.reserved_bytes(mebi) == pytest.approx(5600 * mebi, rel=0.01)
    assert Kept(24, 8).live_bytes == () and Kept(24, 8).reserved_bytes(mebi) < 40 * mebi


def test_logits_that_a_metric_reads_stay_until_the_end():
    """Whisper large v3 on 72 clips: logits of 51866 words for each token and 1500 states of 1280
    numbers, in float32, joined once more."""
    asked = {"samples": 1123, "seconds_per_sample": 10, "target_tokens_per_sample": 40}
    asked |= {"gpu": "t4", "price": 0.4, "strategy": ["lora"], "offline": True, "micro_batch": 1}
    asked |= {"evaluation_samples": 72, "evaluation_generates": False, "length_spread": 0}
    plain, keeping = (
        estimate("whisper-large-v3", **asked, evaluation_keeps_logits=keeps)["options"][0]["memory"]
        for keeps in (None, True)
    )
    added = keeping["evaluation_bytes"]["p50"] - plain["evaluation_bytes"]["p50"]
    kept = 4 * (40 * 51866 + 1500 * 1280) * (72 + 64)
    assert kept < added < 4 * kept
    assert keeping["device_used_bytes"] == plain["device_used_bytes"]


def test_more_kept_logits_than_the_device_has_are_no_fit():
    option, lines = ask(evaluation_keeps_logits=True, evaluation_samples=2000)
    # 2000 × 1000 tokens of 128256 logits in 4 bytes are a terabyte, whatever the batch
    assert option["fits"] is False and option["memory"]["short_by_bytes"] > 2 * 10**11
    assert any("one sample at a time takes" in text for text in lines)
