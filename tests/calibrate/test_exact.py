"""The exact basis: a trace's own operations timed here, once, and remembered; only on the device
that is here."""

from __future__ import annotations

import json

import numpy as np
import pytest

from planner.answer.estimate import estimate
from planner.calibrate import exact
from planner.calibrate.exact import exactly
from planner.devices import profile as profiles
from planner.devices.lookup import resolve_device
from planner.devices.processors import processor_spec
from planner.errors import QuestionError
from planner.models.resolve import resolve
from planner.operations.registry import kind_of
from planner.plan.steps.point import evaluate
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 500,
    "max_position_embeddings": 128,
    "torch_dtype": "float32",
}
RECIPE = Recipe(
    strategy="fine_tune",
    task="causal_lm",
    precision="fp32",
    optimizer="adamw",
    gradient_checkpointing="none",
    attention="sdpa",
    compile=False,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path):
    monkeypatch.setattr(exact, "EACH_SECONDS", 0.005)
    monkeypatch.setattr(exact, "HOST_SECONDS", 1.0)
    # what else runs here is not the test's matter
    monkeypatch.setattr("planner.devices.telemetry.monitor.Monitor.doubts", lambda self: [])
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path / "devices"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return str(folder)


@pytest.mark.slow
def test_operations_are_timed_once_and_remembered(model, monkeypatch):
    facts = resolve(model)
    spec = exactly(processor_spec())
    assert spec.pricing == "exact" and profiles.file_name(spec.calibration.device) == spec.key
    result = evaluate(facts, RECIPE, spec, micro_batch=2, sequence_length=16)
    assert result.basis == "exact" and result.step_seconds.p50 > 0 and not spec.timer.unable

    trace = trace_for(facts, RECIPE).at(B=2, S=16)
    kernels = [i for i, s in enumerate(trace.signatures) if kind_of(s.op).runs_kernel]
    seconds = spec.timer(trace, trace.dims(B=2, S=16), "fp32")
    assert np.isfinite(seconds).all() and (seconds[kernels] > 0).all()
    assert (np.delete(seconds, kernels) == 0).all()

    def again(*_, **__):
        raise AssertionError("timed a second time")

    monkeypatch.setattr("planner.calibrate.operations.timing.time_case", again)
    fresh = exactly(resolve_device("cpu").spec)
    assert evaluate(
        facts, RECIPE, fresh, micro_batch=2, sequence_length=16
    ).step_seconds.p50 == pytest.approx(result.step_seconds.p50, rel=1e-3)


@pytest.mark.slow
def test_what_cannot_be_timed_keeps_its_price_and_is_said(model, monkeypatch):
    from planner.calibrate.operations.execute import CannotRun
    from planner.calibrate.operations.timing import time_case

    def refusing(case, backend, **more):
        if "layer_norm" in case.signature.op or "pow" in case.signature.op:
            raise CannotRun("not here")
        return time_case(case, backend, **more)

    monkeypatch.setattr("planner.calibrate.operations.timing.time_case", refusing)
    spec = exactly(processor_spec())
    result = evaluate(resolve(model), RECIPE, spec, micro_batch=2, sequence_length=16)
    assert result.step_seconds.p50 > 0
    assert "aten.pow" in spec.timer.notes[0] and "priced otherwise" in spec.timer.notes[0]


@pytest.mark.slow
def test_what_was_timed_in_a_busy_moment_is_said_and_not_kept(model, monkeypatch):
    monkeypatch.setattr(
        "planner.devices.telemetry.monitor.Monitor.doubts",
        lambda self: [("others took half of it", "Close them")],
    )
    spec = exactly(processor_spec())
    before = len(spec.calibration.exact)
    assert (
        evaluate(resolve(model), RECIPE, spec, micro_batch=2, sequence_length=16).basis == "exact"
    )
    assert "others took half of it" in spec.timer.warnings[0]
    assert not spec.timer.file.exists() or len(profiles.load(spec.timer.file).exact) == before


def test_another_machines_device_is_refused():
    with pytest.raises(QuestionError, match="not this machine's device"):
        exactly(resolve_device("h100-sxm").spec)


def test_compiled_kernels_are_refused(model):
    with pytest.raises(QuestionError, match="--compile"):
        estimate(
            model, samples=10, tokens_per_sample=16, exact=True, compile=True, strategy="fine_tune"
        )


@pytest.mark.slow
def test_the_answer_says_what_it_stands_on(model):
    answer = estimate(
        model,
        samples=10,
        tokens_per_sample=16,
        exact=True,
        strategy="fine_tune",
        micro_batch=2,
        precision="fp32",
    )
    option = answer["options"][0]
    assert option["basis"] == "exact" and option["cost"] is None
    assert any("calibration of" in source["what"] for source in answer["sources"])
    assert any("processor" in line for line in answer["assumptions"])
