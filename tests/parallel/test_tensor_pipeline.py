"""Tensor and pipeline parallelism: what ranks and stages have, send and wait for."""

import json
from dataclasses import replace

import numpy as np
import pytest

from planner.devices.lookup import find_device
from planner.errors import QuestionError
from planner.memory.peak import peak_allocated
from planner.models.resolve import resolve
from planner.parallel.model.narrow import types
from planner.parallel.model.schedule import in_flight, schedule_seconds
from planner.parallel.model.sequence import TENSOR
from planner.parallel.pipelined import WAITS, PipelinedTime, bubble_seconds
from planner.parallel.plan import ALONE, ParallelPlan, plans_for
from planner.parallel.ranks import (
    STAGES,
    check_split,
    rank_facts,
    rank_source,
    stages_of,
)
from planner.parallel.shared_time import shared_time
from planner.parallel.source import shared_source
from planner.parallel.step import optimizer_step_seconds
from planner.step_time.clock import StepClock
from planner.trace.source import trace_for
from planner.trace.table import CATEGORIES
from planner.training.recipe import Recipe

LAYERS, HIDDEN = 4, 256
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": HIDDEN,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "intermediate_size": 704,
    "num_hidden_layers": LAYERS,
    "vocab_size": 4096,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
POINT = {"B": 4, "S": 1024}


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "llama"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return resolve(str(folder), offline=True)


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
def trace_of(facts, recipe):
    def made(**degrees):
        plan = ParallelPlan(**degrees)
        whole = trace_for(facts, recipe)
        if not plan.is_split:
            return whole.at(**POINT)
        narrow = trace_for(rank_facts(facts, plan), recipe)
        return rank_source(whole, narrow, plan).at(**POINT)

    return made


def timed(trace, **degrees):
    clock = StepClock(find_device("h100-sxm"))
    how = {"precision": "bf16", "compiled": False, "parallel": ParallelPlan(**degrees)}
    return shared_time(clock, trace, trace.dims(**POINT), **how)


def held(trace, category):
    there = (trace.birth < 0) & (trace.category == CATEGORIES.index(category))
    return int(trace.storage_bytes(trace.dims(**POINT))[trace.size[there]].sum())


def peak(trace):
    return max(float(peak_allocated(t, t.dims(**POINT))) for t in (trace, *stages_of(trace)))


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_the_products_of_all_ranks_are_those_of_the_model(trace_of, ranks):
    whole, own = timed(trace_of()), timed(trace_of(tp=ranks), tp=ranks)
    assert own.model_flops * ranks == pytest.approx(whole.model_flops, rel=1e-6)


def test_key_value_heads_below_the_ranks_are_on_several(facts):
    fewer = facts.with_config(num_key_value_heads=2)
    half = rank_facts(fewer, ParallelPlan(tp=2)).config or {}
    own = rank_facts(fewer, ParallelPlan(tp=8)).config or {}
    assert half["num_key_value_heads"] == own["num_key_value_heads"] == 1
    assert (own["num_attention_heads"], own["head_dim"], own["vocab_size"]) == (1, 32, 512)


@pytest.mark.parametrize("stages", [2, 4])
def test_stages_have_the_model_among_them(trace_of, stages):
    whole, first = trace_of(), trace_of(pp=stages)
    others = stages_of(first)
    counts = (1, *((stages - 2,) if stages > 2 else ()), 1)
    for category in ("weights", "optimizer"):
        together = [n * held(t, category) for n, t in zip(counts, (first, *others), strict=True)]
        assert sum(together) == pytest.approx(held(whole, category), rel=1e-3), category
    assert timed(first, pp=stages).model_flops * stages == pytest.approx(
        timed(whole).model_flops, rel=1e-6
    )
    gradients = [n * t.meta["gradient_bytes"] for n, t in zip(counts, (first, *others))]
    assert sum(gradients) == whole.meta["gradient_bytes"]
    assert first.meta["total_params"] == whole.meta["total_params"]


def test_a_stage_has_only_its_end(trace_of):
    first, middle, last = (trace_of(pp=4), *stages_of(trace_of(pp=4)))
    table = 4096 * HIDDEN * 2
    assert held(first, "weights") - held(middle, "weights") == table
    assert held(last, "weights") - held(middle, "weights") == table + HIDDEN * 2  # the norm
    names = {s.op for s in (middle.signatures[i] for i in middle.op_signature)}
    assert not any("embedding" in name or "nll_loss" in name for name in names)


