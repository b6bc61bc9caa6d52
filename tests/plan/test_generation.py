"""What writing text takes: the cut of a trace, a token by hand, and that more is never cheaper."""

import functools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from planner.devices.lookup import find_device
from planner.devices.priors import prior
from planner.models.resolve import resolve
from planner.operations.registry import kind_of
from planner.plan.decoding.cache import keys_and_values, kv_bytes_per_token
from planner.plan.decoding.cut import decoder, inference
from planner.plan.decoding.generation import Batch, generation
from planner.plan.decoding.inference import forward_seconds
from planner.plan.inputs.defaults import choose
from planner.plan.inputs.problem import understand
from planner.question import Question
from planner.step_time.clock import StepClock
from planner.trace.table import PHASES

MODELS = ("gpt2", "t5-base", "whisper-small")
LENGTHS = {"gpt2": (100.0, None), "t5-base": (100.0, 30.0), "whisper-small": (30.0, None)}


@functools.cache
def source_of(model, device="t4"):
    question = Question(
        model=model, strategy="fine_tune", samples=100, tokens_per_sample=100, offline=True
    )
    problem = understand(question)
    made = choose(problem.question, problem.facts, problem.data, "fine_tune", find_device(device))
    return problem.source(made.recipe, problem.facts)


def written(model, device="t4", samples=8, beams=1, tokens=20.0, lengths=None):
    batch = Batch(samples, beams, tokens, *(lengths or LENGTHS[model]))
    return generation(source_of(model), StepClock(find_device(device)), batch)


def operations(trace):
    return [trace.signatures[i] for i in trace.op_signature]


@pytest.mark.parametrize("model", MODELS)
def test_a_forward_pass_that_evaluates_has_no_gradients_and_no_dropout(model):
    trace = source_of(model).at(B=8, S=100, T=30)
    cut = inference(trace)
    assert {PHASES[phase] for phase in cut.op_phase} == {"teacher"}
    names = {s.op for s in operations(cut)}
    assert "aten.native_dropout.default" not in names and "aten.detach.default" not in names
    assert any("nll_loss" in name for name in names)
    forward = int((trace.op_phase == PHASES.index("forward")).sum())
    assert 0 < cut.op_count < forward
    assert cut.meta["module_calls"] < trace.meta["module_calls"]


def test_an_encoder_runs_once_and_its_keys_are_not_made_again_at_every_token():
    parts = decoder(source_of("whisper-small").at(B=8, S=100))
    assert parts.symbol == "S"  # Whisper's encoder reads as many frames always
    modules = [parts.encoder.modules[i] for i in parts.encoder.op_module]
    assert modules and all(name.startswith("model.encoder") for name in modules)
    products = [s for s in operations(parts.keys) if kind_of(s.op).name == "matmul"]
    assert len(products) == 2 * 12  # keys and values of 12 layers
    names = [parts.step.modules[i] for i in parts.step.op_module]
    assert not any(name.endswith(("encoder_attn.k_proj", "encoder_attn.v_proj")) for name in names)
    products = [s for s in operations(parts.step) if kind_of(s.op).name == "matmul"]
    # q, k, v, out of itself; q and out towards the encoder; two of the perceptron; the logits
    assert len(products) == 12 * 8 + 1


def test_a_decoder_alone_reads_its_prompt_and_has_no_encoder():
    parts = decoder(source_of("gpt2").at(B=8, S=100))
    assert parts.encoder.op_count == 0
    products = [s for s in operations(parts.step) if kind_of(s.op).name == "matmul"]
    assert len(products) == 12 * 4 + 1


def test_targets_have_a_length_of_their_own():
    parts = decoder(source_of("t5-base").at(B=8, S=100, T=30))
    assert parts.symbol == "T"
    last = operations(parts.step)[-1]
    dims = parts.step.dims(B=8, S=100, T=1)
    assert [int(dims[form]) for form in last.outputs[0].shape] == [8, 32128]


