"""LoRA's targets as a question gives them, against PEFT itself on the same small models."""

from __future__ import annotations

import importlib.util
import json
import re

import pytest

from planner.answer.estimate import estimate
from planner.errors import QuestionError
from planner.models.building.build import build
from planner.models.resolve import resolve
from planner.question import Question
from planner.question.setup import TracedSettings, asked_values
from planner.training.recipe import recipe_of
from planner.training.registry import strategy_of

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("transformers", "peft")),
    reason="needs the extra hf",
)

DECODER = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 320,
}
FAMILIES = {
    "llama": DECODER | {"architectures": ["LlamaForCausalLM"]},
    "qwen2": DECODER | {"architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": True},
    "mixtral": DECODER
    | {"architectures": ["MixtralForCausalLM"], "num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt2": {
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": 64,
        "n_layer": 3,
        "n_head": 4,
        "vocab_size": 320,
    },
    "gpt_neox": DECODER | {"architectures": ["GPTNeoXForCausalLM"]},
    "bert": DECODER | {"architectures": ["BertForSequenceClassification"]},
    "t5": {
        "architectures": ["T5ForConditionalGeneration"],
        "d_model": 64,
        "d_ff": 96,
        "d_kv": 16,
        "num_layers": 3,
        "num_heads": 4,
        "vocab_size": 320,
    },
    "opt": DECODER
    | {"architectures": ["OPTForCausalLM"], "ffn_dim": 96, "word_embed_proj_dim": 64},
}
ATTENTION = {
    "gpt2": "c_attn",
    "gpt_neox": "query_key_value",
    "bert": "query",
    "t5": "q",
}
EMBEDDING = {
    "gpt2": "wte",
    "gpt_neox": "embed_in",
    "bert": "word_embeddings",
    "t5": "shared",
}


@pytest.fixture
def facts_of(tmp_path):
    def make(family):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": family} | FAMILIES[family]))
        return resolve(str(tmp_path))

    return make


def _ours(facts, strategy="lora", **fields):
    question = Question(model="any", samples=1, lora_rank=4, **fields)
    settled = asked_values(question) | {
        "strategy": strategy,
        "task": facts.task,
        "precision": "bf16",
        "optimizer": "adamw",
        "gradient_checkpointing": "none",
        "kbit_preparation": None,
    }
    recipe = recipe_of(TracedSettings(**settled))
    built = build(facts, dtype="bfloat16")
    prepared = strategy_of(recipe).apply(built, recipe, None)
    return _trained(prepared.module)


def _peft(facts, **options):
    import peft

    module = build(facts, dtype="bfloat16").module
    config = peft.LoraConfig(r=4, lora_alpha=8, bias="none", **options)
    return _trained(peft.get_peft_model(module, config))


def _trained(module):
    return {name: p.numel() for name, p in module.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("family", FAMILIES)
def test_names_expressions_and_what_is_left_out_are_those_of_peft(facts_of, family):
    facts, name = facts_of(family), ATTENTION.get(family, "q_proj")
    asked = [
        ({"lora_targets": name}, {"target_modules": [name]}),
        ({"lora_targets": "all-linear"}, {"target_modules": "all-linear"}),
        ({"lora_targets": rf".*\.{name}"}, {"target_modules": rf".*\.{name}"}),
        (
            {"lora_targets": name, "lora_rank_pattern": f"{name}=2"},
            {"target_modules": [name], "rank_pattern": {name: 2}},
        ),
        (
            {"lora_targets": name, "lora_exclude": r".*\.0\..*"},
            {"target_modules": [name], "exclude_modules": r".*\.0\..*"},
        ),
    ]
    for fields, options in asked:
        assert _ours(facts, **fields) == _peft(facts, **options), fields


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_embeddings_and_whole_modules_are_those_of_peft(facts_of, family):
    facts, name = facts_of(family), ATTENTION.get(family, "q_proj")
    embedding = EMBEDDING.get(family, "embed_tokens")
    asked = [
        (
            {"lora_targets": name, "lora_layers": "0,2"},
            {"target_modules": [name], "layers_to_transform": [0, 2]},
        ),
        ({"lora_targets": embedding}, {"target_modules": [embedding]}),
        (
            {"lora_targets": name, "lora_modules_to_save": embedding},
            {"target_modules": [name], "modules_to_save": [embedding]},
        ),
    ]
    for fields, options in asked:
        assert _ours(facts, **fields) == _peft(facts, **options), fields


@pytest.mark.parametrize("family", FAMILIES)
def test_over_quantised_weights_the_same_adapters_train(facts_of, family):
    facts, name = facts_of(family), ATTENTION.get(family, "q_proj")
    plain = _ours(facts, lora_targets=name)
    assert _ours(facts, "qlora", lora_targets=name) == plain
    assert _ours(facts, load_in="8bit", lora_targets=name) == plain


def test_convolutions_take_adapters_as_in_peft():
    facts = resolve("timm:resnet18")
    ours = _ours(facts, lora_targets="conv1")
    assert ours == _peft(facts, target_modules=["conv1"]) and len(ours) == 2 * 9


def test_names_of_other_models_beside_those_it_has_are_left_out_as_peft_leaves_them(facts_of):
    """StarCoder's published list, of which it has two."""
    facts, names = facts_of("llama"), ["q_proj", "o_proj", "q_attn"]
    ours = _ours(facts, lora_targets=",".join(names))
    assert ours == _peft(facts, target_modules=names) == _ours(facts, lora_targets="q_proj,o_proj")


def test_what_is_left_out_is_a_warning_in_the_first_lines():
    asked = {"samples": 100, "tokens_per_sample": 50, "gpu": "l4", "strategy": "lora"}
    answer = estimate("gpt2", lora_targets="c_proj,c_attn,q_attn", **asked)
    warned = [line["text"] for line in answer["first_lines"] if line["warning"]]
    assert warned == [
        "lora: gpt2 has no module called q_attn: PEFT leaves that out of --lora-targets and adapts "
        "the others"
    ]
    same = estimate("gpt2", lora_targets="c_proj,c_attn", **asked)
    assert same["options"][0]["memory"] == answer["options"][0]["memory"]
    assert not [line for line in same["first_lines"] if line["warning"]]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lora_targets": "q_prj"}, r"q_prj.*Did you mean q_proj"),
        ({"lora_targets": "wq,nothing"}, r"no such modules .*: wq, nothing"),
        ({"lora_targets": r".*\.zz(1|2)"}, "no module .* matches"),
        ({"lora_targets": "(q"}, "no regular expression"),
        ({"lora_targets": "q_proj", "lora_modules_to_save": "lm_hed"}, "Did you mean lm_head"),
        ({"lora_targets": "q_proj", "lora_exclude": "k_prj"}, "Did you mean k_proj"),
        ({"lora_targets": "q_proj", "lora_layers": "0-3"}, "has 3 blocks, numbered 0 to 2"),
        ({"lora_targets": "q_proj", "lora_layers": "two"}, "no number of a block"),
        ({"lora_targets": "q_proj", "lora_rank_pattern": "q_proj"}, "NAME=RANK"),
        ({"lora_targets": "q_proj", "lora_rank_pattern": "zz=3"}, "no such modules"),
        ({"lora_targets": "all-linear", "lora_layers": "1"}, "with names of modules only"),
        ({"lora_targets": "input_layernorm"}, "PEFT cannot adapt"),
    ],
)
def test_what_names_nothing_is_refused_in_one_line(facts_of, fields, words):
    with pytest.raises(QuestionError) as caught:
        _ours(facts_of("llama"), **fields)
    assert re.search(words, str(caught.value)) and "\n" not in str(caught.value)
    assert caught.value.fields, "a form cannot show it at its field"
