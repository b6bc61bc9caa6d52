"""Small configs of the families that write about images, by model type."""


def _text(kind, **more):
    return {
        "model_type": kind,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 300,
        "max_position_embeddings": 4096,
        **more,
    }


def _vision(kind, image_size=56, **more):
    return {
        "model_type": kind,
        "hidden_size": 32,
        "image_size": image_size,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "patch_size": 14,
        **more,
    }


def _qwen(kind, sections, vision, **more):
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections}
    return {
        "model_type": kind,
        "image_token_id": 200,
        "video_token_id": 201,
        "text_config": _text(f"{kind}_text", rope_parameters=rope, **more),
        "vision_config": {"model_type": kind, "spatial_merge_size": 2, "num_heads": 4, **vision},
    }


_BLIP = {
    "model_type": "blip-2",
    "image_token_index": 200,
    "num_query_tokens": 8,
    "vision_config": _vision("blip_2_vision_model"),
    "qformer_config": {
        "model_type": "blip_2_qformer",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "encoder_hidden_size": 32,
        "vocab_size": 300,
    },
}
SMALL = {
    "llava": {
        "model_type": "llava",
        "image_token_index": 200,
        "text_config": _text("llama"),
        "vision_config": _vision("clip_vision_model"),
    },
    "qwen2_vl": _qwen(
        "qwen2_vl", [2, 3, 3], {"depth": 2, "embed_dim": 32, "hidden_size": 64, "patch_size": 14}
    ),
    "qwen2_5_vl": _qwen(
        "qwen2_5_vl",
        [2, 3, 3],
        {
            "depth": 2,
            "hidden_size": 32,
            "out_hidden_size": 64,
            "intermediate_size": 64,
            "patch_size": 14,
            "window_size": 112,
            "fullatt_block_indexes": [1],
        },
    ),
    "qwen3_vl": _qwen(
        "qwen3_vl",
        [4, 2, 2],
        {
            "depth": 2,
            "hidden_size": 32,
            "out_hidden_size": 64,
            "intermediate_size": 64,
            "patch_size": 16,
            "deepstack_visual_indexes": [0],
            "num_position_embeddings": 64,
        },
        head_dim=16,
    ),
    "idefics2": {
        "model_type": "idefics2",
        "image_token_id": 200,
        "text_config": _text("mistral", sliding_window=None),
        "vision_config": _vision("idefics2_vision", 112),
        "perceiver_config": {
            "model_type": "idefics2",
            "resampler_n_latents": 8,
            "resampler_depth": 2,
            "resampler_n_heads": 4,
            "resampler_head_dim": 16,
            "num_key_value_heads": 2,
        },
    },
    "idefics3": {
        "model_type": "idefics3",
        "image_token_id": 200,
        "scale_factor": 2,
        "text_config": _text("llama"),
        "vision_config": _vision("idefics3_vision"),
    },
    "smolvlm": {
        "model_type": "smolvlm",
        "image_token_id": 200,
        "scale_factor": 2,
        "text_config": _text("llama"),
        "vision_config": _vision("smolvlm_vision"),
    },
    "paligemma": {
        "model_type": "paligemma",
        "image_token_index": 299,
        "projection_dim": 64,
        "text_config": _text("gemma", head_dim=16),
        "vision_config": _vision("siglip_vision_model", projection_dim=64, vision_use_head=False),
    },
    "gemma3": {
        "model_type": "gemma3",
        "image_token_index": 200,
        "mm_tokens_per_image": 4,
        "text_config": _text("gemma3_text", head_dim=16, sliding_window=1024),
        "vision_config": _vision("siglip_vision_model", vision_use_head=False),
    },
    "mllama": {
        "model_type": "mllama",
        "image_token_index": 200,
        "text_config": _text("mllama_text_model", cross_attention_layers=[1], pad_token_id=0),
        "vision_config": {
            "model_type": "mllama_vision_model",
            "hidden_size": 32,
            "image_size": 56,
            "intermediate_size": 64,
            "attention_heads": 4,
            "num_hidden_layers": 3,
            "num_global_layers": 1,
            "patch_size": 14,
            "max_num_tiles": 4,
            "intermediate_layers_indices": [0, 1],
            "vision_output_dim": 96,
        },
    },
    "blip-2": {
        **_BLIP,
        "use_decoder_only_language_model": True,
        "text_config": {
            "model_type": "opt",
            "hidden_size": 64,
            "ffn_dim": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": 300,
            "word_embed_proj_dim": 64,
            "max_position_embeddings": 512,
        },
    },
    "blip-2 over T5": {
        **_BLIP,
        "use_decoder_only_language_model": False,
        "text_config": {
            "model_type": "t5",
            "d_model": 64,
            "d_kv": 16,
            "d_ff": 128,
            "num_layers": 2,
            "num_heads": 4,
            "vocab_size": 300,
            "decoder_start_token_id": 0,
        },
    },
}