def test_a_token_of_gpt2_by_hand():
    # every operation of the cut step, by hand: 14 us a launch and 6 us a view without gradients,
    # 10 us a module's call; the cache adds 2 appends in each of 12 layers; generate 15 operations
    # and one question whether all rows have ended (profiles/priors/device.csv)
    step = decoder(source_of("gpt2").at(B=8, S=100)).step
    kinds = [kind_of(s.op) for s in operations(step)]
    launches = sum(kind.runs_kernel for kind in kinds)
    host = 14e-6 * launches + 6e-6 * (len(kinds) - launches)
    host += 10e-6 * step.meta["module_calls"]
    own = 15 * 14e-6 + 10e-6
    logits = 2.5 * 8 * 50257 * 4 / (320e9 * 0.85)
    got = written("gpt2", tokens=20.0)
    assert got.token_seconds == pytest.approx(host + 12 * 2 * 14e-6 + own + logits, rel=1e-6)
    assert got.seconds == pytest.approx(got.reading_seconds + 20 * got.token_seconds)
    # 8 rows of 100 positions, 2 x 12 layers x 768 numbers of 2 bytes each
    assert got.cache_bytes == 8 * 100 * 2 * 12 * 768 * 2


def test_beams_copy_what_every_row_has_read_of_the_encoder():
    # 16 samples of 4 beams on a T4: the cache of 1,500 frames is read and written at every token
    alone, beams = (written("whisper-small", samples=16, beams=n) for n in (1, 4))
    rows = 16 * 4
    copied = rows * (1500 + 10) * 2 * 12 * 768 * 2 * 2
    read = rows * 10 * 2 * 12 * 768 * 2 * 3
    moved = (copied + read) / (320e9 * 0.75)
    assert beams.token_seconds > alone.token_seconds + moved / 2
    assert beams.token_seconds > moved
    assert prior(find_device("t4"), "generation", "reorder_passes") == 2


@pytest.mark.parametrize(
    "model, layers, numbers",
    [("t5-base", 12, 2 * 12 * 64), ("whisper-small", 12, 2 * 768), ("Llama-3.1-8B", 32, 2 * 1024)],
)
def test_keys_and_values_follow_from_the_config(model, layers, numbers):
    kept = keys_and_values(resolve(model, offline=True).config)
    assert (kept.layers, kept.numbers) == (layers, numbers)
    assert kv_bytes_per_token(resolve(model, offline=True).config, 2) == layers * numbers * 2


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("device", ["t4", "a100-sxm-80"])
def test_a_token_is_never_cheaper_than_what_the_device_has_to_read(model, device):
    spec, source = find_device(device), source_of(model)
    weights = source.at(B=8, S=100, T=30)
    step = decoder(weights).step
    forms = step.dims(B=8, S=100, T=1) if step.symbols == ("B", "S", "T") else step.dims(B=8, S=1)
    read = sum(
        np.prod([int(forms[f]) for f in s.inputs[1].shape]) * 2
        for s in operations(step)
        if kind_of(s.op).name == "matmul" and s.op.startswith("aten.mm")
    )
    assert written(model, device).token_seconds > read / spec.bandwidth_bytes_per_s()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(MODELS),
    st.sampled_from(["t4", "v100-sxm2-16", "h100-sxm"]),
    st.integers(1, 32),
    st.integers(1, 6),
    st.integers(1, 60),
)
def test_more_rows_beams_or_tokens_are_never_cheaper(model, device, samples, beams, tokens):
    made = written(model, device, samples, beams, float(tokens))
    assert made.reading_seconds > 0 and made.token_seconds > 0
    longer = written(model, device, samples, beams, float(tokens + 5), _longer(model))
    assert longer.seconds >= made.seconds
    for more in (
        written(model, device, samples + 8, beams, float(tokens)),
        written(model, device, samples, beams + 1, float(tokens)),
    ):
        assert more.token_seconds >= made.token_seconds * (1 - 1e-9)
        assert more.cache_bytes > made.cache_bytes


def _longer(model):
    """Five tokens more are five more that are written, not fewer that are read."""
    first, second = LENGTHS[model]
    return (first + 5, second) if model == "gpt2" else (first, second)


def test_a_batch_of_one_is_taken_from_larger_ones_where_training_has_them():
    source, spec = source_of("gpt2"), find_device("t4")
    point = {"S": 100, "T": None}
    one, eight = (forward_seconds(source, StepClock(spec), n, point, 8) for n in (1, 8))
    assert 0 < one <= eight
