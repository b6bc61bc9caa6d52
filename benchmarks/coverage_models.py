"""The families that the tracer's coverage is taken over: the smallest member of each, its blocks
cut to a few."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from planner.models import catalogue
from planner.models.facts import ModelFacts, config_fingerprint
from planner.models.resolve import resolve
from planner.models.students import ALL_BLOCKS, PARTS

BLOCKS = 4

#: Families of transformers that the catalogue has none of: a config small enough to build at once.
_DECODER = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 1000,
    "max_position_embeddings": 512,
    "head_dim": 16,
}
_ENCODER = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 1000,
}
_VISION = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 32,
    "patch_size": 8,
}
EXTRA = {
    "mixtral": (_DECODER | {"num_local_experts": 4, "num_experts_per_tok": 2}, "causal_lm"),
    "qwen2_moe": (
        _DECODER
        | {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 64,
            "shared_expert_intermediate_size": 64,
        },
        "causal_lm",
    ),
    "qwen3_moe": (
        _DECODER | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
        "causal_lm",
    ),
    "olmoe": (_DECODER | {"num_experts": 4, "num_experts_per_tok": 2}, "causal_lm"),
    "gpt_oss": (_DECODER | {"num_local_experts": 4, "num_experts_per_tok": 2}, "causal_lm"),
    "deepseek_v3": (
        _DECODER
        | {
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 64,
            "q_lora_rank": 32,
            "kv_lora_rank": 32,
            "qk_rope_head_dim": 16,
            "qk_nope_head_dim": 16,
            "v_head_dim": 16,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
        },
        "causal_lm",
    ),
    "gemma3_text": (_DECODER | {"sliding_window": 64}, "causal_lm"),
    "olmo2": (_DECODER, "causal_lm"),
    "cohere": (_DECODER, "causal_lm"),
    "starcoder2": (_DECODER, "causal_lm"),
    "stablelm": (_DECODER, "causal_lm"),
    "glm": (_DECODER | {"pad_token_id": 0}, "causal_lm"),
    "granite": (_DECODER, "causal_lm"),
    "smollm3": (_DECODER | {"pad_token_id": 0}, "causal_lm"),
    "mpt": (
        {"d_model": 64, "n_heads": 4, "n_layers": 2, "vocab_size": 1000, "max_seq_len": 512},
        "causal_lm",
    ),
    "gpt_bigcode": ({"n_embd": 64, "n_head": 4, "n_layer": 2, "vocab_size": 1000}, "causal_lm"),
    "codegen": (
        {"n_embd": 64, "n_head": 4, "n_layer": 2, "vocab_size": 1000, "rotary_dim": 16},
        "causal_lm",
    ),
    "mamba": ({"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 1000}, "causal_lm"),
    "xlnet": (
        {"d_model": 64, "n_layer": 2, "n_head": 4, "d_inner": 128, "vocab_size": 1000},
        "text_classification",
    ),
    "mpnet": (_ENCODER, "text_classification"),
    "deberta": (_ENCODER, "text_classification"),
    "camembert": (_ENCODER, "text_classification"),
    "longformer": (_ENCODER | {"attention_window": 32}, "text_classification"),
    "big_bird": (_ENCODER, "text_classification"),
    "fnet": (_ENCODER, "text_classification"),
    "mbart": (
        {
            "d_model": 64,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "decoder_ffn_dim": 128,
            "vocab_size": 1000,
        },
        "seq2seq_lm",
    ),
    "pegasus": (
        {
            "d_model": 64,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "decoder_ffn_dim": 128,
            "vocab_size": 1000,
        },
        "seq2seq_lm",
    ),
    "vit": (_VISION, "image_classification"),
    "beit": (_VISION | {"use_relative_position_bias": True}, "image_classification"),
    "dinov2": (_VISION, "image_classification"),
    "deit": (_VISION | {"architectures": ["DeiTForImageClassification"]}, "image_classification"),
    "swin": (
        {
            "image_size": 64,
            "patch_size": 4,
            "embed_dim": 16,
            "depths": [2, 2],
            "num_heads": [2, 4],
            "window_size": 4,
        },
        "image_classification",
    ),
    "convnext": (
        {"image_size": 64, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 2, 1]},
        "image_classification",
    ),
    "resnet": (
        {
            "image_size": 64,
            "hidden_sizes": [16, 32, 64, 128],
            "depths": [1, 1, 1, 1],
            "embedding_size": 16,
        },
        "image_classification",
    ),
    "segformer": ({"image_size": 64, "hidden_sizes": [16, 32, 64, 128]}, "image_classification"),
    "siglip": (
        {"text_config": _ENCODER | {"max_position_embeddings": 32}, "vision_config": _VISION},
        "contrastive",
    ),
    "audio-spectrogram-transformer": (
        _VISION | {"max_length": 128, "num_mel_bins": 32, "patch_size": 16},
        "audio_classification",
    ),
    "wavlm": (
        {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
        },
        "audio_classification",
    ),
}
TIMM = (
    "resnet18 resnetv2_50 resnext50_32x4d seresnet18 resnest14d ecaresnet26t efficientnet_b0 "
    "tf_efficientnetv2_b0 mobilenetv2_100 mobilenetv3_small_100 "
    "mobilenetv4_conv_small vgg11 densenet121 regnety_002 dla34 dpn68 hrnet_w18_small "
    "xception41 inception_v3 ghostnet_100 repvgg_a0 convnext_atto "
    "convnextv2_atto convmixer_768_32 mixer_s16_224 gmlp_s16_224 resmlp_12_224 "
    "vit_tiny_patch16_224 deit_tiny_distilled_patch16_224 deit3_small_patch16_224 "
    "beit_base_patch16_224 eva02_tiny_patch14_224 cait_xxs24_224 xcit_nano_12_p16_224 "
    "swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 maxvit_pico_rw_256 "
    "coatnet_pico_rw_224 levit_128s pvt_v2_b0 twins_svt_small poolformer_s12 edgenext_xx_small "
    "mobilevit_xxs efficientformer_l1 volo_d1_224 crossvit_tiny_240 "
    "visformer_tiny focalnet_tiny_srf hiera_tiny_224 davit_tiny mvitv2_tiny nest_tiny "
    "tnt_s_patch16_224 vit_relpos_small_patch16_224 botnet26t_256 "
    "vit_small_patch14_dinov2 vit_small_patch16_dinov3 mambaout_femto nf_regnet_b0 fastvit_t8 "
    "repvit_m1 tiny_vit_5m_224 convit_tiny sequencer2d_s"
).split()
TORCHVISION = (
    "alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet "
    "inception_v3 maxvit_t mnasnet0_5 mobilenet_v2 mobilenet_v3_small "
    "regnet_y_400mf resnet18 resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_1 swin_t swin_v2_t "
    "vgg11_bn vit_b_32"
).split()


def families(every: bool) -> Iterator[tuple[str, ModelFacts]]:
    """(label, facts): the smallest member of each family of the catalogue (every member with
    ``every``), and the samples above."""
    chosen: dict[str, ModelFacts] = {}
    for name in catalogue.names():
        facts = resolve(name, offline=True)
        family = (
            name
            if every
            else (facts.config or {}).get("model_type") or f"timm:{facts.architecture}"
        )
        if family not in chosen or (facts.parameters or 0) < (chosen[family].parameters or 0):
            chosen[family] = facts
    for facts in chosen.values():
        yield facts.name, trimmed(facts)
    for kind, (config, task) in EXTRA.items():
        yield f"config:{kind}", configured(kind, config, task)
    for name in itertools.chain(
        (f"timm:{n}" for n in TIMM), (f"torchvision:{n}" for n in TORCHVISION)
    ):
        yield name, resolve(name, offline=True)


def trimmed(facts: ModelFacts) -> ModelFacts:
    """The same model with at most a few blocks: every kind of block that a config alternates
    stays."""
    if facts.config is None:
        return facts
    config = copy.deepcopy(dict(facts.config))
    for part in [config, *(config[name] for name in PARTS if isinstance(config.get(name), dict))]:
        for key in ALL_BLOCKS:
            before = part.get(key)
            if isinstance(before, int) and not isinstance(before, bool) and before > BLOCKS:
                part[key] = BLOCKS
                part.update(
                    {
                        k: v[:BLOCKS]
                        for k, v in part.items()
                        if isinstance(v, list)
                        and len(v) == before
                        and k.endswith(("layers", "types"))
                    }
                )
        if isinstance(part.get("attention_types"), list):
            part["attention_types"] = [
                [kinds, BLOCKS // len(kinds)] for kinds, _ in part["attention_types"]
            ]
    return replace(
        facts,
        config=config,
        fingerprint=config_fingerprint(config),
        blocks=min(facts.blocks or BLOCKS, BLOCKS),
        parameters=None,
    )


def configured(kind: str, config: dict[str, Any], task: str) -> ModelFacts:
    from planner.models.tasks import modality_of

    whole = {"model_type": kind, **config}
    return ModelFacts(
        name=kind,
        origin="folder",
        library="transformers",
        task=task,
        modality=modality_of(task),
        fingerprint=config_fingerprint(whole),
        config=whole,
        weights_dtype="bfloat16" if task == "causal_lm" else "float32",
        blocks=2,
        image_size=config.get("image_size"),
    )
