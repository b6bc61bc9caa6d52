"""What is asked, and how long it may take: questions of shipped models, of shipped models with a
number of classes that nobody has traced, and of configurations that nobody has seen."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .processes import ROOT

LANGUAGE = ("--samples", "1000", "--tokens-per-sample", "512")
RENTED = ("estimate", "Llama-3.2-1B", *LANGUAGE)
ON = ("--gpu", "h100-sxm")
SHIPPED = (*RENTED, *ON)
MEMORY_LIMIT_BYTES = 1_500_000_000
NUMBERS_OF_CLASSES = 37, 9_973


@dataclass(frozen=True)
class Case:
    """A question whose whole process is timed. ``config``: of a seed, the config.json of a model
    that has no trace; its folder stands in the question where ``MODEL`` stands. ``light``: torch,
    transformers and pandas are not to be imported. ``limit_seconds``: None where none is set."""

    name: str
    arguments: tuple[str, ...]
    limit_seconds: float | None
    says: str
    config: Callable[[int], dict] | None = None

    @property
    def light(self) -> bool:
        return self.config is None

    def asked(self, folder: Path, seed: int) -> tuple[str, ...]:
        """The words of the command line; writes the model's folder where the case has one."""
        if self.config is None:
            return self.arguments
        model = folder / "model"
        model.mkdir()
        (model / "config.json").write_text(json.dumps(self.config(seed)))
        return tuple(str(model) if word is MODEL else word for word in self.arguments)


MODEL = "the folder of the configuration"


def never_seen_config(seed: int) -> dict:
    """A 32-layer Llama-like configuration that no catalogue has: odd head sizes, widths and
    vocabulary."""
    draw = random.Random(seed)
    heads, groups, head_size = (
        draw.choice((12, 18, 20, 28)),
        draw.choice((1, 2)),
        draw.choice((56, 72, 88, 104)),
    )
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 32,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // groups,
        "head_dim": head_size,
        "hidden_size": heads * head_size,
        "intermediate_size": heads * head_size * 3 - draw.randrange(8, 64, 8),
        "vocab_size": draw.randrange(20_000, 60_000),
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
    }


def llama_405b_config(_seed: int) -> dict:
    """Llama-3.1-405B, by its row of the published shapes (``profiles/models/llama_shapes.csv``)."""
    with (ROOT / "profiles" / "models" / "llama_shapes.csv").open(encoding="utf-8") as lines:
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        shape = next(row for row in rows if row["name"] == "Llama-3.1-405B")
    numbers = (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "head_dim",
        "vocab_size",
        "max_position_embeddings",
    )
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        **{name: int(shape[name]) for name in numbers},
        "tie_word_embeddings": bool(int(shape["tie_word_embeddings"])),
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "hidden_act": "silu",
        "torch_dtype": "bfloat16",
    }


def mixture_config(_seed: int) -> dict:
    """A mixture of 61 layers in DeepSeek-V3's shape, weights in bfloat16: the defaults of
    ``DeepseekV3Config`` (transformers 5.23), which are that model's, written out."""
    return {
        "model_type": "deepseek_v3",
        "architectures": ["DeepseekV3ForCausalLM"],
        "vocab_size": 129280,
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "moe_intermediate_size": 2048,
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "n_shared_experts": 1,
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "n_group": 8,
        "topk_group": 4,
        "first_k_dense_replace": 3,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128,
        "v_head_dim": 128,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }


def _of_a_config(
    name: str, config: Callable[[int], dict], strategy: str, limit_seconds: float | None, says: str
) -> Case:
    one = () if strategy == "all" else ("--strategy", strategy)
    asked = ("estimate", MODEL, *LANGUAGE, *ON, *one)
    return Case(name, asked, limit_seconds, says, config)


def _of_classes(name: str, words: tuple[str, ...], classes: int) -> Case:
    asked = ("estimate", *words, "--classes", str(classes), *ON)
    return Case(name, asked, 0.45, f"{words[0]}, {classes:,} classes, all strategies")


FEW, MANY = NUMBERS_OF_CLASSES
TEXTS = ("--samples", "1000", "--tokens-per-sample", "128")
FILES = ("--samples", "1000")
CASES = (
    Case("shipped", SHIPPED, 0.45, "Llama-3.2-1B, all strategies, one GPU"),
    Case("rented", RENTED, 1.0, "the same, all GPUs for rent"),
    _of_classes("classes_bert", ("bert-base-uncased", *TEXTS), FEW),
    _of_classes("classes_bert_many", ("bert-base-uncased", *TEXTS), MANY),
    _of_classes("classes_resnet50", ("resnet50", *FILES), FEW),
    _of_classes("classes_vit_many", ("vit-base", *FILES), MANY),
    _of_classes("classes_wav2vec2", ("wav2vec2-base", *FILES), FEW),
    _of_a_config(
        "never_seen", never_seen_config, "fine_tune", 3.0, "32 layers, empty cache, fine-tuning"
    ),
    _of_a_config("never_seen_lora", never_seen_config, "lora", 3.0, "32 layers, empty cache, LoRA"),
    _of_a_config(
        "never_seen_all", never_seen_config, "all", 8.0, "32 layers, empty cache, all strategies"
    ),
    _of_a_config(
        "llama_405b", llama_405b_config, "fine_tune", 6.0, "126 layers, empty cache, fine-tuning"
    ),
    _of_a_config(
        "llama_405b_lora", llama_405b_config, "lora", 6.0, "126 layers, empty cache, LoRA"
    ),
    _of_a_config(
        "mixture", mixture_config, "fine_tune", 6.0, "DeepSeek-V3's shape, empty cache, fine-tuning"
    ),
    _of_a_config(
        "mixture_lora", mixture_config, "lora", 6.0, "DeepSeek-V3's shape, empty cache, LoRA"
    ),
)
