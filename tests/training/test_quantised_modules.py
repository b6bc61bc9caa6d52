"""Which layers loading in few bits converts, against transformers' own function, run on the same
model on meta with bitsandbytes' two layers faked."""

from __future__ import annotations

import importlib.util
import types
from dataclasses import replace

import pytest

from planner import tables
from planner.models.building.build import build
from planner.models.catalogue import facts as catalogue_facts
from planner.models.catalogue import find
from planner.models.quantization.stored import LOADED
from planner.training.quantised.chosen import converted, should_convert

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs the extra hf"
)
LIBRARY = [
    row["name"]
    for row in tables.rows("models", "catalogue.csv")
    if row["library"] == "transformers"
]
QUICK = ("gpt2", "Llama-3.2-1B", "bert-base-uncased", "t5-small", "falcon-7b", "pythia-70m")


def _with_fakes(monkeypatch):
    import torch
    from transformers.integrations import bitsandbytes as integration

    def layer():
        class Layer(torch.nn.Linear):
            def __init__(self, inputs, outputs, bias=True, *_args, **_kwargs):
                super().__init__(inputs, outputs, bias)

        return Layer

    fake = types.SimpleNamespace(nn=types.SimpleNamespace(Linear4bit=layer(), Linear8bitLt=layer()))
    monkeypatch.setattr(integration, "bnb", fake, raising=False)
    return integration, fake


def _theirs(monkeypatch, module, skipped, bits):
    """The names that transformers' ``replace_with_bnb_linear`` replaces."""
    from transformers import BitsAndBytesConfig
    from transformers.quantizers.base import HfQuantizer

    integration, fake = _with_fakes(monkeypatch)
    config = BitsAndBytesConfig(
        load_in_4bit=bits == 4, load_in_8bit=bits == 8, llm_int8_skip_modules=skipped
    )
    spared = HfQuantizer.get_modules_to_not_convert(
        module, config.llm_int8_skip_modules, module._keep_in_fp32_modules
    )
    integration.replace_with_bnb_linear(
        module, modules_to_not_convert=spared, quantization_config=config
    )
    kinds = (fake.nn.Linear4bit, fake.nn.Linear8bitLt)
    return {name for name, part in module.named_modules() if type(part) in kinds}


def _compare(monkeypatch, name, *, bits=4, skipped=None):
    row = find(name)
    assert row is not None, name
    built = build(catalogue_facts(row), dtype="bfloat16", audio_samples=16_000)
    quantization = replace(LOADED[f"{bits}bit"], spared=None if skipped is None else tuple(skipped))
    ours = set(converted(built, quantization))
    theirs = _theirs(monkeypatch, built.module, skipped, bits)
    assert ours == theirs, (name, sorted(ours ^ theirs)[:5])
    return ours


@pytest.mark.parametrize(
    "name", [name for name in LIBRARY if name.lower() in map(str.lower, QUICK)]
)
@pytest.mark.parametrize("bits", [4, 8])
def test_the_installed_library_converts_the_same_layers(monkeypatch, name, bits):
    _compare(monkeypatch, name, bits=bits)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARY)
def test_the_installed_library_converts_the_same_layers_of_every_model(monkeypatch, name):
    _compare(monkeypatch, name)


@pytest.mark.parametrize("skipped", [[], ["lm_head"], ["mlp"], ["layers.1"], ["model.layers.0.*"]])
def test_a_list_of_skipped_modules_is_read_as_the_library_reads_it(monkeypatch, skipped):
    _compare(monkeypatch, "Llama-3.2-1B", skipped=skipped)


@pytest.mark.parametrize("key", ["layer.1", "layer.*", "fc1", "mlp.gate", "a|b", "lm_head", "("])
@pytest.mark.parametrize(
    "name",
    ["layer.1.attn", "layer.11.attn", "x.fc1", "mlp.gate_proj", "mlp.gate", "a.c", "b", "lm_head"],
)
def test_one_key_spares_what_it_spares_in_the_library(key, name):
    import re

    from transformers.quantizers.quantizers_utils import should_convert_module

    try:
        theirs = should_convert_module(name, [key])
    except re.error:
        theirs = not name.endswith(key)  # theirs fails; ours takes the key as an ending alone
    assert should_convert(name, [key]) == theirs
