"""Expert parallelism: what a device has of the experts, sends and waits for."""

import json
from dataclasses import replace

import numpy as np
import pytest

from planner import tables
from planner.devices.lookup import find_device
from planner.errors import QuestionError
from planner.memory.peak import peak_allocated
from planner.models.resolve import resolve
from planner.parallel.data_parallel import exposed_seconds, gradient_seconds
from planner.parallel.model.exchanges import WAITS, expert_seconds, expert_sent_bytes
from planner.parallel.model.experts import expert_gradient_bytes, is_of_experts, sending_of
from planner.parallel.model.narrow import stage_layers
from planner.parallel.model.sequence import TENSOR
from planner.parallel.network.network import collective_seconds
from planner.parallel.network.which import network_of
from planner.parallel.parts import part_source
from planner.parallel.plan import ParallelPlan, plans_for
from planner.parallel.ranks import check_split, rank_facts, rank_source, stage_facts, stages_of
from planner.parallel.shared_time import shared_time
from planner.parallel.source import collectives_of, shared_source
from planner.step_time.clock import StepClock
from planner.trace.source import trace_for
from planner.trace.table import CATEGORIES
from planner.training.recipe import Recipe

ROWS = tables.rows("parallel", "stages.csv")
STAGED = {row["model_type"] for row in ROWS}
NARROWED = {row["model_type"] for row in ROWS if row["heads"]}
LAYERS, HIDDEN, EXPERTS, CHOSEN, INNER = 3, 256, 16, 2, 128
CONFIG = {
    "hidden_size": HIDDEN,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "intermediate_size": 704,
    "moe_intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "vocab_size": 4096,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "num_experts": EXPERTS,
    "num_local_experts": EXPERTS,
    "num_experts_per_tok": CHOSEN,
    "pad_token_id": 0,
}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "num_key_value_heads": 8,
    "n_routed_experts": EXPERTS,
    "n_shared_experts": 1,
    "q_lora_rank": 64,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "head_dim": 16,
}
POINT = {"B": 2, "S": 512}
SPEC = find_device("h100-sxm")
#: Bytes of all experts of a layer in bf16.
OF_A_LAYER = 2 * EXPERTS * 3 * INNER * HIDDEN


def made(folder, **config):
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    return resolve(str(folder), task="causal_lm", offline=True)


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    return made(tmp_path_factory.mktemp("mixture"), model_type="qwen3_moe")


@pytest.fixture(scope="module")
def recipe():
    return Recipe(
        task="causal_lm",
        strategy="scratch",
        optimizer="adamw",
        precision="bf16",
        attention="flash",
        gradient_checkpointing="none",
    )


@pytest.fixture(scope="module")
def source_of(facts, recipe):
    def made(policy="none", **degrees):
        plan, asked = ParallelPlan(**degrees), replace(recipe, gradient_checkpointing=policy)
        source = trace_for(facts, asked)
        if plan.is_parted:
            source = part_source(source, plan.unshared)
        return shared_source(source, asked, plan) if plan.sharding else source

    return made


def traced(source):
    return source.at(**POINT)


def held(trace, category):
    """Bytes between two steps: (of experts, of the rest)."""
    there = (trace.birth < 0) & (trace.category == CATEGORIES.index(category))
    own = np.array([is_of_experts(trace, shape) for shape, _ in trace.sizes])[trace.size[there]]
    sizes = trace.storage_bytes(trace.dims(**POINT))[trace.size[there]]
    return int(sizes[own].sum()), int(sizes[~own].sum())


def timed(trace, **degrees):
    how = {"precision": "bf16", "compiled": False, "parallel": ParallelPlan(**degrees)}
    return shared_time(StepClock(SPEC), trace, trace.dims(**POINT), **how)


@pytest.mark.parametrize("ranks", [2, 4, 16])
def test_the_experts_of_all_devices_are_the_models(source_of, ranks):
    whole, own = traced(source_of()), traced(source_of(dp_replicate=16, ep=ranks))
    assert held(own, "weights")[0] * ranks == LAYERS * OF_A_LAYER
    for category, times in (("weights", 1), ("optimizer", 2)):
        of_experts, rest = held(own, category)
        assert of_experts * ranks == times * LAYERS * OF_A_LAYER
        assert ranks * of_experts + rest == sum(held(whole, category)), category
    assert expert_gradient_bytes(own) * ranks == LAYERS * OF_A_LAYER
    rest = own.meta["gradient_bytes"] - expert_gradient_bytes(own)
    assert rest + LAYERS * OF_A_LAYER == whole.meta["gradient_bytes"]


