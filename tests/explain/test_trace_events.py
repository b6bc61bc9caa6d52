"""``planner trace``: a step for Perfetto, in the Trace Event Format; its sums are the answer's."""

import gzip
import json
from itertools import pairwise

import pytest

from planner.answer.estimate import estimate
from planner.cli.main import run
from planner.explain.events import DEVICE, HOST, PARTS
from planner.explain.traced import traced
from planner.question import Question

LLAMA = {"model": "Llama-3.2-1B", "samples": 20_000, "tokens_per_sample": 400, "gpu": "h100"}
BERT = {"model": "bert-base-uncased", "samples": 900, "tokens_per_sample": 100,
        "strategy": ["fine_tune"]}  # fmt: skip
QUESTIONS = {
    "one micro-batch": {**LLAMA, "strategy": ["fine_tune"], "micro_batch": 4, "global_batch": 4},
    "two": {**LLAMA, "strategy": ["fine_tune"]},
    "eight": {**LLAMA, "strategy": ["lora"], "micro_batch": 4, "global_batch": 32},
    "four devices": {**BERT, "gpu": "a100-sxm-80", "gpus": 4},
    "host bound": {**BERT, "gpu": "h100", "micro_batch": 1, "global_batch": 4},
    "processor": {**BERT, "gpu": "cpu", "price": 0.5},
}
SLACK_US = 1e-6


def complete(document, thread):
    return [e for e in document["traceEvents"] if e["ph"] == "X" and e["tid"] == thread]


@pytest.mark.parametrize("name", QUESTIONS)
def test_it_keeps_the_format(name):
    document = traced(Question(**QUESTIONS[name]))
    json.dumps(document, allow_nan=False)
    assert document["displayTimeUnit"] in ("ms", "ns")
    named = {e["name"] for e in document["traceEvents"] if e["ph"] == "M"}
    assert named == {"process_name", "thread_name", "thread_sort_index"}
    for event in document["traceEvents"]:
        assert event["ph"] in "XCM" and isinstance(event["pid"], int)
        if event["ph"] == "X":
            assert event["ts"] >= -SLACK_US and event["dur"] >= 0
            assert isinstance(event["name"], str) and isinstance(event["cat"], str)
        if event["ph"] == "C":
            assert event["ts"] >= 0
            assert all(isinstance(v, int) and v >= 0 for v in event["args"].values())
    times = [e["ts"] for e in document["traceEvents"] if "ts" in e]
    assert times == sorted(times)


@pytest.mark.parametrize("name", QUESTIONS)
def test_events_of_a_row_follow_each_other(name):
    document = traced(Question(**QUESTIONS[name]))
    for thread in (HOST, DEVICE, PARTS):
        for one, two in pairwise(complete(document, thread)):
            assert one["ts"] + one["dur"] <= two["ts"] + SLACK_US, (one, two)


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_spans_sum_to_the_answers_step(name):
    question = Question(**QUESTIONS[name])
    document, answer = traced(question), estimate(question)
    seconds = answer["options"][0]["step"]["seconds"]["p50"]
    spans = complete(document, PARTS)
    assert sum(e["dur"] for e in spans) / 1e6 == pytest.approx(seconds, rel=1e-9)
    assert document["otherData"]["step_seconds"] == pytest.approx(seconds, rel=1e-9)
    begins = document["otherData"]["begins_us"]
    ends = max(e["ts"] + e["dur"] for e in spans)
    assert spans[0]["ts"] == pytest.approx(begins, abs=1e-3)
    assert (ends - begins) / 1e6 == pytest.approx(seconds, rel=1e-9)


def test_the_device_row_is_the_busy_time_by_kind():
    """Without accumulation: the answer's kinds are of one micro-batch and its update."""
    question = Question(**QUESTIONS["one micro-batch"])
    document, answer = traced(question), estimate(question)
    factor = document["otherData"]["correction_factor"]
    kinds = {}
    for event in complete(document, DEVICE):
        kinds[event["cat"]] = kinds.get(event["cat"], 0.0) + event["dur"] / 1e6
    for kind, seconds in kinds.items():
        by_kind = answer["options"][0]["step"]["by_kind"][kind]
        assert seconds == pytest.approx(by_kind * factor, rel=1e-6)


def test_micro_batches_in_between_are_one_span():
    document = traced(Question(**QUESTIONS["eight"]))
    assert document["otherData"]["drawn_micro_batches"] == [1, 2, 8]
    (folded,) = [e for e in complete(document, PARTS) if "like the second" in e["name"]]
    assert folded["args"]["micro_batches"] == 5


def test_memory_at_the_longest_batch_reaches_the_answers_peak():
    question = Question(**QUESTIONS["two"])
    document, answer = traced(question, longest=True), estimate(question)
    counted = [e["args"] for e in document["traceEvents"] if e["ph"] == "C"]
    memory = answer["options"][0]["memory"]
    most = max(args["allocated_bytes"] for args in counted)
    assert most == memory["allocated_bytes"]["p50"]
    (reserved,) = {args["reserved_bytes"] for args in counted}
    assert most <= reserved <= memory["reserved_bytes"]["p90"]


def test_a_kernel_says_its_shapes_and_work():
    document = traced(Question(**QUESTIONS["two"]))
    product = next(e for e in complete(document, DEVICE) if e["name"].startswith("aten.mm."))
    assert product["cat"] == "matmul" and product["args"]["flops"] > 0
    assert "bfloat16[" in product["args"]["shapes"] and "→" in product["args"]["shapes"]
    assert product["args"]["module"].startswith("model.layers.0.")


ASKED = ["trace", "bert-base-uncased", "--samples", "900", "--tokens-per-sample", "100", "--gpu",
         "h100", "--strategy", "fine_tune"]  # fmt: skip


def test_a_zipped_file_holds_the_same(tmp_path, capsys):
    plain, zipped = tmp_path / "step.json", tmp_path / "step.json.gz"
    assert run([*ASKED, "-o", str(plain)]) == 0 and run([*ASKED, "-o", str(zipped)]) == 0
    assert gzip.decompress(zipped.read_bytes()) == plain.read_bytes()
    assert "ui.perfetto.dev" in capsys.readouterr().out


def test_json_is_the_trace_itself(tmp_path, capsys):
    assert run([*ASKED, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["traceEvents"] and shown["otherData"]["model"] == "bert-base-uncased"


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "Missing option '-o'"),
        (["-o", "step.txt"], "is no trace. End it in .json or .json.gz"),
        (["-o", "/nowhere/step.json"], "no such folder"),
    ],
)
def test_bad_input_is_one_line(arguments, said, capsys):
    assert run([*ASKED, *arguments]) == 2
    shown = capsys.readouterr().err
    assert said in shown and shown.strip().count("\n") == 0
