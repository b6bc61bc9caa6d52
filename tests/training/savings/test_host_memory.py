"""An optimizer of the host, gradients that leave, weights that come for their block."""

from dataclasses import replace

import numpy as np
import pytest

from planner.devices.lookup import resolve_device
from planner.devices.processors import host_bytes_per_s
from planner.memory.lifetimes import GRADIENTS, steady_step
from planner.memory.peak import replay
from planner.models.resolve import resolve
from planner.plan.steps.point import evaluate
from planner.question.setup import TracedSettings
from planner.step_time.clock import StepClock
from planner.trace.source import trace_for
from planner.training.host_memory import together
from planner.training.recipe import recipe_of

POINT = {"B": 2, "S": 64}
BLOCKS = 12  # of gpt2


def recipe(**changed):
    settled = {"strategy": "fine_tune", "task": "causal_lm", "precision": "bf16"}
    return recipe_of(TracedSettings(**settled | {"optimizer": "adamw_fused"} | changed))


def trace(**changed):
    return trace_for(resolve("gpt2", offline=True), recipe(**changed)).at(**POINT)


def moved(trace, name):
    """Bytes that operations of this name read, at the point."""
    from planner.operations.registry import cost

    found = 0.0
    for number, signature in enumerate(trace.signatures):
        if signature.op.startswith(f"planner.{name}."):
            done = cost(signature, trace.dims(**POINT))
            times = int(trace.counts[number].sum())
            found += times * float(done.read_bytes + done.write_bytes)
    return found


def test_states_are_the_host_s_in_the_number_format_of_whose_software_it_is():
    """torchao: a weight, a gradient and two moments of 2 bytes; DeepSpeed: the same of 4, and the
    weight of 16 bits."""
    plain, narrow, wide = (
        trace(),
        trace(offload=("optimizer",)),
        trace(offload=("optimizer",), precision="amp_bf16"),
    )
    count = plain.meta["trainable_params"]
    assert narrow.meta["host_bytes"] == pytest.approx(8 * count, rel=1e-4)
    assert wide.meta["host_bytes"] == pytest.approx(18 * count, rel=1e-4)
    assert narrow.meta["host_state_bytes"] == pytest.approx(4 * count, rel=1e-4)
    assert moved(narrow, "host_update") == pytest.approx(14 * count, rel=1e-4)
    assert moved(wide, "host_update") == pytest.approx(42 * count, rel=1e-4)
    weights = 2 * count
    before, after = replay(plain, POINT), replay(narrow, POINT)
    assert before.breakdown["optimizer"] >= 2 * weights and after.breakdown["optimizer"] == 0
    # weights of mixed precision are of 16 bits here
    assert replay(wide, POINT).breakdown["weights"] == after.breakdown["weights"]


def test_each_gradient_is_copied_once_and_each_weight_comes_back():
    narrow = trace(offload=("optimizer",))
    wide = trace(offload=("optimizer",), precision="amp_bf16")
    count = narrow.meta["trainable_params"]
    assert moved(narrow, "offload") == 2 * count and moved(narrow, "restore") == 2 * count
    assert moved(wide, "offload") == 4 * count and moved(wide, "upload") == 2 * count


def test_gradients_that_leave_are_not_there_at_the_update_and_add_up_elsewhere():
    stays, leaves = trace(offload=("optimizer",)), trace(offload=("optimizer", "gradients"))
    update = int(np.flatnonzero(stays.op_phase == stays.op_phase.max())[0])
    assert ((stays.category == GRADIENTS) & (stays.death >= update)).any()
    assert not ((leaves.category == GRADIENTS) & (leaves.death >= update)).any()
    # one after the other: no micro-batch keeps those of the one before
    schedules = steady_step(leaves, 2)
    for schedule in schedules:
        events = schedule.storage
        made = {int(e) for e in events if e >= 0}
        gone = {int(~e) for e in events if e < 0}
        gradients = set(np.flatnonzero(leaves.category == GRADIENTS).tolist())
        assert gradients and gradients <= made and gradients <= gone
    peak = replay(leaves, POINT, accumulation=2).allocated_bytes
    assert peak == replay(leaves, POINT).allocated_bytes


@pytest.mark.parametrize("checkpointing", ["none", "full"])
def test_weights_of_two_blocks_at_most_are_there(checkpointing):
    kept = trace(gradient_checkpointing=checkpointing)
    away = trace(offload=("weights",), gradient_checkpointing=checkpointing)
    count = away.meta["trainable_params"]
    weights = away.category == 0
    size = away.storage_bytes(away.dims(**POINT))[away.size]
    assert size[weights & (away.birth < 0)].sum() < 0.01 * 2 * count + 2**22  # masks and the like
    live = np.zeros(away.op_count + 1)
    for birth, death, each in zip(
        away.birth[weights], away.death[weights], size[weights], strict=True
    ):
        live[max(int(birth), 0) : int(death) + 1] += each
    block = 2 * (7_087_872)  # parameters of one block of gpt2
    table = 2 * 50257 * 768
    assert 2 * block <= live.max() <= 2 * block + 2 * table
    fetched = moved(away, "fetch")
    # of the forward and of the backward pass; the table is the head's too
    assert 2 * 2 * count <= fetched <= 2 * (2 * count + 2 * table)
    assert replay(away, POINT).allocated_bytes < replay(kept, POINT).allocated_bytes


def test_only_the_update_of_the_host_waits_for_its_cores():
    spec = resolve_device("rtx-4090").spec
    wide = trace(offload=("optimizer", "gradients"), precision="amp_bf16")
    count = wide.meta["trainable_params"]

    def update(cores):
        clock = StepClock(replace(spec, host_cores=cores))
        time = clock.price(wide, wide.dims(**POINT), precision="amp_bf16")
        return float(time.by_kind["host_update"])

    few, many = update(4), update(16)
    difference = 42 * count * (1 / host_bytes_per_s(4) - 1 / host_bytes_per_s(16))
    assert few - many == pytest.approx(difference, rel=1e-3)
    assert host_bytes_per_s(None) == host_bytes_per_s(10**6) > host_bytes_per_s(4)


def test_words_that_belong_together_come_together():
    assert together(["weights"]) == ("weights", "optimizer", "gradients")
    assert recipe(offload=("weights",)).updates_on_host
    assert recipe(offload=("activations",)).recorded == recipe(offload=("activations",))
    wide = recipe(offload=("optimizer",), precision="amp_fp16")
    assert wide.recorded.precision == "fp16" and wide.precision == "amp_fp16"
    assert recipe(offload=("optimizer", "gradients")).updates_once and not wide.updates_once
    assert not recipe(offload=("weights",)).updates_once


#: torchao/optim/README.md: ViT-giant of 1.1B, bf16, checkpointing, 32 images, RTX 4070 Ti SUPER.
PUBLISHED = {(): 9.82, ("optimizer",): 5.24, ("optimizer", "gradients"): 4.01}


@pytest.mark.parametrize("offload", PUBLISHED)
def test_memory_is_what_torchao_published(offload):
    facts = resolve("timm:vit_giant_patch14_dinov2", offline=True)
    asked = recipe(
        task=facts.task,
        gradient_checkpointing="full",
        offload=offload or None,
        image_size=224,
        classes=45,
    )
    found = evaluate(facts, asked, resolve_device("rtx-4070-ti-super").spec, micro_batch=32)
    assert found.allocated_bytes.p50 / 1e9 == pytest.approx(PUBLISHED[offload], rel=0.02)
