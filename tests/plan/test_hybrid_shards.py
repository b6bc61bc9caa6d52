"""State shared by some of the devices, in copies over the rest."""

import pytest

from planner import estimate
from planner.devices.lookup import find_device
from planner.errors import QuestionError
from planner.parallel.plan import ParallelPlan, hybrid
from planner.plan.survey.layouts import Layouts
from planner.question import Question

SIXTEEN = dict(
    model="gpt2",
    samples=10_000,
    tokens_per_sample=400,
    gpu="h100",
    gpus=16,
    price=2.0,
    strategy=["fine_tune"],
    micro_batch=4,
    global_batch=64,
)


def asked(**fields):
    question = SIXTEEN | fields
    return estimate(question.pop("model"), **question)


def step_of(**fields):
    return asked(**fields)["options"][0]["step"]


def test_shared_by_all_is_the_full_shard():
    assert asked(shard_devices=16)["options"] == asked(parallel="fsdp")["options"]
    assert hybrid(16, 16) == ParallelPlan(dp_shard=16, sharding="fsdp")


def test_shared_by_one_is_copies():
    assert asked(shard_devices=1)["options"] == asked(parallel="ddp")["options"]
    assert hybrid(16, 1) == ParallelPlan(dp_replicate=16)


def test_fewer_devices_to_a_copy_hold_more_of_it():
    held = [step_of(shard_devices=n)["sharing"]["held_bytes"]["optimizer"] for n in (2, 4, 8, 16)]
    for more, less in zip(held, held[1:], strict=False):
        assert less < more <= 2.01 * less


def test_a_machine_shares_by_itself_and_sends_less_between_machines():
    large = {"model": "Llama-3.1-8B", "gpus": 64, "micro_batch": 1, "samples": 1000}
    large |= {"gpu": "a100-sxm-80", "provider": "gcp", "price": None}  # 100 Gb/s a machine
    sharing = step_of(parallel="hsdp", **large)["sharing"]
    assert (sharing["dp_replicate"], sharing["dp_shard"], sharing["plan"]) == (8, 8, "fsdp")
    full = step_of(parallel="fsdp", **large)["sharing"]
    assert sharing["sending_seconds"] < 0.7 * full["sending_seconds"]


def test_what_is_shared_and_copied_stands_in_the_first_lines():
    lines = [line["text"] for line in asked(parallel="hsdp")["first_lines"]]
    (line,) = [text for text in lines if text.startswith("16 devices: fsdp;")]
    assert "in 8 parts" in line and "2 such groups are copies that sum their gradients" in line


def test_machines_that_are_asked_for_share():
    sharing = step_of(parallel="hsdp", nodes=4)["sharing"]
    assert (sharing["dp_replicate"], sharing["dp_shard"]) == (4, 4)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"shard_devices": 3}, "shard_devices: 16 devices do not divide.*1, 2, 4, 8, 16"),
        ({"shard_devices": 4, "parallel": "zero2"}, "its state is shared by all devices"),
        ({"shard_devices": 4, "parallel": "ddp"}, "every device has a whole copy"),
        ({"gpus": 12, "parallel": "hsdp"}, "12 devices do not divide"),
        ({"nodes": 3}, "16 devices do not divide among 3 machines"),
    ],
)
def test_what_contradicts_itself_is_refused_in_a_line(fields, why):
    with pytest.raises(QuestionError, match=why) as found:
        asked(**fields)
    assert "\n" not in str(found.value)


def test_machines_without_a_number_of_devices_are_refused():
    with pytest.raises(QuestionError, match="not how many devices they have.*gpus"):
        estimate("gpt2", samples=10, tokens_per_sample=10, gpu="h100", nodes=2)


def test_tensor_parallel_ranks_are_inside_what_is_shared():
    question = Question(
        model="gpt2", samples=1, gpus=32, tensor_parallel=4, parallel="hsdp", shard_devices=2
    )
    ((plan,),) = Layouts(question, (32,)).of(32, find_device("h100"))
    assert plan == ParallelPlan(dp_replicate=4, dp_shard=2, tp=4, sharding="fsdp")


def test_one_device_has_nothing_to_share():
    lines = [line["text"] for line in asked(gpus=1, shard_devices=4)["first_lines"]]
    assert any("4 has no effect: one device has nothing to share" in text for text in lines)


def test_counts_that_nobody_asked_for_are_left_out_where_they_do_not_divide():
    question = Question(model="gpt2", samples=1, shard_devices=4)
    layouts = Layouts(question, (1, 2, 4, 8))
    ways = {n: layouts.of(n, find_device("h100")) for n in layouts.counts}
    assert [len(ways[n]) for n in (1, 2, 4, 8)] == [1, 0, 1, 1]