def test_tied_embeddings_are_on_both_ends(facts, recipe):
    tied = facts.with_config(tie_word_embeddings=True)
    plan = ParallelPlan(pp=4)
    whole = trace_for(tied, recipe)
    first = rank_source(whole, trace_for(rank_facts(tied, plan), recipe), plan).at(**POINT)
    _, last = stages_of(first)
    assert held(first, "weights") == held(last, "weights") - HIDDEN * 2
    assert held(first, "optimizer") > 4 * 4096 * HIDDEN


def test_memory_falls_with_ranks_and_stages(trace_of):
    peaks = [peak(trace_of(tp=ranks)) for ranks in (1, 2, 4, 8)]
    assert all(a > 1.5 * b for a, b in zip(peaks, peaks[1:]))
    assert peak(trace_of()) > peak(trace_of(pp=2)) > peak(trace_of(pp=4))
    assert peak(trace_of(pp=2)) > peak(trace_of(tp=2, pp=2))


def test_the_first_stage_holds_as_many_micro_batches_as_there_are_stages(trace_of):
    first, last = trace_of(pp=2), stages_of(trace_of(pp=2))[-1]
    kept = CATEGORIES.index("activations")

    def saved(trace):
        mine = (trace.category == kept) & (trace.birth >= 0)
        return trace.storage_bytes(trace.dims(**POINT))[trace.size[mine]].sum()

    blocks = np.array(["layers" in m for m in first.modules])
    inside = (first.category == kept) & (first.birth >= 0) & blocks[first.storage_module]
    alike = (last.category == kept) & (last.birth >= 0) & blocks[last.storage_module]
    sizes = first.storage_bytes(first.dims(**POINT))
    assert sizes[first.size[inside]].sum() == 2 * sizes[last.size[alike]].sum()
    assert saved(first) > 0


def test_norms_and_residuals_run_on_a_part_of_the_sequence(trace_of):
    whole, own = trace_of(), trace_of(tp=4)

    def elements(trace, name, op):
        dims = trace.dims(**POINT)
        found = [
            int(np.prod(dims[list(trace.signatures[s].outputs[0].shape)]))
            for s, m in zip(trace.op_signature, trace.op_module)
            if trace.modules[m].endswith(name) and trace.signatures[s].op == op
        ]
        return sum(found)

    for name, op in (("input_layernorm", "aten.pow.Tensor_Scalar"), (".0", "aten.add.Tensor")):
        assert elements(own, name, op) * 4 == elements(whole, name, op) > 0, name
    # a product sees the whole sequence
    assert elements(own, "mlp.down_proj", "aten.mm.default") > 0


def test_collectives_of_a_block_are_megatrons(trace_of):
    trace = trace_of(tp=4)
    sending = trace.meta[TENSOR]
    # attention and MLP, forward and backward; the embedding's and the head's ends
    assert sending.gathers == (2 * LAYERS + 1, 2 * LAYERS + 1)
    assert sending.scatters == (2 * LAYERS + 1, 2 * LAYERS + 1)
    assert trace.storage_bytes(trace.dims(**POINT))[sending.size] == 4 * 1024 * HIDDEN * 2
    time, alone = timed(trace, tp=4), timed(trace)
    assert time.by_kind[WAITS] > 0
    assert time.seconds == pytest.approx(alone.seconds + time.by_kind[WAITS])


def test_compiled_steps_name_no_modules_and_are_refused(facts, recipe):
    plan, compiled = ParallelPlan(tp=2), replace(recipe, compile=True)
    with pytest.raises(QuestionError, match="compiled steps"):
        check_split(facts, compiled, False, plan)
    source = trace_for(rank_facts(facts, plan), compiled)
    with pytest.raises(QuestionError, match="not told apart"):
        rank_source(trace_for(facts, compiled), source, plan).at(**POINT)


@pytest.mark.parametrize("stages", [1, 2, 4, 8])
@pytest.mark.parametrize("micro_batches", [8, 16, 200])
@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_the_bubble_of_equal_stages_is_the_textbooks(stages, micro_batches, chunks):
    if stages == 1:
        chunks = 1
    seconds = schedule_seconds((1.0,) * stages, (2.0,) * stages, micro_batches, chunks)
    assert seconds == pytest.approx(3 * micro_batches + 3 * (stages - 1) / chunks)


