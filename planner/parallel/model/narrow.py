"""The model that one rank of tensor parallelism runs: the same architecture with its share of
heads, of the intermediate size and of the vocabulary, so that every product and every attention
has its true shape (Shoeybi et al. 2019, arXiv 1909.08053); and a pipeline's share of layers.

Key-value heads fewer than the ranks are on several of them. A vocabulary is padded to a multiple
of the ranks, as Megatron-LM does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from planner import tables
from planner.errors import FieldName, QuestionError
from planner.models.facts import ModelFacts

#: Keys of a config that say something layer by layer.
BY_LAYER = ("layer_types", "mlp_layer_types")


@dataclass(frozen=True)
class Keys:
    """Where a config says its sizes: a row of ``profiles/parallel/narrow.csv``."""

    heads: str
    key_value_heads: str
    head_dim: str
    intermediate: str
    vocabulary: str
    layers: str


@dataclass(frozen=True)
class Layers:
    """Where a config says its layers, and how many of the first are of another kind (blank where
    all are alike): a row of ``profiles/parallel/stages.csv`` or ``narrow.csv``."""

    layers: str
    dense_first: str = ""


@cache
def _staged() -> dict[str, Layers]:
    narrow = {name: Layers(keys.layers) for name, keys in _rows().items()}
    rows = tables.rows("parallel", "stages.csv")
    return narrow | {r["model_type"]: Layers(r["layers"], r["dense_first"]) for r in rows}


@cache
def _rows() -> dict[str, Keys]:
    return {
        row["model_type"]: Keys(*(row[name] for name in Keys.__dataclass_fields__))
        for row in tables.rows("parallel", "narrow.csv")
    }


def types() -> tuple[str, ...]:
    """The types of models that can be narrowed."""
    return tuple(sorted(_rows()))


def keys_of(facts: ModelFacts) -> Keys | None:
    """None for an architecture that no row has."""
    return _rows().get(str((facts.config or {}).get("model_type")))


def layers_of(facts: ModelFacts) -> Layers | None:
    """None for an architecture that no row has."""
    return _staged().get(str((facts.config or {}).get("model_type")))


def stage_layers(layers: int, stages: int) -> tuple[int, int, int]:
    """Of the first stage, of each between, and of the last. Where they do not divide the ends have
    less, which hold the embedding and the head: as if these were a layer each, as Llama 3's 126
    layers (arXiv 2407.21783, 3.3.2) and Megatron-Core's
    ``account_for_embedding_in_pipeline_split`` have it."""
    if layers % stages == 0:
        return layers // stages, layers // stages, layers // stages
    between = -(-(layers + 2) // stages)
    if layers - between * (stages - 2) < 2:
        between = layers // stages
    ends = layers - between * (stages - 2)
    return -(-ends // 2), between, ends // 2


def of_rank(facts: ModelFacts, tensor: int, stages: int) -> tuple[ModelFacts, ...]:
    """The models of one of ``tensor`` ranks on the first stage, one between and the last, which
    have the embedding and the head still; one model where there is one stage. Raises QuestionError
    where the model does not divide, or no row says how."""
    keys, config = keys_of(facts), dict(facts.config or {})
    asked = FieldName("tensor_parallel" if tensor > 1 else "pipeline_parallel")
    known = layers_of(facts)
    plain = facts.task == "causal_lm" and facts.quantization is None
    if known is None or not plain or (keys is None and tensor > 1):
        names = types() if tensor > 1 else tuple(sorted(_staged()))
        raise QuestionError(
            f"{facts.name} is not planned with {asked}: only plain decoder language models of "
            f"the types {', '.join(names)} are",
            where=asked,
            mend="Share its state over the devices: parallel fsdp",
        )
    changes = _narrow(facts, keys, config, tensor) if tensor > 1 and keys is not None else {}
    if stages == 1:
        return (facts.with_config(**changes),)
    layers = int(str(config[known.layers]))
    if layers < stages:
        raise QuestionError(
            f"{layers} layers do not fill {stages} stages",
            where=FieldName("pipeline_parallel"),
            mend=f"Use at most {layers}",
        )
    first, between, last = stage_layers(layers, stages)
    places = [(0, first), (first, first + between), (layers - last, layers)]
    if stages == 2:
        del places[1]
    return tuple(
        facts.with_config(**changes, **_of_stage(config, known, *place)) for place in places
    )


def _of_stage(config: dict[str, object], keys: Layers, begin: int, end: int) -> dict[str, object]:
    found: dict[str, object] = {keys.layers: end - begin}
    for key in BY_LAYER:
        named = config.get(key)
        if isinstance(named, list | tuple) and named:
            found[key] = list(named[begin:end])
    if keys.dense_first:
        dense = _number(config, keys.dense_first)
        found[keys.dense_first] = min(max(0, dense - begin), end - begin)
    return found


def _narrow(
    facts: ModelFacts, keys: Keys, config: dict[str, object], ranks: int
) -> dict[str, object]:
    heads, width = _number(config, keys.heads), _number(config, keys.intermediate)
    own = _number(config, keys.key_value_heads, heads)
    where = FieldName("tensor_parallel")
    for what, number in (("attention heads", heads), ("intermediate size", width)):
        if number % ranks:
            raise QuestionError(
                f"{what} of {facts.name}, {number:,}, do not divide among {ranks} ranks",
                where=where,
                mend=f"Use one of {_divisors(heads)}",
            )
    if own % ranks and ranks % own:
        raise QuestionError(
            f"{own} key-value heads of {facts.name} do not divide among {ranks} ranks",
            where=where,
            mend=f"Use one of {_divisors(own)}",
        )
    head = _number(config, keys.head_dim, _number(config, "hidden_size") // heads)
    return {
        keys.heads: heads // ranks,
        keys.key_value_heads: max(1, own // ranks),
        keys.head_dim: head,
        keys.intermediate: width // ranks,
        keys.vocabulary: -(-_number(config, keys.vocabulary) // ranks),
    }


def _number(config: dict[str, object], key: str, without: int = 0) -> int:
    value = config.get(key)
    return without if value is None else int(str(value))


def _divisors(number: int) -> str:
    return ", ".join(str(n) for n in range(1, min(number, 64) + 1) if number % n == 0)
