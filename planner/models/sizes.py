"""A bare size such as ``7B`` becomes a Llama-shaped decoder, interpolated between the published shapes of the Llama family."""

from __future__ import annotations

import math
import re

from planner import profiles
from planner.errors import ModelError
from planner.models.facts import ModelFacts, config_fingerprint
from planner.models.tasks import check_task
from planner.units import format_count, parse_count

SIZE = re.compile(r"[0-9]*\.?[0-9]+[kmbt]", re.IGNORECASE)
RANGE = (10**6, 4 * 10**12)


def is_size(name: str) -> bool:
    return SIZE.fullmatch(name.strip().replace("_", "")) is not None


def facts(name: str, task: str | None) -> ModelFacts:
    """The facts of a decoder of about that many parameters. Raises ModelError outside 1M to 4T."""
    wanted = parse_count(name)
    if not RANGE[0] <= wanted <= RANGE[1]:
        raise ModelError(f"a model of {format_count(wanted)} parameters is outside 1M to 4T", where=name)
    config = shape(wanted)
    count = parameters(config)
    layers, width, vocabulary = config["num_hidden_layers"], config["hidden_size"], config["vocab_size"]
    stated = (f"{name}: taken as a Llama-shaped decoder of {format_count(count)} parameters ({layers} blocks, width {width}, "
              f"{config['num_attention_heads']} heads, {config['num_key_value_heads']} key-value heads, feed-forward {config['intermediate_size']}, "
              f"vocabulary {vocabulary}); name a model for its own shape")
    return ModelFacts(name=name, origin="size", library="transformers", task=check_task(task, "causal_lm", name), modality="text",
                      fingerprint=config_fingerprint(config), config=config, parameters=count, max_length=config["max_position_embeddings"],
                      blocks=layers, vocabulary=vocabulary, assumptions=(stated,))


def shape(wanted: int) -> dict:
    """A Llama config of about ``wanted`` parameters: the published shapes interpolated in log size, then the depth or width fitted."""
    rows = [{key: float(row[key]) for key in COLUMNS} for row in profiles.rows("models", "llama_shapes.csv")]
    rows.sort(key=lambda row: row["parameters"])
    near = min(rows, key=lambda row: abs(math.log(row["parameters"] / wanted)))
    head = int(near["head_dim"])
    guess = {key: _interpolate(rows, key, wanted) for key in ("hidden_size", "num_hidden_layers", "intermediate_size")}
    candidates = []
    for scale in range(70, 131):
        width = max(head, round(guess["hidden_size"] * scale / 100 / head) * head)
        heads = width // head
        ratio = near["num_attention_heads"] / near["num_key_value_heads"]
        kv = next(k for k in range(max(1, round(heads / ratio)), 0, -1) if heads % k == 0)
        inner = max(128, round(width * guess["intermediate_size"] / guess["hidden_size"] / 128) * 128)
        layers = max(1, round(guess["num_hidden_layers"] * scale / 100))
        for depth in {max(1, layers - 1), layers, layers + 1}:
            config = _config(width, depth, heads, kv, inner, head, near)
            candidates.append((abs(math.log(parameters(config) / wanted)) + 0.02 * abs(math.log(scale / 100)), depth, width, config))
    return min(candidates, key=lambda item: item[:3])[3]


COLUMNS = ("parameters", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size", "head_dim",
           "vocab_size", "max_position_embeddings", "tie_word_embeddings")


def _config(width: int, layers: int, heads: int, kv: int, inner: int, head: int, near: dict[str, float]) -> dict:
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": width, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv, "intermediate_size": inner, "head_dim": head,
            "vocab_size": int(near["vocab_size"]), "max_position_embeddings": int(near["max_position_embeddings"]),
            "tie_word_embeddings": bool(near["tie_word_embeddings"])}


def _interpolate(rows: list[dict[str, float]], key: str, wanted: int) -> float:
    """Log-log interpolation in the parameter count; beyond the table the outermost two rows' slope goes on."""
    index = next((i for i, row in enumerate(rows) if row["parameters"] >= wanted), len(rows) - 1)
    low, high = rows[max(0, min(index, len(rows) - 1) - 1)], rows[max(1, index)]
    part = math.log(wanted / low["parameters"]) / math.log(high["parameters"] / low["parameters"])
    return math.exp(math.log(low[key]) + part * math.log(high[key] / low[key]))


def parameters(config: dict) -> int:
    """Exact parameter count of a Llama decoder: embedding (and untied head), four attention and three feed-forward matrices, norms."""
    width, head, inner = config["hidden_size"], config["head_dim"], config["intermediate_size"]
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    block = width * head * (2 * heads + 2 * kv) + 3 * width * inner + 2 * width
    tables = config["vocab_size"] * width * (1 if config["tie_word_embeddings"] else 2)
    return tables + config["num_hidden_layers"] * block + width