@pytest.mark.parametrize("ranks", [2, 4, 16])
def test_work_is_conserved_in_larger_groups(source_of, ranks):
    whole, own = traced(source_of()), traced(source_of(dp_replicate=16, ep=ranks))
    a, b = timed(whole), timed(own, dp_replicate=16, ep=ranks)
    assert b.model_flops == a.model_flops
    assert b.by_kind["matmul"] < a.by_kind["matmul"]  # fewer weights are read
    assert b.by_kind["optimizer"] < a.by_kind["optimizer"]


@pytest.mark.parametrize(("policy", "times"), [("none", (2, 2)), ("full", (2, 4))])
def test_a_layer_sends_its_tokens_there_and_back_in_each_pass(source_of, policy, times):
    trace = traced(source_of(policy, dp_replicate=8, ep=8))
    sending, dims = sending_of(trace), trace.dims(**POINT)
    assert sending is not None
    assert sending.exchanges == tuple(LAYERS * n for n in times)
    rows = POINT["B"] * POINT["S"] * CHOSEN * HIDDEN * 2
    assert expert_sent_bytes(trace, dims) == sum(times) * LAYERS * rows * 7 / 8
    network = network_of(SPEC, 8)
    each = collective_seconds("all_to_all", rows, 8, network)
    counts = LAYERS * collective_seconds("all_gather", 8 * EXPERTS * 8, 8, network)
    forward, backward = expert_seconds(trace, dims, network)
    assert forward == pytest.approx(LAYERS * 2 * each + counts)
    assert backward == pytest.approx(LAYERS * times[1] * each)
    time = timed(trace, dp_replicate=8, ep=8)
    assert time.by_kind[WAITS] == pytest.approx(forward + backward)
    assert time.seconds == pytest.approx(
        time.forward_seconds + time.backward_seconds + time.optimizer_seconds
    )


def test_memory_falls_with_the_experts(source_of):
    def peak(**degrees):
        trace = traced(source_of(**degrees))
        return float(peak_allocated(trace, trace.dims(**POINT)))

    peaks = [peak(dp_replicate=16, ep=ranks) for ranks in (1, 2, 4, 8, 16)]
    assert peaks == sorted(peaks, reverse=True)
    # weights and two states of fifteen sixteenths at the least, gradients too at the most
    gone = LAYERS * OF_A_LAYER * 15 / 16
    assert 2.5 * gone < peaks[0] - peaks[-1] <= 4 * gone


def test_gradients_of_experts_are_summed_over_fewer_devices(source_of):
    plan = ParallelPlan(dp_replicate=16, ep=4)
    trace = traced(source_of(dp_replicate=16, ep=4))
    own = expert_gradient_bytes(trace)
    rest = trace.meta["gradient_bytes"] - own
    sums = exposed_seconds(rest, 16, SPEC, 1.0) + exposed_seconds(own, 4, SPEC, 1.0, 4)
    assert gradient_seconds(trace, plan, SPEC, 1.0) == pytest.approx(sums)
    alone = traced(source_of(dp_replicate=16, ep=16))
    rest = alone.meta["gradient_bytes"] - expert_gradient_bytes(alone)
    assert gradient_seconds(alone, ParallelPlan(dp_replicate=16, ep=16), SPEC, 1.0) == (
        pytest.approx(exposed_seconds(rest, 16, SPEC, 1.0))
    )


