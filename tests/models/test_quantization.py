"""``quantization_config`` as it is read, the bytes of the tensors that it means, what is said of
it."""

from __future__ import annotations

import json

import pytest

from planner.errors import ModelError
from planner.models.quantization.read import read
from planner.models.quantization.stored import LOADED
from planner.models.quantization.words import refusal
from planner.models.resolve import resolve
from planner.plan.inputs.problem import understand
from planner.question import Question

MISTRAL = {
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "torch_dtype": "float16",
}
#: Published configs, shortened: (quantization_config, words, bits, bytes of a 4096 × 4096 layer).
N = 4096 * 4096
PUBLISHED = [
    # TheBloke/Mistral-7B-v0.1-GPTQ: words, scales and zeros a group of 128, an index an input
    (
        {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": True, "sym": True},
        "GPTQ",
        4,
        N // 2 + 32 * 4096 * 2 + 32 * 4096 // 2 + 4096 * 4,
    ),
    (
        {"quant_method": "gptq", "bits": 3, "group_size": -1},
        "GPTQ",
        3,
        N * 3 // 8 + 4096 * 2 + 4096 * 3 // 8 + 4096 * 4,
    ),
    # casperhansen/llama-3-8b-instruct-awq
    (
        {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"},
        "AWQ",
        4,
        N // 2 + 32 * 4096 * 2 + 32 * 4096 // 2,
    ),
    # unsloth/mistral-7b-v0.3-bnb-4bit
    (
        {
            "_load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "load_in_4bit": True,
            "quant_method": "bitsandbytes",
        },
        "bitsandbytes NF4",
        4,
        N // 2 + N // 64 + N // 64 // 256 * 4 + (16 + 256 + 1) * 4,
    ),
    (
        {"load_in_4bit": True, "bnb_4bit_use_double_quant": False, "bnb_4bit_quant_type": "fp4"},
        "bitsandbytes FP4",
        4,
        N // 2 + N // 64 * 4 + 16 * 4,
    ),
    (
        {"load_in_8bit": True, "quant_method": "bitsandbytes"},
        "bitsandbytes LLM.int8()",
        8,
        N + 4096 * 4,
    ),
    # deepseek-ai/DeepSeek-V3
    (
        {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]},
        "fp8",
        8,
        N + 32 * 32 * 4,
    ),
    # openai/gpt-oss-20b: a byte of scale for 32 values
    (
        {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
        "MXFP4",
        4,
        N // 2 + N // 32,
    ),
    # RedHatAI/…-quantized.w4a16
    (
        {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "ignore": ["lm_head"],
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"],
                    "weights": {"num_bits": 4, "type": "int", "group_size": 128},
                }
            },
        },
        "compressed-tensors, int4",
        4,
        N // 2 + 32 * 4096 * 2,
    ),
    (
        {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}},
        "HQQ",
        4,
        N // 2 + N // 64 * 4,
    ),
    ({"quant_method": "eetq", "weights": "int8"}, "EETQ int8", 8, N + 4096 * 2),
    ({"quant_method": "quanto", "weights": "int8"}, "quanto int8", 8, N + 4096 * 2),
    (
        {
            "quant_method": "torchao",
            "quant_type": {
                "default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 64}}
            },
        },
        "torchao Int4WeightOnlyConfig",
        4,
        N // 2 + N // 64 * 4,
    ),
    # ISTA-DASLab/…-AQLM-2Bit-1x16: a code of 16 bits for 8 weights, one codebook a layer
    (
        {"quant_method": "aqlm", "in_group_size": 8, "nbits_per_codebook": 16, "num_codebooks": 1},
        "AQLM",
        2,
        N // 8 * 2 + 2**16 * 8 * 2 + 4096 * 2,
    ),
]


@pytest.mark.parametrize(("config", "words", "bits", "size"), PUBLISHED, ids=lambda v: str(v)[:24])
def test_published_configs_are_read_and_their_layers_counted(config, words, bits, size):
    found = read({"quantization_config": config})
    assert found is not None and found.known
    assert (found.words, found.bits) == (words, bits)
    assert found.stored_bytes(4096, 4096) == size
    assert found.stored_bytes(4096, 4096) < 2 * N


def test_no_config_no_quantisation():
    assert read({}) is None and read({"quantization_config": {}}) is None
    assert read({"quantization_config": {"quant_method": "mxfp4", "dequantize": True}}) is None


def test_what_is_no_mapping_is_not_known():
    found = read({"quantization_config": ["gptq"]})
    assert found is not None and not found.known


