"""Which layers loading in few bits converts, against transformers' own function, run on the same
model on meta with bitsandbytes' two layers faked."""

from __future__ import annotations

import importlib.util
import json
import types
from dataclasses import replace

import pytest
from drawing import drawn

from planner import tables
from planner.models.building.build import build
from planner.models.catalogue import facts as catalogue_facts
from planner.models.catalogue import find
from planner.models.quantization.stored import LOADED
from planner.models.resolve import resolve
from planner.question.setup import TracedSettings
from planner.training.quantised.apply import quantise
from planner.training.quantised.chosen import converted, should_convert
from planner.training.recipe import recipe_of

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
@pytest.mark.parametrize("name", drawn(LIBRARY, 30))
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


SMALL = {
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "torch_dtype": "bfloat16",
}
MIXTURE = SMALL | {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}


def _quantised(tmp_path, config, *groups):
    """The module after a checkpoint of compressed-tensors with these groups was loaded."""
    named = {f"group_{place}": one for place, one in enumerate(groups)}
    stored = {"quant_method": "compressed-tensors", "config_groups": named, "ignore": ["lm_head"]}
    (tmp_path / "config.json").write_text(json.dumps(config | {"quantization_config": stored}))
    built = build(resolve(str(tmp_path)))
    settled = TracedSettings(
        strategy="lora", task="causal_lm", optimizer="adamw", precision="bf16", lora_rank=8
    )
    quantise(built, recipe_of(settled))
    return built.module


def _bytes(part):
    return sum(p.numel() * p.element_size() for p in part.parameters())


MLP = {"targets": ["re:.*mlp.*"], "weights": {"num_bits": 4, "type": "int", "group_size": 128}}
REST = {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float"}}


def test_each_group_stores_its_own_layers(tmp_path):
    module = _quantised(tmp_path, SMALL, REST, MLP)
    block = module.model.layers[0]
    n = 256 * 512
    assert _bytes(block.mlp.up_proj) == n // 2 + n // 128 * 2
    assert _bytes(block.self_attn.q_proj) == 256 * 256 + 256 * 2
    assert _bytes(module.lm_head) == 256 * 512 * 4  # as it was built


def test_a_group_of_some_layers_leaves_the_others_as_they_were_built(tmp_path):
    block = _quantised(tmp_path, SMALL, MLP).model.layers[0]
    assert _bytes(block.self_attn.q_proj) == 256 * 256 * 4
    assert _bytes(block.mlp.down_proj) < 256 * 512


def test_experts_are_stored_by_the_layers_that_stand_for_them(tmp_path):
    other = {"targets": ["re:.*self_attn.*"], "weights": {"num_bits": 4, "type": "int"}}
    named = {"targets": ["re:.*experts.*"], "weights": {"num_bits": 4, "type": "int"}}
    plain = _quantised(tmp_path, MIXTURE, other).model.layers[0].mlp.experts
    n = 8 * 3 * 256 * 512
    assert _bytes(plain) == 4 * n
    few = _quantised(tmp_path, MIXTURE, named).model.layers[0].mlp.experts
    assert n // 2 < _bytes(few) < 0.6 * n