@pytest.mark.parametrize("sharding", ["fsdp", "zero1", "zero2", "zero3"])
def test_state_of_experts_is_shared_by_those_that_hold_the_same(source_of, sharding):
    one = traced(source_of(dp_shard=8, sharding=sharding))
    own = traced(source_of(dp_shard=8, sharding=sharding, ep=4))
    assert sum(held(own, "optimizer")) == pytest.approx(sum(held(one, "optimizer")), rel=1e-3)
    sent = collectives_of(own)
    every = (*sent.micro_batch, *sent.update)
    experts = sum(c.size_bytes for c in every if c.of_experts and c.kind == "all_gather")
    passes = 2 if sharding in ("fsdp", "zero3") else 1
    assert experts == passes * LAYERS * OF_A_LAYER / 4
    before = collectives_of(one)
    gathered = sum(
        c.size_bytes for c in (*before.micro_batch, *before.update) if c.kind == "all_gather"
    )
    rest = sum(c.size_bytes for c in every if not c.of_experts and c.kind == "all_gather")
    assert rest + 4 * experts == gathered


def test_one_device_of_experts_is_no_other_plan(source_of, facts, recipe):
    alone, one = traced(source_of()), traced(source_of(dp_replicate=4, ep=1))
    assert np.array_equal(alone.op_signature, one.op_signature)
    assert np.array_equal(alone.size, one.size) and sending_of(one) is None
    plain, parted = source_of(dp_shard=4, sharding="fsdp"), ParallelPlan(dp_replicate=4)
    same = shared_source(part_source(trace_for(facts, recipe), parted), recipe, plain.parallel)
    assert traced(same).op_count == traced(plain).op_count


@pytest.mark.parametrize(
    "config",
    [{"model_type": name} for name in ("mixtral", "qwen2_moe", "gpt_oss", "olmoe", "granitemoe")]
    + [DEEPSEEK],
    ids=lambda config: config["model_type"],
)
def test_families_are_cut_without_their_names(config, recipe, tmp_path):
    facts = made(tmp_path, **config)
    source = trace_for(facts, recipe)
    whole, own = traced(source), traced(part_source(source, ParallelPlan(dp_replicate=4, ep=4)))
    of_experts, rest = held(own, "weights")
    assert of_experts and 4 * of_experts + rest == sum(held(whole, "weights"))
    gone = whole.meta["gradient_bytes"] - own.meta["gradient_bytes"]
    assert gone == 3 * expert_gradient_bytes(own)
    assert timed(own, dp_replicate=4, ep=4).model_flops == timed(whole).model_flops


def test_what_cannot_be_spread_is_refused_in_one_line(source_of, recipe, facts):
    with pytest.raises(QuestionError, match="16 experts do not divide among 32 devices"):
        traced(source_of(dp_replicate=32, ep=32))
    with pytest.raises(QuestionError, match="does not divide the 6 devices of its copies"):
        ParallelPlan(dp_replicate=6, ep=4).checked()
    with pytest.raises(QuestionError, match="multiple of 8"):
        plans_for(12, None, ParallelPlan(ep=8))
    with pytest.raises(QuestionError, match="adapters"):
        part_source(
            trace_for(facts, replace(recipe, strategy="lora")), ParallelPlan(dp_replicate=2, ep=2)
        )
    dense = trace_for(resolve("gpt2"), recipe)
    with pytest.raises(QuestionError, match="no grouped products of routed experts"):
        part_source(dense, ParallelPlan(dp_replicate=2, ep=2)).at(**POINT)


def test_copies_make_no_other_step_of_a_device():
    """What a search looks at together: plans that a device's own step is the same under."""
    assert ParallelPlan().shared == ParallelPlan(dp_replicate=8).shared
    assert ParallelPlan(cp=2).shared == ParallelPlan(cp=2, dp_replicate=8).shared
    apart = ParallelPlan(dp_replicate=8, ep=4), ParallelPlan(dp_replicate=16, ep=4)
    assert apart[0].shared != apart[1].shared  # experts' gradients are summed over others


def test_experts_borrow_devices_and_add_none():
    (plan,) = plans_for(16, "fsdp", ParallelPlan(tp=2, ep=8))
    assert (plan.devices, plan.dp_shard, plan.lenders, plan.same_experts) == (16, 8, 16, 2)
    assert [p.sharding for p in plans_for(8, None, ParallelPlan(ep=8))] == ["", "fsdp"]


