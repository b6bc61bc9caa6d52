"""The number of classes is a symbol: a trace that is bound to it equals the recording that is made
at that very number, operation by operation and storage by storage."""

import importlib.util
import json
import random
from dataclasses import replace

import numpy as np
import pytest
from drawing import drawn

from planner.models.resolve import resolve
from planner.trace.bind import bind, is_free
from planner.trace.recorder.regimes import Heads, Steps, build_for, record_regime
from planner.training.recipe import Recipe

if not all(importlib.util.find_spec(name) for name in ("transformers", "peft", "timm")):
    pytest.skip("needs the extras hf and vision", allow_module_level=True)

ARRAYS = "forms op_signature op_phase op_module size birth death category storage_module".split()
SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 997,
}
SMALL_CONVOLUTIONS = {**SMALL, "conv_dim": [32] * 7}
TWO_SIDED = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "vocab_size": 997,
}
#: Class of the library → its config.
CONFIGS = {
    "BertForSequenceClassification": SMALL | {"model_type": "bert"},
    "BertForTokenClassification": SMALL | {"model_type": "bert"},
    "RobertaForSequenceClassification": SMALL | {"model_type": "roberta"},
    "DistilBertForSequenceClassification": {
        "model_type": "distilbert",
        "dim": 64,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 128,
        "vocab_size": 997,
    },
    "DebertaV2ForSequenceClassification": SMALL
    | {"model_type": "deberta-v2", "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "LlamaForSequenceClassification": SMALL | {"model_type": "llama", "num_key_value_heads": 1},
    "SwinForImageClassification": {
        "model_type": "swin",
        "image_size": 56,
        "embed_dim": 24,
        "depths": [1, 1],
        "num_heads": [2, 4],
    },
    "Wav2Vec2ForSequenceClassification": SMALL_CONVOLUTIONS | {"model_type": "wav2vec2"},
    "ASTForAudioClassification": SMALL
    | {"model_type": "audio-spectrogram-transformer", "max_length": 128, "num_mel_bins": 64},
    "WhisperForAudioClassification": TWO_SIDED
    | {"model_type": "whisper", "max_source_positions": 100, "classifier_proj_size": 32},
}
NAMES = (
    "timm:vit_tiny_patch16_224",
    "timm:deit_tiny_distilled_patch16_224",
    "timm:resnet18",
    "timm:mobilenetv3_small_050",
    "torchvision:resnet18",
    "torchvision:squeezenet1_0",
)
LORA = {"strategy": "lora", "lora_rank": 8, "lora_dropout": 0.1}
CHOICES = {
    "all weights": {},
    "checkpointed": {"gradient_checkpointing": "full"},
    # transformers' own divides by the root of a number of elements, which a head of other classes
    # has otherwise: equal work, told apart by that number where classes are no symbol
    "Adafactor": {"optimizer": "adafactor_torch"},
    "Lion": {"optimizer": "lion"},
    "a loop": {"optimizer": "adamw_for_loop"},
    "adapters": LORA,
    "adapters and a head": LORA | {"lora_modules_to_save": ("head",)},
    "8 bits": LORA | {"load_in": "8bit"},
    "4 bits": LORA | {"strategy": "qlora"},
    "last block": {"strategy": "partial_fine_tune", "unfrozen_blocks": 1},
    "head": {"strategy": "feature_extraction"},
    "cached": {"strategy": "feature_extraction", "variant": "cached"},
    "features": {"strategy": "feature_extraction", "variant": "features"},
    "taught": {"strategy": "distillation"},
}
CLASSES = (2, 3, 10, 64, 1000)
#: Models whose linear layers are all of the head, or none is: adapters have no place there.
CONVOLUTIONAL = ("resnet18", "mobilenetv3_small_050", "squeezenet1_0")
PAIRS = sorted(
    (model, choice)
    for model in (*CONFIGS, *NAMES)
    for choice in CHOICES
    if not (model.rpartition(":")[2] in CONVOLUTIONAL and "rank" in str(CHOICES[choice]))
)
#: Small enough for a test that is not slow.
LIGHT = (
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "RobertaForSequenceClassification",
    "DistilBertForSequenceClassification",
    "SwinForImageClassification",
    "timm:vit_tiny_patch16_224",
)
QUICK = random.Random(15).sample([pair for pair in PAIRS if pair[0] in LIGHT], 2)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def resolved(tmp_path):
    def by_name(name, **changed):
        if name not in CONFIGS:
            return resolve(name, offline=True)
        folder = tmp_path / f"{name}{len(changed)}"
        folder.mkdir(exist_ok=True)
        config = CONFIGS[name] | {"architectures": [name]} | changed
        (folder / "config.json").write_text(json.dumps(config))
        return resolve(str(folder))

    return by_name


def recipe_for(facts, choice: str) -> Recipe:
    recipe = replace(Recipe("fine_tune", facts.task, "amp_bf16", "adamw"), **CHOICES[choice])
    if (facts.config or {}).get("conv_dim"):
        recipe = replace(recipe, audio_samples=16_000)
    if recipe.lora_modules_to_save:
        recipe = replace(recipe, lora_modules_to_save=(head_of(facts, recipe),))
    return recipe


def head_of(facts, recipe) -> str:
    return build_for(facts, recipe).head[-1]


def recorded_at(facts, recipe, teacher, classes: int, regime="b2"):
    """A trace of that number of classes alone, as a recording without the symbol gives it."""
    heads = Heads(facts, replace(recipe, classes=classes), teacher).fixed()
    symbols = "".join(heads.first.built.symbols)
    steps = Steps(heads, regime, symbols, None)
    return bind(steps.fitted((2, None) if "S" in symbols else (None, None), None), classes)


def assert_same(found, expected):
    assert found.monomials == expected.monomials and found.domain == expected.domain
    for name in ARRAYS:
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert found.sizes == expected.sizes and found.modules == expected.modules
    for one, other in zip(found.signatures, expected.signatures, strict=True):
        # Adafactor's factors are roots of sizes: no whole numbers, and of no cost
        attrs = [pair for pair in other.attrs if not is_factor(pair)]
        assert replace(one, attrs=tuple(p for p in one.attrs if not is_factor(p))) == replace(
            other, attrs=tuple(attrs)
        )
    known = {key: value for key, value in expected.meta.items() if key != "recipe"}
    assert {key: value for key, value in found.meta.items() if key != "recipe"} == known


def is_factor(pair) -> bool:
    return pair[0] == "scalars" and any(isinstance(value, float) for value in pair[1])


def check(resolved, model: str, choice: str, classes=CLASSES):
    facts = resolved(model)
    teacher = None
    if CHOICES[choice].get("strategy") == "distillation":
        teacher = resolved(model, num_hidden_layers=3) if model in CONFIGS else facts
    recipe = recipe_for(facts, choice)
    trace = record_regime(facts, recipe, teacher, "b2", 64, None)[0].traces[0]
    assert is_free(trace), "the number of classes asks for a recording of its own"
    for number in classes:
        assert_same(bind(trace, number), recorded_at(facts, recipe, teacher, number))


@pytest.mark.parametrize(("model", "choice"), QUICK, ids=str)
def test_a_bound_trace_is_the_recording_at_that_number(resolved, model, choice):
    check(resolved, model, choice, classes=(64,))


@pytest.mark.slow
@pytest.mark.parametrize(("model", "choice"), drawn(PAIRS, 10), ids=str)
def test_every_strategy_of_every_head_at_unseen_numbers(resolved, model, choice):
    check(resolved, model, choice)
