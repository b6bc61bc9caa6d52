"""Hostile and malformed config.json and safetensors files: one line that names the file and the
key, never a traceback."""

import json
import math
import re
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import ModelError, PlannerError
from planner.models.checkpoint import read_checkpoint, read_header
from planner.models.configs import parse_config
from planner.models.resolve import resolve

GOOD = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 128,
    "max_position_embeddings": 64,
}

HOSTILE = [
    ("[1, 2]", "JSON object"),
    ("", "not a JSON"),
    ("{", "not a JSON"),
    ("null", "JSON object"),
    ('{"model_type": NaN}', "NaN"),
    ("{}", "model_type"),
    ('{"model_type": 5}', "model_type"),
    ('{"model_type": "lama"}', "llama"),
    ('{"model_type": "../../x"}', "model_type"),
    ("[" * 100000 + "]" * 100000, "not a JSON"),
    *(
        (json.dumps({**GOOD, key: value}), key)
        for key, value in [
            ("hidden_size", 0),
            ("hidden_size", -32),
            ("hidden_size", "32"),
            ("hidden_size", 32.5),
            ("hidden_size", True),
            ("hidden_size", None),
            ("hidden_size", 10**30),
            ("hidden_size", {"a": 1}),
            ("num_hidden_layers", 10**6),
            ("num_hidden_layers", []),
            ("vocab_size", -1),
            ("vocab_size", 10**12),
            ("num_attention_heads", 5),
            ("num_attention_heads", 0),
            ("num_key_value_heads", 3),
            ("intermediate_size", "1e9"),
            ("max_position_embeddings", 0),
            ("rms_norm_eps", 10**40),
        ]
    ),
    (json.dumps(GOOD)[:-1] + ', "rope_theta": Infinity}', "rope_theta"),
    (json.dumps(GOOD)[:-1] + ', "limits": [0.0, NaN]}', "NaN"),
    (json.dumps(GOOD)[:-1] + ', "rope_theta": {"__float__": "Infinity"}}', "rope_theta"),
    (json.dumps(GOOD)[:-1] + ', "hidden_size": Infinity}', "hidden_size"),
    (json.dumps(GOOD)[:-1] + ', "factors": [1.0, Infinity, 2.0]}', "factors"),
    (json.dumps(GOOD)[:-1] + ', "rope_theta": 1e999}', "rope_theta"),
    (json.dumps({**GOOD, "text_config": {"hidden_size": -1}}), "text_config.hidden_size"),
]


@pytest.mark.parametrize("text, names", HOSTILE)
def test_hostile_configs_are_refused_in_one_line(tmp_path, text, names):
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(ModelError) as error:
        resolve(str(tmp_path))
    line = str(error.value)
    assert names in line and str(file) in line and "\n" not in line and len(line) < 600


@pytest.mark.parametrize("end", ["Infinity", '{"__float__": "Infinity"}', "1e999"])
def test_a_range_may_be_open(end):
    """``time_step_limit`` of the published Mamba-2 and Granite 4 configs."""
    config = parse_config(json.dumps(GOOD)[:-1] + f', "time_step_limit": [0.0, {end}]}}', "x")
    assert config["time_step_limit"] == [0.0, float("inf")]


def test_oversized_and_binary_configs(tmp_path):
    file = tmp_path / "config.json"
    file.write_bytes(b'{"model_type": "llama", "x": "' + b"a" * (5 * 2**20) + b'"}')
    with pytest.raises(ModelError, match="MiB"):
        resolve(str(tmp_path))
    file.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ModelError, match="cannot be read"):
        resolve(str(file))