def test_few_micro_batches_and_slow_links_show():
    assert schedule_seconds((1.0,) * 4, (2.0,) * 4, 1) == pytest.approx(12)
    assert schedule_seconds((1.0,) * 4, (2.0,) * 4, 8, send=0.5) >= 33 + 2 * 3 * 0.5
    assert schedule_seconds((1.0, 1.0, 1.0, 2.0), (2.0, 2.0, 2.0, 4.0), 100) > 600
    assert in_flight(4) == 4 and 4 < in_flight(4, 2) < 8


def test_a_step_is_its_schedule(trace_of):
    plan = ParallelPlan(pp=4)
    time = timed(trace_of(pp=4), pp=4)
    assert isinstance(time, PipelinedTime) and len(time.stages) == 3
    spec = find_device("h100-sxm")
    step = optimizer_step_seconds(
        time, accumulation=8, parallel=plan, gradient_bytes=0.0, spec=spec
    )
    bubble = bubble_seconds(time, 8, plan)
    slowest = max(f + b for f, b in time.stages)
    assert step == pytest.approx(8 * slowest + bubble + time.optimizer_seconds)
    first = trace_of(pp=4)
    assert (
        time.optimizer_seconds
        >= timed(replace(first, meta={**first.meta, STAGES: ()})).optimizer_seconds
    )
    assert 0 < bubble < 3 * slowest + 6 * time.send + 1e-9


@pytest.mark.parametrize("sharding", ["zero1", "zero2"])
def test_zero_on_stages_that_share_a_tied_embedding(recipe, tmp_path, sharding):
    """Its gradient comes from the first stage: the last one sends it before its update."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"tie_word_embeddings": True}))
    facts = resolve(str(tmp_path), offline=True)
    plan = ParallelPlan(pp=2, dp_shard=4, sharding=sharding)
    whole, narrow = (trace_for(f, recipe) for f in (facts, rank_facts(facts, plan)))
    shared = shared_source(rank_source(whole, narrow, plan), recipe, plan)
    assert timed(shared.at(**POINT), pp=2, dp_shard=4, sharding=sharding).optimizer_seconds > 0


def test_one_rank_is_no_other_plan():
    assert plans_for(8, "fsdp", ParallelPlan(tp=1, pp=1)) == plans_for(8, "fsdp")
    assert not ALONE.is_split
    (plan,) = plans_for(16, "ddp", ParallelPlan(tp=2, pp=4))
    assert (plan.devices, plan.data_parallel, plan.tp, plan.pp) == (16, 2, 2, 4)


def test_what_does_not_divide_is_refused_in_one_line(facts, recipe):
    with pytest.raises(QuestionError, match="do not divide among 3 ranks"):
        rank_facts(facts, ParallelPlan(tp=3))
    with pytest.raises(QuestionError, match="4 layers do not fill 5 stages"):
        rank_facts(facts, ParallelPlan(pp=5))
    with pytest.raises(QuestionError, match="multiple of 8"):
        plans_for(12, None, ParallelPlan(tp=4, pp=2))
    with pytest.raises(QuestionError, match="only plain decoder language models"):
        rank_facts(resolve("gpt2"), ParallelPlan(tp=2))
    with pytest.raises(QuestionError, match="without a pipeline"):
        ParallelPlan(chunks=2)
    check_split(facts, recipe, False, ParallelPlan(tp=2))
    with pytest.raises(QuestionError, match="not planned together"):
        check_split(facts, recipe, True, ParallelPlan(tp=2))


@pytest.mark.parametrize("model_type", types())
def test_every_listed_type_can_be_narrowed_and_cut(model_type, recipe, tmp_path):
    config = CONFIG | {"model_type": model_type, "num_hidden_layers": 2, "head_dim": 32}
    config = {k: v for k, v in config.items() if k != "architectures"} | {"pad_token_id": 0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    facts = resolve(str(tmp_path), task="causal_lm", offline=True)
    plan = ParallelPlan(tp=2, pp=2)
    whole = trace_for(facts, recipe)
    narrow = trace_for(rank_facts(facts, plan), recipe)
    first = rank_source(whole, narrow, plan).at(**POINT)
    own, alone = timed(first, tp=2, pp=2), timed(whole.at(**POINT))
    assert own.model_flops * 4 == pytest.approx(alone.model_flops, rel=1e-6)
    # attention and MLP of one block, with the embedding or with the head
    begins, ends = first.meta[TENSOR], stages_of(first)[-1].meta[TENSOR]
    assert (begins.gathers, begins.scatters) == ((2, 3), (3, 2))
    assert (ends.gathers, ends.scatters) == ((3, 2), (2, 3))