@pytest.mark.parametrize(
    ("layers", "stages", "expected"),
    [
        (126, 8, (15, 16, 15)),  # Llama 3 405B (arXiv 2407.21783, 3.3.2)
        (94, 8, (11, 12, 11)),
        (61, 16, (3, 4, 2)),
        (61, 2, (31, 32, 30)),
        (32, 4, (8, 8, 8)),
        (5, 4, (2, 1, 1)),
        (4, 3, (1, 2, 1)),
    ],
)
def test_ends_have_less_where_layers_do_not_divide(layers, stages, expected):
    assert stage_layers(layers, stages) == expected
    assert expected[0] + expected[1] * (stages - 2) + expected[2] == layers


@pytest.mark.parametrize("model_type", sorted(STAGED))
def test_stages_have_the_experts_among_them(model_type, recipe, tmp_path):
    own = DEEPSEEK if model_type == "deepseek_v3" else {}
    facts = made(tmp_path, **{**own, "model_type": model_type, "num_hidden_layers": 5})
    plan = ParallelPlan(dp_replicate=4, pp=3, ep=4)
    check_split(facts, recipe, False, plan)
    whole = trace_for(facts, recipe)
    first, *others = (trace_for(one, recipe) for one in stage_facts(facts, plan))
    staged = part_source(rank_source(whole, first, plan, tuple(others)), plan).at(**POINT)
    traces, one = (staged, *stages_of(staged)), traced(whole)
    for category in ("weights", "optimizer"):
        of_experts, rest = (sum(n) for n in zip(*(held(t, category) for t in traces), strict=True))
        assert 4 * of_experts + rest == pytest.approx(sum(held(one, category)), rel=1e-3)
    time = timed(staged, dp_replicate=4, pp=3, ep=4)
    assert 3 * time.model_flops == pytest.approx(timed(one).model_flops, rel=1e-6)
    assert time.by_kind[WAITS] > 0
    shared = ParallelPlan(dp_shard=4, pp=3, ep=4, sharding="zero1")
    cut = shared_source(
        part_source(rank_source(whole, first, plan, tuple(others)), plan), recipe, shared
    )
    assert timed(cut.at(**POINT), dp_shard=4, pp=3, ep=4, sharding="zero1").seconds > 0


@pytest.mark.parametrize("model_type", sorted(NARROWED))
def test_tensor_parallel_ranks_send_their_own_tokens(model_type, recipe, tmp_path):
    """Experts stay whole, each rank's part of the sequence goes to them."""
    own = DEEPSEEK if model_type == "deepseek_v3" else {}
    facts = made(tmp_path, **{**own, "model_type": model_type})
    plan, alone = ParallelPlan(dp_replicate=2, tp=2, ep=4), ParallelPlan(dp_replicate=4, ep=4)
    check_split(facts, recipe, False, plan)
    whole = trace_for(facts, recipe)
    narrow = trace_for(rank_facts(facts, plan), recipe)
    rank = part_source(rank_source(whole, narrow, plan), plan).at(**POINT)
    one = part_source(whole, alone).at(**POINT)
    assert held(rank, "weights")[0] == held(one, "weights")[0]
    assert held(rank, "weights")[1] < held(one, "weights")[1]
    sent = [expert_sent_bytes(trace, trace.dims(**POINT)) for trace in (rank, one)]
    assert 2 * sent[0] == sent[1]
    flops = [
        timed(rank, dp_replicate=2, tp=2, ep=4).model_flops,
        timed(one, dp_replicate=4, ep=4).model_flops,
    ]
    # what has no heads in it is as much on each rank in multi-head latent attention
    assert 2 * flops[0] == pytest.approx(flops[1], rel=0.1 if own else 1e-6)
    # attention alone gathers and scatters, beside the ends and layers without experts
    dense = 1 if own else 0
    assert rank.meta[TENSOR].gathers[0] == LAYERS + 1 + dense


def test_stages_with_other_layers_need_their_own_steps(tmp_path, recipe):
    facts = made(tmp_path, **DEEPSEEK, num_hidden_layers=4)
    first, between, last = (f.config or {} for f in stage_facts(facts, ParallelPlan(pp=3)))
    assert [c["num_hidden_layers"] for c in (first, between, last)] == [1, 2, 1]
    assert [c["first_k_dense_replace"] for c in (first, between, last)] == [1, 0, 0]
    whole = trace_for(facts, recipe)
    with pytest.raises(ValueError, match="sources of their own"):
        rank_source(whole, whole, ParallelPlan(pp=3))
