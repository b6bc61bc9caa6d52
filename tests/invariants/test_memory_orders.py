"""Memory over every recipe that ships, at every batch and length of a grid: what must never hold
more than what."""

import pytest
import shipped

from planner.devices.lookup import find_device
from planner.memory.peak import replay
from planner.parallel.plan import ALONE
from planner.plan.placement.grid import Grids
from planner.plan.placement.search import prove
from planner.plan.placement.variants import variants

#: Every shipped trace is read for these, which asks no clock and no price.
OVER_ALL = pytest.mark.slow

SAME = 1e-9
#: Frozen blocks under transformers' checkpointing: ``activation_checkpointing_enable`` makes the
#: embeddings' output require gradients, so that gradients flow through all blocks: they are
#: computed again and their inputs kept, which plain training of the last blocks needs not.
FROZEN = ("partial_fine_tune", "feature_extraction")
#: Parameters from which there is more to a model than one block: in smaller ones what a block that
#: is computed again adds to the peak can be more than it spares.
HEAVY = 30_000_000
#: Parameters from which the blocks are most of a model: PEFT prepares in float32 what is not stored
#: in 4 bits, embeddings first.
MOSTLY_BLOCKS = 200_000_000


@OVER_ALL
def test_qlora_s_weights_are_no_more_than_lora_s():
    seen = 0
    for qlora, lora in shipped.pairs({"strategy": "qlora"}, {"strategy": "lora"}):
        if qlora.policy == lora.policy and qlora.parameters >= MOSTLY_BLOCKS:
            own, other = (step.state_bytes(2, 64, "weights") for step in (qlora, lora))
            if own and other:
                assert own <= other * (1 + SAME), qlora
                seen += 1
    assert seen > 8


@OVER_ALL
@pytest.mark.parametrize("strategy", ["lora", "qlora", "partial_fine_tune", "feature_extraction"])
def test_what_trains_less_holds_less(strategy):
    """Under checkpointing in all; without it the state alone, for adapters: PEFT keeps them in
    float32, and with them a float32 copy of each input in 16 bits, which at long batches weighs
    more than full tuning's optimizer. Under it too where the batch is so large that full tuning's
    states are not half of its peak. QLoRA's state alone: what PEFT prepares is float32 but for the
    4-bit weights, the logits as well."""
    adapters, seen = strategy in ("lora", "qlora"), 0
    for own, full in shipped.pairs({"strategy": strategy}, {"strategy": "fine_tune"}):
        if own.policy != full.policy:
            continue
        state = [step.state_bytes(2, 64, "weights", "optimizer") for step in (own, full)]
        if all(state):
            assert state[0] <= state[1] * (1 + SAME), own
        seen += 1
        if strategy == "qlora" or adapters and own.policy == "none":
            continue
        for batch, length in shipped.points(own.model):
            live = [step.live_bytes(batch, length) for step in (own, full)]
            states_weigh = not adapters or all(live) and state[1] and state[1] > live[1] / 2
            if all(live) and states_weigh:
                assert live[0] <= live[1] * (1 + SAME), (own, batch, length)
                seen += 1
    assert seen > 10


@OVER_ALL
def test_checkpointing_never_holds_more():
    """Live bytes; what the allocator makes of them is below. Where a peak lies outside the blocks
    (the optimizer's, or the logits') both hold the same."""
    seen = 0
    for full, none in shipped.pairs({"policy": "full"}, {"policy": "none"}):
        if full.strategy != none.strategy or full.strategy in FROZEN or none.parameters < HEAVY:
            continue
        for batch, length in shipped.points(full.model):
            live = [step.live_bytes(batch, length) for step in (full, none)]
            if all(live):
                # a block's input and output beside its own activations, where one block is nearly
                # all there is
                assert live[0] <= live[1] * 1.005, (full, batch, length, live[0] / live[1])
                seen += 1
    assert seen > 300


@OVER_ALL
def test_no_recomputed_block_leaves_anything_behind():
    """Casts of weights end with the block that is computed again, as torch's cache of them does at
    the end of the outermost autocast block."""
    seen = 0
    for step in shipped.steps():
        if step.policy == "full":
            for batch in (1, 2):
                trace = step.trace(batch, 64)
                if trace is None:
                    continue
                recompute = trace.op_phase[trace.birth] == shipped.PHASE["recompute"]
                left = (trace.birth >= 0) & recompute & (trace.death >= trace.op_count)
                assert not left.any(), step
                seen += 1
    assert seen > 50


@OVER_ALL
def test_a_larger_batch_and_a_longer_one_never_hold_less():
    seen = 0
    for step in shipped.steps():
        live = {at: step.live_bytes(*at) for at in shipped.points(step.model)}
        for (batch, length), size in live.items():
            for (other, longer), more in live.items():
                if size and more and other >= batch and longer >= length:
                    assert size <= more * (1 + SAME), (step, batch, length, other, longer)
                    seen += 1
    assert seen > 5000


@pytest.mark.slow
def test_the_allocator_holds_little_more_under_checkpointing():
    """Reserved memory is what is live and what the allocator cannot use: many short-lived blocks of
    recomputation leave it up to a tenth, in the real allocator too, whose rules the replay follows
    (``tests/memory``)."""
    seen = 0
    for full, none in shipped.pairs({"policy": "full"}, {"policy": "none"}):
        if full.strategy != none.strategy or full.strategy in FROZEN:
            continue
        for batch, length in ((1, 64), (4, 512)):
            traces = [step.trace(batch, length) for step in (full, none)]
            if all(traces):
                point = {"B": batch, "S": length, "T": shipped.TARGET}
                held = [replay(trace, point).reserved_bytes for trace in traces]
                assert held[0] <= held[1] * 1.1, (full, batch, length, held[0] / held[1])
                seen += 1
    assert seen > 50


@pytest.mark.parametrize(
    "model, strategy, gpu",
    [
        ("distilbert-base-uncased", "partial_fine_tune", "rtx-3060-12"),
        ("bert-base-uncased", "partial_fine_tune", "rtx-3060-12"),
        ("gpt2", "fine_tune", "rtx-3060-12"),
        ("Llama-3.2-1B", "lora", "rtx-3060-12"),
    ],
)
def test_the_search_takes_checkpointing_only_where_it_holds_less(model, strategy, gpu):
    problem, spec = shipped.problem_of(model, global_batch=64), find_device(gpu)
    (variant,) = variants(problem, strategy, spec)
    grids = list(Grids(problem, (ALONE,)).of(variant.stages[0], spec))
    settled = prove(grids, ALONE).setting
    if settled.recipe.gradient_checkpointing == "none":
        return
    plain = grids[0].proven(settled.micro_batch, ALONE)
    assert settled.proven_memory.device_used_bytes.p50 < plain.proven_memory.device_used_bytes.p50
