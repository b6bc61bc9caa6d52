"""Speech from texts, the heads of BART and T5 that look for an end of text, adapters of state-space
layers."""

import importlib.util
import json

import pytest

from planner.datasets.profile import from_counts
from planner.models.building.build import build
from planner.models.resolve import resolve
from planner.plan.inputs.problem import fitted_to
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

if importlib.util.find_spec("transformers") is None:
    pytest.skip("needs transformers", allow_module_level=True)

SIDES = {
    f"{side}_{name}": value
    for side in ("encoder", "decoder")
    for name, value in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 128))
}
SPEECH = {
    "model_type": "speecht5",
    "architectures": ["SpeechT5ForTextToSpeech"],
    "hidden_size": 64,
    "vocab_size": 81,
    "num_mel_bins": 80,
    "reduction_factor": 2,
    **SIDES,
}
BART = {"model_type": "bart", "d_model": 64, "vocab_size": 1000, **SIDES}


def facts(tmp_path, config, task=None):
    (tmp_path / "config.json").write_text(json.dumps(config))
    return resolve(str(tmp_path), task=task, offline=True)


def recorded(found, strategy="fine_tune", **more):
    recipe = Recipe(task=found.task, strategy=strategy, precision="fp32", optimizer="adamw", **more)
    source = trace_for(found, recipe)
    source.keep = False
    return source._record("b2", 64).traces[0]


def test_a_step_of_the_decoder_is_two_mel_frames(tmp_path):
    built = build(facts(tmp_path, SPEECH))
    batch = built.batch(2, 10, 7)
    assert batch["labels"].shape == (2, 14, 80) and batch["input_ids"].shape == (2, 10)
    assert built.task == "text_to_speech"
    assert built.block_names == [f"speecht5.decoder.wrapped_decoder.layers.{i}" for i in (0, 1)]


def test_sounds_become_characters_and_decoder_steps(tmp_path):
    said = []
    data = from_counts(100, modality="audio", seconds_per_sample=6.0)
    found = fitted_to(facts(tmp_path, SPEECH), data, said)
    assert found.target_lengths.tolist() == [round(6.0 * 62.5 / 2)]
    assert found.lengths.tolist() == [6 * 15]
    assert any("vocoder" in text for text in said)


@pytest.mark.parametrize("strategy", ["fine_tune", "feature_extraction"])
def test_it_trains(tmp_path, strategy):
    trace = recorded(facts(tmp_path, SPEECH), strategy)
    assert set(trace.symbols) == {"B", "S", "T"} and trace.op_count > 300


def test_the_head_of_bart_takes_one_token_of_each_sample(tmp_path):
    trace = recorded(facts(tmp_path, BART, "text_classification"))
    at = trace.dims(B=4, S=32, C=2)
    rows = [s for s in trace.signatures if s.op == "aten.index.Tensor"]
    shapes = [tuple(int(at[form]) for form in out.shape) for s in rows for out in s.outputs]
    assert (4, 64) in shapes


def test_adapters_leave_out_what_peft_refuses_of_state_space_layers(tmp_path):
    config = {"model_type": "mamba", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100}
    found = facts(tmp_path, config, "causal_lm")
    trace = recorded(found, "lora", lora_rank=4, lora_dropout=0.0)
    assert trace.op_count > 100
