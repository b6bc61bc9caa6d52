"""Questions that name a method of adapters: what they cost beside LoRA, what is said of them, and
what is refused."""

from __future__ import annotations

import importlib.util
import json

import pytest

from planner import estimate
from planner.errors import PlannerError, QuestionError

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("transformers", "peft")),
    reason="needs the extra hf",
)
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 4096,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}
BERT = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 1000,
    "max_position_embeddings": 128,
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return written(tmp_path_factory.mktemp("llama"), LLAMA)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return written(tmp_path_factory.mktemp("bert"), BERT)


def written(folder, config):
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def ask(model, adapter=None, strategy="lora", **more):
    given = {
        "samples": 2000,
        "tokens_per_sample": 90,
        "gpu": "h100-sxm",
        "length_spread": 0,
        "micro_batch": 4,
        "global_batch": 4,
        "gradient_checkpointing": "none",
    }
    return estimate(model, adapter=adapter, strategy=strategy, **given | more)


def option(answer):
    (only,) = answer["options"]
    return only


def lines(answer):
    return [line["text"] for line in answer["first_lines"]]


def bytes_at_peak(answer):
    return option(answer)["memory"]["allocated_bytes"]["p50"]


def test_lora_by_name_is_lora(llama):
    plain, named = ask(llama), ask(llama, "lora")
    assert {**named, "question": None} == {**plain, "question": None}
    assert "method" not in option(plain)["training"]["lora"]


def test_methods_with_lora_s_step_cost_what_lora_costs_and_say_so(llama):
    plain = option(ask(llama))
    for name, said in (("rslora", "a step is LoRA's"), ("pissa", "singular value decomposition")):
        answer = ask(llama, name)
        same = option(answer)
        for part in ("memory", "step", "run", "model"):
            assert same[part] == plain[part], (name, part)
        assert any(said in text for text in lines(answer))
        assert same["training"]["lora"]["method"] != "LoRA"


def test_each_method_trains_what_peft_says(llama):
    trained = {
        name: option(ask(llama, name))["model"]["trainable_params"]
        for name in ("ia3", "vera", "prompt", "ln_tuning", "dora")
    }
    width, blocks, inner = 256, 3, 512
    assert trained["ia3"] == blocks * (128 + 128 + inner)  # keys, values, inner activations
    assert trained["prompt"] == 20 * width
    assert trained["ln_tuning"] == (2 * blocks + 1) * width
    outputs = blocks * (width + 128 + 128 + width + inner + inner + width)
    assert trained["vera"] == outputs + blocks * 7 * 256
    assert trained["dora"] == option(ask(llama))["model"]["trainable_params"] + outputs


def test_a_size_is_peft_s_own_where_none_is_asked(llama):
    vera = ask(llama, "vera")
    assert option(vera)["training"]["lora"]["rank"] == 256
    assert any("r 256, PEFT 0.21.2's default" in text for text in lines(vera))
    asked = ask(llama, "vera", lora_rank=64)
    assert option(asked)["training"]["lora"]["rank"] == 64
    assert not any("default" in text for text in lines(asked) if "VeRA" in text)


def test_virtual_tokens_cost_memory_and_time(llama):
    few, many = (
        ask(llama, "prompt", virtual_tokens=tokens, micro_batch=64, global_batch=64)
        for tokens in (20, 1900)
    )
    assert bytes_at_peak(many) > 5 * bytes_at_peak(few)
    seconds = [option(answer)["step"]["seconds"]["p50"] for answer in (few, many)]
    assert seconds[1] > 2 * seconds[0]
    assert option(many)["training"]["lora"]["virtual_tokens"] == 1900


def test_virtual_tokens_take_places_of_the_text(bert):
    answer = ask(bert, "prompt", task="text_classification", tokens_per_sample=128, max_length=128)
    assert option(answer)["training"]["max_length"] == 108
    assert any("cut at 108 tokens" in text for text in lines(answer))
    other = ask(bert, "dora", task="text_classification", tokens_per_sample=128, max_length=128)
    assert option(other)["training"]["max_length"] == 128