def test_remote_code_is_refused_and_never_imported(tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "modeling_x.py").write_text(f"open({str(marker)!r}, 'w').write('x')\n")
    for model_type in ("llama", "own_type"):
        (tmp_path / "config.json").write_text(
            json.dumps(
                {
                    **GOOD,
                    "model_type": model_type,
                    "auto_map": {"AutoModelForCausalLM": "modeling_x.X"},
                }
            )
        )
        with pytest.raises(ModelError, match="trust-remote-code"):
            resolve(str(tmp_path))
    assert resolve(str(tmp_path), trust_remote_code=True, task="causal_lm").trust_remote_code
    (tmp_path / "config.json").write_text(
        json.dumps({**GOOD, "auto_map": {"AutoModelForCausalLM": "modeling_x.X"}})
    )
    # transformers' own class serves
    assert not resolve(str(tmp_path), trust_remote_code=True).trust_remote_code
    assert not marker.exists()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                *GOOD,
                "head_dim",
                "image_size",
                "text_config",
                "vision_config",
                "auto_map",
                "rope_scaling",
            ]
        ),
        json_values,
    )
)
def test_any_mutation_is_a_config_or_one_line(changes):
    try:
        config = parse_config(json.dumps({**GOOD, **changes}), "config.json")
    except PlannerError as error:
        assert "config.json" in str(error) and "\n" not in str(error)
    else:
        assert config["hidden_size"] == changes.get("hidden_size", 32)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_config_or_one_line(text):
    with pytest.raises(PlannerError):
        parse_config(text, "config.json")


def safetensors(file, tensors, held=None):
    """A file whose tensors lie one after the other; ``held``: bytes of data that it really has."""
    placed, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * int(re.sub(r"\D", "", dtype)) // 8
        placed[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    header = json.dumps({"__metadata__": {"format": "pt"}, **placed}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(end if held is None else held))


def tensor(dtype, *shape):
    return dtype, list(shape)


def test_safetensors_header_gives_exact_parameters(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**GOOD, "torch_dtype": "float32"}))
    safetensors(
        tmp_path / "model.safetensors",
        {
            "a": tensor("BF16", 10, 20),
            "b": tensor("BF16", 7),
            "n": tensor("F32"),
            "i": tensor("I64", 99),
        },
    )
    facts = resolve(str(tmp_path))
    assert facts.parameters == 208 and facts.weights_dtype == "bfloat16"


def test_sharded_checkpoints(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(GOOD))
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": names[0], "b": names[1]}})
    )
    safetensors(tmp_path / names[0], {"a": tensor("F16", 3, 5)})
    assert resolve(str(tmp_path)).parameters is None  # half a download has no count
    safetensors(tmp_path / names[1], {"b": tensor("F16", 4)})
    assert resolve(str(tmp_path)).parameters == 19
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "../../etc/passwd.safetensors"}})
    )
    with pytest.raises(ModelError, match="outside"):
        resolve(str(tmp_path))


def test_packed_weights_have_no_count(tmp_path):
    safetensors(
        tmp_path / "model.safetensors",
        {"l.qweight": tensor("I32", 8, 8), "l.scales": tensor("F16", 8)},
    )
    assert read_checkpoint(tmp_path).parameters is None


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"abc",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"{..}",
        struct.pack("<Q", 29) + b'{"a":{"dtype":5,"shape":[1]}}',
        struct.pack("<Q", 34) + b'{"a":{"dtype":"F32","shape":[-1]}}',
    ],
)
def test_damaged_safetensors(tmp_path, contents):
    file = tmp_path / "model.safetensors"
    file.write_bytes(contents)
    with pytest.raises(ModelError, match="safetensors"):
        read_header(file)


def test_a_header_that_claims_more_than_there_is(tmp_path):
    file = tmp_path / "model.safetensors"
    safetensors(file, {"a": tensor("BF16", 10**6, 10**6)}, held=100)
    with pytest.raises(ModelError, match="the file holds 100. It is not wholly there"):
        read_header(file)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}, "4 elements of F32 in 8 bytes"),
        ({"dtype": "F32", "shape": [2]}, "no sane place"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}, "no sane place"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, True]}, "no sane place"),
        ({"dtype": "NEW7", "shape": [2], "data_offsets": [0, 99]}, "claims 99 bytes"),
    ],
)
def test_tensors_lie_where_their_header_says(tmp_path, entry, said):
    header = json.dumps({"a": entry}).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(ModelError, match=said):
        read_header(file)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_header_or_one_line(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("st") / "model.safetensors"
    file.write_bytes(data)
    try:
        read_header(file)
    except ModelError as error:
        assert str(file) in str(error)