def test_it_may_stand_in_the_text_config_or_under_the_older_key():
    one = {"quant_method": "awq", "bits": 4}
    for config in ({"text_config": {"quantization_config": one}}, {"compression_config": one}):
        found = read(config)
        assert found is not None and found.words == "AWQ"


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 32, "desc_act": False}, "GPTQ"),
        ("quant_config.json", {"w_bit": 4, "q_group_size": 32, "zero_point": True}, "AWQ"),
    ],
)
def test_files_of_older_libraries_are_read(tmp_path, file, content, words):
    (tmp_path / "config.json").write_text(json.dumps(MISTRAL))
    plain = resolve(str(tmp_path))
    (tmp_path / file).write_text(json.dumps(content))
    facts = resolve(str(tmp_path))
    assert facts.quantization is not None
    assert (facts.quantization.words, facts.quantization.group) == (words, 32)
    assert facts.fingerprint != plain.fingerprint, "two models under one key of the trace cache"


def _question(folder, config, **fields):
    stored = {} if config is None else {"quantization_config": config}
    (folder / "config.json").write_text(json.dumps(MISTRAL | stored))
    return Question(
        model=str(folder), samples=100, tokens_per_sample=64, gpu="a100-sxm-80", **fields
    )


def test_a_method_that_is_not_known_is_a_warning_in_the_first_lines(tmp_path):
    problem = understand(_question(tmp_path, {"quant_method": "fancy", "bits": 4}))
    lines = [line for line in problem.first_lines if "'fancy'" in line.text]
    assert len(lines) == 1 and lines[0].warning


def test_a_known_one_is_named_in_the_first_lines(tmp_path):
    problem = understand(_question(tmp_path, PUBLISHED[0][0]))
    assert any("GPTQ, 4 bits, groups of 128" in line.text for line in problem.first_lines)


@pytest.mark.parametrize("config", [config for config, *_ in PUBLISHED], ids=lambda v: str(v)[:24])
@pytest.mark.parametrize("strategy", ["fine_tune", "partial_fine_tune"])
def test_quantised_weights_are_not_trained(tmp_path, config, strategy):
    from planner import estimate

    question = _question(tmp_path, config, strategy=[strategy])
    with pytest.raises(ModelError, match="cannot be trained"):
        estimate(question)


def test_from_scratch_random_weights_are_plain_ones(tmp_path):
    from planner import estimate

    stored = estimate(_question(tmp_path, PUBLISHED[0][0], strategy=["scratch"]))["options"][0]
    (tmp_path / "plain").mkdir()
    plain = estimate(_question(tmp_path / "plain", None, strategy=["scratch"]))["options"][0]
    assert stored["memory"]["device_used_bytes"] == plain["memory"]["device_used_bytes"]
    assert any("plain ones" in text for text in stored["assumptions"])


def test_of_several_strategies_the_others_are_answered(tmp_path):
    from planner import estimate

    answer = estimate(_question(tmp_path, PUBLISHED[0][0], strategy=["lora", "fine_tune"]))
    assert [option["strategy"] for option in answer["options"]] == ["lora"]
    first = answer["first_lines"][0]
    assert first["warning"] and first["text"].startswith("fine_tune is left out")


def test_adapters_and_frozen_backbones_are_not_refused():
    for strategy in ("lora", "qlora", "feature_extraction"):
        assert refusal("any", LOADED["4bit"], strategy) is None


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"quant_method": "gptq", "bits": "four", "group_size": 128}, "bits"),
        ({"quant_method": "gptq", "bits": True}, "bits"),
        ({"quant_method": "gptq", "bits": 0}, "bits"),
        ({"quant_method": "gptq", "bits": 10**9}, "bits"),
        ({"quant_method": "gptq", "bits": 4.5}, "bits"),
        ({"quant_method": "gptq", "bits": [4]}, "bits"),
        ({"quant_method": "gptq", "group_size": 128}, "bits"),
        ({"quant_method": "gptq", "bits": 4, "group_size": "all"}, "group_size"),
        ({"quant_method": "gptq", "bits": 4, "group_size": -128}, "group_size"),
        ({"quant_method": "awq", "bits": "x"}, "bits"),
        ({"quant_method": "hqq", "quant_config": {"nbits": "x"}}, "nbits"),
        ({"quant_method": "aqlm", "num_codebooks": "x"}, "num_codebooks"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": {"weights": {"num_bits": "w"}}},
            },
            "num_bits",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_number_is_refused_and_not_taken_as_another(tmp_path, config, key):
    (tmp_path / "config.json").write_text(json.dumps(MISTRAL | {"quantization_config": config}))
    with pytest.raises(ModelError) as error:
        resolve(str(tmp_path))
    line = str(error.value)
    assert repr(key) in line and str(tmp_path) in line and "\n" not in line


