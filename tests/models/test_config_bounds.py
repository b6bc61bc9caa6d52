"""Configs that would hang the machine or take all of its memory, and those that only look so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner import tables
from planner.errors import ModelError
from planner.models.configs import check_config, parse_config

LLAMA = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4}
REFUSED = {
    "layers": (LLAMA | {"num_hidden_layers": 4000}, "num_hidden_layers"),
    "depths": ({"model_type": "resnet", "depths": [10**5, 1, 1, 1]}, "depths"),
    "depths in lists": ({"model_type": "swin", "depths": [[400, 400], [400]]}, "depths"),
    "blocks": ({"model_type": "segformer", "num_encoder_blocks": 10**5}, "num_encoder_blocks"),
    "widths": ({"model_type": "resnet", "hidden_sizes": [10**12]}, "hidden_sizes"),
    "many widths": ({"model_type": "resnet", "hidden_sizes": [8] * 2000}, "hidden_sizes"),
    "dimensions": ({"model_type": "wav2vec2", "conv_dim": [10**12]}, "conv_dim"),
    "buckets": ({"model_type": "deberta-v2", "position_buckets": 10**12}, "position_buckets"),
    "labels": (LLAMA | {"num_labels": 10**12}, "num_labels"),
    "within a part": (
        {"model_type": "clip", "vision_config": {"num_hidden_layers": 10**5}},
        "vision_config.num_hidden_layers",
    ),
}


@pytest.mark.parametrize(("config", "key"), REFUSED.values(), ids=REFUSED)
def test_a_key_beyond_its_bound_is_named(config, key):
    with pytest.raises(ModelError) as error:
        parse_config(json.dumps(config), "config.json")
    assert repr(key) in str(error.value) and len(str(error.value)) < 200


def test_which_of_the_layers_is_no_number_of_them():
    parse_config(json.dumps(LLAMA | {"cross_attention_layers": [3, 8, 500, 900]}), "config.json")


@pytest.mark.parametrize(
    "file", sorted(tables.path("models", "configs").glob("*.json")), ids=lambda file: file.stem
)
def test_every_shipped_config_is_within_the_bounds(file: Path):
    config = json.loads(file.read_text(encoding="utf-8"))
    if isinstance(config.get("model_type"), str):
        check_config(config, file.name)
