"""A size of images that a model cannot take is one clear line, with sizes that it can."""

import json

import pytest

from planner.answer.estimate import estimate
from planner.errors import ImageSizeError

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64}
MAE = {
    "model_type": "vit_mae",
    "architectures": ["ViTMAEForPreTraining"],
    **SMALL,
    "intermediate_size": 64,
    "decoder_hidden_size": 32,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 64,
}
SAM = {
    "model_type": "sam",
    "architectures": ["SamModel"],
    "vision_config": {
        **SMALL,
        "mlp_dim": 64,
        "output_channels": 32,
        "global_attn_indexes": [0],
        "num_pos_feats": 16,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 64, "image_embedding_size": 4},
    "mask_decoder_config": {
        "hidden_size": 32,
        "mlp_dim": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 32,
    },
}


def folder(tmp_path, config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    return str(tmp_path)


def asked(model, side):
    return estimate(model, samples=100, image_size=side, gpu="t4", strategy=["fine_tune"])


def test_a_size_that_no_patches_fill_names_those_that_do(tmp_path):
    with pytest.raises(ImageSizeError) as refused:
        asked(folder(tmp_path, MAE), 70)
    said = str(refused.value)
    assert "no images of 70 × 70 pixels; of its own 64 and of " in said
    assert " 80" in said and "--image-size" in said
    assert "\n" not in said and "torch" not in said.replace(str(tmp_path), "")


def test_a_model_of_one_size_says_so(tmp_path):
    with pytest.raises(ImageSizeError, match=r"no images of 96 × 96 pixels, only of 64 × 64"):
        asked(folder(tmp_path, SAM), 96)


def test_its_own_size_is_answered(tmp_path):
    answer = asked(folder(tmp_path, SAM), 64)
    assert answer["options"]