def test_what_a_method_has_not_is_said(llama):
    answer = ask(llama, "prompt", lora_rank=8, lora_targets=["q_proj"])
    said = [text for text in lines(answer) if "has no effect" in text]
    assert len(said) == 2 and all("prompt has no such" in text for text in said)
    assert not [text for text in lines(ask(llama, lora_rank=8)) if "no effect" in text]
    tokens = lines(ask(llama, virtual_tokens=8))
    assert any("--adapter lora has no such" in text for text in tokens)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"adapter": "dorra"}, "dora"),
        ({"adapter": "prefix", "gradient_checkpointing": "full"}, "gradient checkpointing"),
        ({"adapter": "prompt", "loss": "chunked"}, "chunked loss"),
        ({"adapter": "pissa", "strategy": "qlora"}, "PiSSA is not planned over NF4"),
        ({"adapter": "loha", "load_in": "8bit"}, "LoHa is not planned over"),
        ({"adapter": "boft", "adapter_block_size": 5}, "boft_block_size"),
        ({"adapter": "prompt", "virtual_tokens": 4096}, "leave no place"),
        ({"adapter": "boft", "compile": True}, "not planned under torch.compile"),
        ({"adapter": "prefix", "kernels": "unsloth"}, "kernels of unsloth"),
        (
            {"adapter": "p_tuning", "objective": "grpo", "global_batch": 8},
            "not planned with an objective",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(llama, asked, words):
    with pytest.raises(PlannerError) as found:
        ask(llama, **asked)
    text = str(found.value)
    assert words in text and "\n" not in text


def test_a_task_that_peft_has_no_virtual_tokens_for_is_refused(bert):
    with pytest.raises(PlannerError, match="PEFT has no prompt tuning for masked_lm"):
        ask(bert, "prompt", task="masked_lm")


def test_a_strategy_that_a_method_does_not_go_with_is_left_out(llama):
    answer = ask(llama, "loha", strategy=None)
    planned = [one["strategy"] for one in answer["options"]]
    assert "lora" in planned and "qlora" not in planned
    said = [*lines(answer), *answer["warnings"]]
    assert any("qlora is left out" in text and "LoHa" in text for text in said)


@pytest.mark.parametrize("adapter", ["dora", "vera", "oft", "prompt"])
def test_methods_over_weights_in_four_bits_hold_less(llama, adapter):
    plain = option(ask(llama, adapter))
    four = option(ask(llama, adapter, strategy="qlora", kbit_preparation="none"))
    assert four["memory"]["breakdown"]["weights"] < plain["memory"]["breakdown"]["weights"]
    assert four["model"]["trainable_params"] == plain["model"]["trainable_params"]


@pytest.mark.parametrize("adapter", ["adalora", "dora", "vera"])
def test_kernels_of_lora_leave_other_adapters_to_peft(llama, adapter):
    """Unsloth's kernels have LoRA's products alone."""
    found = option(ask(llama, adapter, kernels="unsloth"))
    assert (
        found["model"]["trainable_params"]
        == option(ask(llama, adapter))["model"]["trainable_params"]
    )


def test_another_method_is_not_advised_in_lora_s_words(llama):
    advised = ask(llama, "prompt")["recommended"]
    assert "Prompt tuning is what was asked for" in json.dumps(advised)


def test_a_size_that_peft_takes_otherwise_is_said(llama):
    answer = ask(llama, "oft", adapter_block_size=48)
    assert any("Adjusted `oft_block_size`" in text for text in option(answer)["assumptions"])


def test_an_adapter_s_folder_asks_for_its_method(llama, tmp_path):
    settings = {
        "peft_type": "OFT",
        "base_model_name_or_path": llama,
        "oft_block_size": 16,
        "r": 0,
        "target_modules": ["q_proj"],
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    found = option(estimate(str(tmp_path), samples=100, tokens_per_sample=64, strategy="lora"))
    assert found["training"]["lora"] == {
        "method": "OFT",
        "adapter_block_size": 16,
        "targets": ["q_proj"],
    }


def test_an_adapter_without_adapters_changes_nothing(llama):
    answer = ask(llama, "dora", strategy="fine_tune")
    assert any("--adapter has no effect" in text for text in lines(answer))


def test_a_name_is_one_of_the_table_s():
    with pytest.raises(QuestionError, match="dora"):
        estimate("gpt2", samples=10, tokens_per_sample=10, adapter="dor")