def test_numbers_written_as_texts_are_numbers():
    found = read({"quantization_config": {"quant_method": "gptq", "bits": "8", "group_size": "64"}})
    assert found is not None and (found.bits, found.group) == (8, 64)


def test_compressed_tensors_that_say_nothing_of_weights_are_not_known():
    found = read({"quantization_config": {"quant_method": "compressed-tensors"}})
    assert found is not None and not found.known


@pytest.mark.parametrize(
    ("config", "dtype"), [({"quant_method": "mxfp4"}, "bfloat16"), (PUBLISHED[0][0], "float16")]
)
def test_quantised_weights_without_a_dtype_are_loaded_in_16_bits(tmp_path, config, dtype):
    """gpt-oss states none; its loader takes bfloat16, and nothing of it is float32."""
    bare = {key: value for key, value in MISTRAL.items() if key != "torch_dtype"}
    (tmp_path / "config.json").write_text(json.dumps(bare | {"quantization_config": config}))
    facts = resolve(str(tmp_path))
    assert facts.weights_dtype == dtype
    assert not any("float32" in line.text for line in facts.first_lines)


def group(bits, *targets, kind="int", **weights):
    return {"targets": list(targets), "weights": {"num_bits": bits, "type": kind, **weights}}


def compressed(*groups, ignore=("lm_head",)):
    """A config of compressed-tensors with these groups."""
    named = {f"group_{place}": one for place, one in enumerate(groups)}
    config = {"quant_method": "compressed-tensors", "config_groups": named, "ignore": list(ignore)}
    return read({"quantization_config": config})


def test_every_group_of_compressed_tensors_is_read_with_what_it_is_of():
    mlp = group(4, "re:.*mlp.*", group_size=128)
    found = compressed(group(8, "Linear", kind="float"), mlp)
    assert found is not None and found.words == "compressed-tensors, float8 and int4"
    assert found.detail == "8 bits for Linear; 4 bits, groups of 128 for re:.*mlp.*"
    of = {
        name: found.of(name, ("Linear", "Module"))
        for name in ("model.layers.0.mlp.up_proj", "model.layers.0.self_attn.q_proj")
    }
    assert [part.bits if part else None for part in of.values()] == [4, 8]
    assert found.of("model.norm", ("RMSNorm", "Module")) is None


def test_an_exact_name_goes_before_an_expression_and_that_before_a_class():
    """As compressed-tensors' ``match_targets`` orders them, whatever the order of the groups."""
    name = "model.layers.0.mlp.down_proj"
    groups = [group(2, name), group(4, "re:.*down_proj"), group(8, "Linear")]
    for order in (groups, groups[::-1]):
        found = compressed(*order)
        bits = [found.of(n, ("Linear",)).bits for n in (name, f"x.{name}", "q_proj")]
        assert bits == [2, 4, 8]


def test_one_group_of_some_layers_leaves_the_others_as_they_are():
    found = compressed(group(4, "re:.*mlp.*", group_size=128))
    assert found.of("model.layers.0.self_attn.q_proj", ("Linear",)) is None
    assert found.detail == "4 bits, groups of 128 for re:.*mlp.*"
    whole = compressed(group(4, "Linear", group_size=128))
    assert whole.of("anything", ()) is whole and whole.detail == "4 bits, groups of 128"


def test_a_group_without_weights_stores_nothing_otherwise():
    cache = {"targets": ["re:.*k_proj", "re:.*v_proj"], "output_activations": {"num_bits": 8}}
    found = compressed(cache, group(4, "Linear"))
    assert found is not None and found.groups == () and found.bits == 4


def test_long_lists_of_layers_are_told_apart_and_not_all_shown():
    names = [f"model.layers.{n}.mlp.up_proj" for n in range(40)]
    first, second = (compressed(group(4, *names[:-1], last)) for last in (names[-1], "other"))
    assert first.detail.endswith("layers.2.mlp.up_proj and 37 more") and len(first.detail) < 150
    assert first.layers != second.layers


def test_two_readings_of_one_config_have_traces_of_their_own(tmp_path):
    kept = set()
    for groups in ([group(4, "Linear")], [group(4, "re:.*mlp.*")]):
        named = {f"group_{place}": one for place, one in enumerate(groups)}
        config = {"quant_method": "compressed-tensors", "config_groups": named}
        (tmp_path / "config.json").write_text(json.dumps(MISTRAL | {"quantization_config": config}))
        facts = resolve(str(tmp_path))
        kept.add(facts.fingerprint)
        assert ("for re:.*mlp.*" in " ".join(x.text for x in facts.first_lines)) == (len(kept) == 2)
    assert len(kept) == 2
