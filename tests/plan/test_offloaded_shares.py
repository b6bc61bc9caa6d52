"""Devices that share state, with their parts in the host's memory."""

import numpy as np
import pytest

from planner import estimate
from planner.errors import QuestionError
from planner.operations.registry import cost
from planner.plan.inputs.hardware import find_hardware
from planner.plan.inputs.problem import understand
from planner.plan.survey.survey import survey
from planner.question import Question

EIGHT = dict(
    model="Llama-3.2-1B",
    samples=1000,
    tokens_per_sample=400,
    gpu="a100-80gb-sxm",
    gpus=8,
    price=1.5,
    strategy=["fine_tune"],
    micro_batch=1,
    global_batch=16,
    precision="amp_bf16",
    gradient_checkpointing="none",
)
WAYS = [
    ("fsdp", ["weights"]),
    ("zero1", ["optimizer"]),
    ("zero2", ["optimizer", "gradients"]),
    ("zero3", ["optimizer", "gradients"]),
    ("zero3", ["weights"]),
]


def option(**fields):
    question = EIGHT | fields
    return estimate(question.pop("model"), **question)["options"][0]


def trace_of(**fields):
    question = Question(**EIGHT | fields)
    problem = understand(question)
    found = survey(problem, find_hardware(question), counts=(question.gpus,))
    setting = found.cheapest("fine_tune").placement.setting
    point = {"B": setting.micro_batch, **setting.mean}
    trace = setting.source.at(**point)
    return trace, trace.dims(**point)


def moved(trace, dims, name):
    found = 0.0
    for number, signature in enumerate(trace.signatures):
        if signature.op == f"planner.{name}.default":
            done = cost(signature, dims)
            times = int((trace.op_signature == number).sum())
            found += times * float(done.read_bytes + done.write_bytes)
    return found


@pytest.mark.parametrize(("way", "words"), WAYS)
def test_it_takes_less_of_the_device_and_more_time(way, words):
    plain, away = option(parallel=way), option(parallel=way, offload=words)
    for name in ("allocated_bytes", "reserved_bytes"):
        assert away["memory"][name]["p50"] < plain["memory"][name]["p50"]
    assert away["step"]["seconds"]["p50"] > plain["step"]["seconds"]["p50"]
    assert away["memory"]["breakdown"]["optimizer"] == 0 < plain["memory"]["breakdown"]["optimizer"]
    breakdown = away["memory"]["breakdown"]
    used = away["memory"]["device_used_bytes"]["p50"]
    assert sum(breakdown.values()) == pytest.approx(used)


def test_parameters_too_take_less_than_the_optimizer_alone():
    memory = {
        words: option(parallel="zero3", offload=[words])["memory"]["allocated_bytes"]["p50"]
        for words in ("optimizer", "weights")
    }
    assert memory["weights"] < memory["optimizer"]


@pytest.mark.parametrize(("way", "words"), WAYS)
def test_more_devices_hold_and_move_smaller_parts(way, words):
    held = {n: option(parallel=way, offload=words, gpus=n) for n in (2, 4, 8)}
    bytes_of = [held[n]["memory"]["host_bytes"] * n for n in (2, 4, 8)]
    assert bytes_of == pytest.approx([bytes_of[0]] * 3, rel=0.01)
    parameters = 1.236e9
    # float32 states of AdamW, and as much as each software holds beside them
    each = 8 + 8 + (0 if way == "fsdp" else 2)
    assert bytes_of[0] == pytest.approx(each * parameters, rel=0.02)


@pytest.mark.parametrize(("way", "words"), WAYS)
def test_what_crosses_pci_express(way, words):
    trace, dims = trace_of(parallel=way, offload=words)
    part = 1.236e9 / 8
    assert moved(trace, dims, "offload") == pytest.approx(4 * part, rel=0.02)
    comes = "weights" in words
    assert moved(trace, dims, "upload") == pytest.approx(0 if comes else 2 * part, rel=0.02)
    # every block twice, the root once: torch keeps float32, DeepSpeed sends its 16 bits
    twice = moved(trace, dims, "fetch") / ((4 if way == "fsdp" else 2) * part)
    assert (1.5 < twice <= 2.01) if comes else twice == 0


@pytest.mark.parametrize(("way", "words"), WAYS)
def test_nothing_of_the_trace_is_out_of_order(way, words):
    trace, _ = trace_of(parallel=way, offload=words)
    assert (trace.death >= trace.birth).all() and trace.death.max() <= trace.op_count
    assert not ((trace.birth < 0) & (trace.category == 2)).any()
    assert np.isin(np.unique(trace.op_phase), range(6)).all()


def test_torch_updates_operation_by_operation_unless_it_is_fused():
    slow, fast = (
        option(parallel="fsdp", offload=["weights"], optimizer=name)["step"]["seconds"]["p50"]
        for name in ("adamw", "adamw_fused")
    )
    assert fast < slow


def test_it_is_said_whose_software_it_is():
    question = EIGHT | {"parallel": "fsdp", "offload": ["weights"]}
    lines = [line["text"] for line in estimate(question.pop("model"), **question)["first_lines"]]
    assert any("FSDP2's CPUOffloadPolicy" in text for text in lines)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"parallel": "fsdp", "offload": ["optimizer"]}, "moves parameters, gradients and states"),
        ({"parallel": "zero2", "offload": ["weights"]}, "offload_param is of stage 3"),
        ({"offload": ["optimizer"]}, "planned where they share state"),
        ({"parallel": "zero3", "offload": ["activations"]}, "activations"),
    ],
)
def test_what_no_software_does_is_refused(fields, why):
    with pytest.raises(QuestionError, match=why):
        option(**fields)
