"""Classes of transformers that no task covers, and forecasts of series: small ones, traced."""

import json

import pytest

from planner.models.resolve import resolve
from planner.trace.recorder.regimes import record_regime
from planner.training.recipe import Recipe

pytest.importorskip("transformers")
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
BERT = SMALL | {"intermediate_size": 64, "vocab_size": 100, "max_position_embeddings": 128}


def traced(tmp_path, kind, class_name, config):
    folder = tmp_path / kind
    folder.mkdir()
    whole = {"model_type": kind, "architectures": [class_name], **config}
    (folder / "config.json").write_text(json.dumps(whole))
    facts = resolve(str(folder), offline=True)
    recipe = Recipe(
        strategy="fine_tune", task=facts.task, precision="fp32", optimizer="adamw", attention="sdpa"
    )
    family, _ = record_regime(facts, recipe, None, "b2", 64, None)
    return facts, family.traces[0]


@pytest.mark.parametrize(
    ("kind", "class_name", "config", "modality"),
    [
        ("bert", "BertForMultipleChoice", BERT, "text"),
        (
            "clip_vision_model",
            "CLIPVisionModel",
            SMALL | {"intermediate_size": 64, "image_size": 32, "patch_size": 8},
            "image",
        ),
    ],
)
def test_a_class_without_a_task_is_traced_and_said(tmp_path, kind, class_name, config, modality):
    facts, trace = traced(tmp_path, kind, class_name, config)
    assert facts.task == "custom" and facts.modality == modality
    assert any("mean square" in text for text in trace.meta["assumptions"])
    import transformers

    made = getattr(transformers, class_name)(transformers.CONFIG_MAPPING[kind](**config))
    assert trace.meta["total_params"] == sum(p.numel() for p in made.parameters())


def test_a_multiple_choice_is_trained_on_its_own_loss(tmp_path):
    _, trace = traced(tmp_path, "bert", "BertForMultipleChoice", BERT)
    assert any(s.op == "aten.nll_loss_forward.default" for s in trace.signatures)


@pytest.mark.parametrize(
    ("kind", "class_name"),
    [
        ("patchtst", "PatchTSTForPrediction"),
        ("patchtsmixer", "PatchTSMixerForPrediction"),
        ("time_series_transformer", "TimeSeriesTransformerForPrediction"),
        ("informer", "InformerForPrediction"),
    ],
)
def test_forecasts_of_series_are_traced_by_the_config_s_windows(tmp_path, kind, class_name):
    config = {"d_model": 16, "context_length": 48, "prediction_length": 12}
    config |= {"num_input_channels": 3} if kind.startswith("patch") else {"num_time_features": 2}
    facts, trace = traced(tmp_path, kind, class_name, config)
    assert facts.task == "time_series_forecasting" and facts.modality == "series"
    import transformers

    made = getattr(transformers, class_name)(transformers.CONFIG_MAPPING[kind](**config))
    assert trace.meta["total_params"] == sum(p.numel() for p in made.parameters())
    assert any("one window" in text for text in trace.meta["assumptions"])
