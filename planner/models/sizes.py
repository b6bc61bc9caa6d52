"""A bare size such as ``7B`` becomes the known decoder of that size that people train; where none
is near, a Llama-shaped one, interpolated between the published shapes of the Llama family."""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import replace
from typing import Any

from planner import tables
from planner.errors import ModelError
from planner.first_lines import FirstLine
from planner.models import catalogue
from planner.models.facts import ModelFacts, config_fingerprint
from planner.models.tasks import check_task
from planner.units import format_count, parse_count

SIZE = re.compile(r"([0-9]*\.?[0-9]+)[ -]?([kmbt]|bn|[mb]illion)", re.IGNORECASE)
#: Words around a size that name no model: ``7b-instruct``, ``an 8B model``, ``7B parameters``.
WORDS = re.compile(
    r"^(?:an?|the)\s+|[\s_-]*\b(?:instruct|chat|it|base|hf|model|llm|params?|parameters?|"
    r"decoder|language model)\b\s*$",
    re.IGNORECASE,
)
RANGE = (10**7, 4 * 10**12)
#: A shape far from the interpolated one counts as this share of a count of parameters as far off.
STRAIN_WEIGHT = 0.1
#: Feed-forward widths are multiples of it.
INNER_UNIT = 128
#: A model whose parameters are off by less is of the asked size, whatever its name says.
NEAR = 0.1
#: Of the models of a size those count that have at least this share of the most recipes.
TAKEN_SHARE = 0.5
#: Sizes that differ by less are equally near.
EQUALLY_NEAR = 0.02


def is_size(name: str) -> bool:
    """``8B``, ``7 B``, ``7b-instruct``: a size and words that name no model."""
    return bare(name) is not None


def bare(name: str) -> str | None:
    """The size that a name consists of (``7B``), None where it holds more."""
    joined = name.strip().replace("_", "")  # 1_500M
    rest, before = joined if SIZE.fullmatch(joined) else name.strip().replace("_", " "), ""
    while rest != before:
        before, rest = rest, WORDS.sub("", rest).strip()
    found = SIZE.fullmatch(rest)
    return None if found is None else f"{found[1]}{found[2][0]}"


def facts(name: str, task: str | None) -> ModelFacts:
    """The facts of the decoder that stands for a size. Raises ModelError outside 10M to 4T."""
    wanted = parse_count(bare(name) or name)
    if not RANGE[0] <= wanted <= RANGE[1]:
        raise ModelError(
            f"a model of {format_count(wanted)} parameters is outside 10M to 4T", where=name
        )
    known = known_model(wanted)
    return _invented(name, wanted, task) if known is None else _known(name, known, task)


def known_model(wanted: int) -> str | None:
    """The catalogue's decoder of a size: one that is named so, or is near; of those that have
    about the most published recipes the nearest, of equally near ones the newest. None where none
    is of this size."""
    rows = [row for row in tables.rows("models", "decoders.csv") if _is_of(row, wanted)]
    if not rows:
        return None
    named = [row for row in rows if float(row["nominal_parameters"]) == wanted] or rows
    most = max(int(row["recipes"]) for row in named)
    taken = [row for row in named if int(row["recipes"]) >= TAKEN_SHARE * most]

    def order(row: dict[str, str]) -> tuple[int, int]:
        released = datetime.date.fromisoformat(row["released"])
        return round(_distance(row, wanted) / EQUALLY_NEAR), -released.toordinal()

    return min(taken, key=order)["name"]


def _is_of(row: dict[str, str], wanted: int) -> bool:
    return float(row["nominal_parameters"]) == wanted or _distance(row, wanted) <= NEAR


def _distance(row: dict[str, str], wanted: int) -> float:
    """Share of the asked size by which a model is off."""
    return abs(_parameters(row["name"]) / wanted - 1)


def _parameters(model: str) -> int:
    row = catalogue.find(model)
    if row is None:
        raise ModelError(f"{model} is no model of the catalogue", where="decoders.csv")
    return int(row["parameters"])


def _known(name: str, model: str, task: str | None) -> ModelFacts:
    row = catalogue.find(model)
    if row is None:
        raise ModelError(f"{model} is no model of the catalogue", where="decoders.csv")
    found = catalogue.facts(row, task)
    size = format_count(int(row["parameters"]))
    line = FirstLine(
        "model",
        f"{name} is taken as {model} ({size} parameters), the known model of this size; name "
        "another for its own figures",
    )
    return replace(found, first_lines=(line, *found.first_lines))


def _invented(name: str, wanted: int, task: str | None) -> ModelFacts:
    """No known model is of this size: a Llama-shaped one."""
    config = shape(wanted)
    count = parameters(config)
    layers, width, vocabulary = (
        config["num_hidden_layers"],
        config["hidden_size"],
        config["vocab_size"],
    )
    stated = (
        f"{name}: taken as a Llama-shaped decoder of {format_count(count)} parameters "
        f"({layers} blocks, width {width}, "
        f"{config['num_attention_heads']} heads, {config['num_key_value_heads']} key-value heads, "
        f"feed-forward {config['intermediate_size']}, "
        f"vocabulary {vocabulary}); name a model for its own shape"
    )
    return ModelFacts(
        name=name,
        origin="size",
        library="transformers",
        task=check_task(task, "causal_lm", name),
        modality="text",
        fingerprint=config_fingerprint(config),
        config=config,
        parameters=count,
        max_length=config["max_position_embeddings"],
        blocks=layers,
        vocabulary=vocabulary,
        assumptions=(stated,),
        first_lines=(
            FirstLine("model", f"no known model is of the size {stated}"),
            FirstLine("task", "trained as causal_lm (a bare size)"),
        ),
    )


def shape(wanted: int) -> dict[str, Any]:
    """A Llama config of about ``wanted`` parameters: the published shapes interpolated in log size,
    the depth fitted to each width.

    The head's size, the number of key-value heads and the vocabulary are the nearest published
    model's.
    """
    rows = sorted(
        (
            {key: float(row[key]) for key in COLUMNS}
            for row in tables.rows("models", "llama_shapes.csv")
        ),
        key=lambda row: row["parameters"],
    )
    near = min(rows, key=lambda row: abs(math.log(row["parameters"] / wanted)))
    width, depth, inner = (
        _interpolate(rows, key, wanted)
        for key in ("hidden_size", "num_hidden_layers", "intermediate_size")
    )
    fits = []
    for candidate in _widths(width, near):
        config = _fitted(candidate, inner / width, near, wanted)
        strain = abs(math.log(candidate / width)) + abs(
            math.log(config["num_hidden_layers"] / depth)
        )
        fits.append(
            (abs(math.log(parameters(config) / wanted)) + STRAIN_WEIGHT * strain, candidate, config)
        )
    return min(fits, key=lambda fit: fit[:2])[2]


def _widths(guess: float, near: dict[str, float]) -> list[int]:
    """Widths from half to twice the guess whose heads the key-value heads divide."""
    grouped = near["num_key_value_heads"] < near["num_attention_heads"]
    unit = int(near["head_dim"] * (near["num_key_value_heads"] if grouped else 1))
    return [unit * n for n in range(max(1, int(guess / 2 / unit)), int(guess * 2 / unit) + 2)]


def _fitted(width: int, inner_ratio: float, near: dict[str, float], wanted: int) -> dict[str, Any]:
    """The config of a width whose depth brings it closest to ``wanted`` parameters."""
    head = int(near["head_dim"])
    heads = width // head
    kv = (
        int(near["num_key_value_heads"])
        if near["num_key_value_heads"] < near["num_attention_heads"]
        else heads
    )
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": width,
        "num_hidden_layers": 0,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": max(INNER_UNIT, round(width * inner_ratio / INNER_UNIT) * INNER_UNIT),
        "head_dim": head,
        "vocab_size": int(near["vocab_size"]),
        "max_position_embeddings": int(near["max_position_embeddings"]),
        "tie_word_embeddings": bool(near["tie_word_embeddings"]),
    }
    tables = parameters(config)
    block = parameters({**config, "num_hidden_layers": 1}) - tables
    return {**config, "num_hidden_layers": max(1, round((wanted - tables) / block))}


COLUMNS = (
    "parameters",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
    "tie_word_embeddings",
)


def _interpolate(rows: list[dict[str, float]], key: str, wanted: int) -> float:
    """Log-log interpolation in the parameter count; beyond the table the outermost two rows' slope
    goes on."""
    index = next((i for i, row in enumerate(rows) if row["parameters"] >= wanted), len(rows) - 1)
    low, high = rows[max(0, min(index, len(rows) - 1) - 1)], rows[max(1, index)]
    part = math.log(wanted / low["parameters"]) / math.log(high["parameters"] / low["parameters"])
    return math.exp(math.log(low[key]) + part * math.log(high[key] / low[key]))


def parameters(config: dict[str, Any]) -> int:
    """Exact parameter count of a Llama decoder: embedding (and untied head), four attention and
    three feed-forward matrices, norms."""
    width, head, inner = config["hidden_size"], config["head_dim"], config["intermediate_size"]
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    block = width * head * (2 * heads + 2 * kv) + 3 * width * inner + 2 * width
    tables = config["vocab_size"] * width * (1 if config["tie_word_embeddings"] else 2)
    return tables + config["num_hidden_layers"] * block + width
