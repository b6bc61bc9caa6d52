"""The model that one rank of tensor parallelism runs: the same architecture with its share of
heads, of the intermediate size and of the vocabulary, so that every product and every attention
has its true shape (Shoeybi et al. 2019, arXiv 1909.08053); and a pipeline's share of layers.

Key-value heads fewer than the ranks are on several of them. A vocabulary is padded to a multiple
of the ranks, as Megatron-LM does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from planner import tables
from planner.errors import FieldName, QuestionError
from planner.models.facts import ModelFacts

#: Keys of a config that say something layer by layer: dropped, the classes make them anew.
BY_LAYER = ("layer_types",)


@dataclass(frozen=True)
class Keys:
    """Where a config says its sizes: a row of ``profiles/parallel/narrow.csv``."""

    heads: str
    key_value_heads: str
    head_dim: str
    intermediate: str
    vocabulary: str
    layers: str


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


def of_rank(facts: ModelFacts, tensor: int, stages: int, chunks: int = 1) -> ModelFacts:
    """The model of one of ``tensor`` ranks of one of ``stages`` stages, each of ``chunks`` parts,
    which has the embedding and the head still: of a middle stage where the ends have a layer less.
    Raises QuestionError where the model does not divide, or no row says how."""
    keys, config = keys_of(facts), dict(facts.config or {})
    asked = FieldName("tensor_parallel" if tensor > 1 else "pipeline_parallel")
    if keys is None or facts.task != "causal_lm" or facts.quantization is not None:
        raise QuestionError(
            f"{facts.name} is not planned with {asked}: only plain decoder language models of "
            f"the types {', '.join(types())} are",
            where=asked,
            mend="Share its state over the devices: parallel fsdp",
        )
    changes = _narrow(facts, keys, config, tensor) if tensor > 1 else {}
    if stages > 1:
        changes |= _layers(keys, config, _of_stage(int(config[keys.layers]), stages, chunks)[1])
    return facts.with_config(**changes)


def of_end(facts: ModelFacts, tensor: int, stages: int, chunks: int = 1) -> ModelFacts | None:
    """As ``of_rank``, of the first and of the last stage, where those have a layer less than the
    others; None where all have as many."""
    middle, keys = of_rank(facts, tensor, stages, chunks), keys_of(facts)
    if stages == 1 or keys is None:
        return None
    config = dict(facts.config or {})
    end, other = _of_stage(int(config[keys.layers]), stages, chunks)
    return None if end == other else middle.with_config(**_layers(keys, config, end))


def _layers(keys: Keys, config: dict[str, Any], count: int) -> dict[str, Any]:
    kept = {key: config[key][:count] for key in BY_LAYER if config.get(key)}
    return {keys.layers: count, **kept}


def _of_stage(layers: int, stages: int, chunks: int) -> tuple[int, int]:
    """Layers of the first and the last stage, and of one between them: as many, or at the ends one
    less, which have the embedding and the head (BLOOM, arXiv 2211.05100, section 3.4; Llama 3,
    arXiv 2407.21783, section 3.3.2). Raises QuestionError."""
    if layers % (stages * chunks) == 0:
        return layers // stages, layers // stages
    if stages > 2 and (layers + 2) % (stages * chunks) == 0 and layers + 2 > 2 * stages:
        return (layers + 2) // stages - 1, (layers + 2) // stages
    raise QuestionError(
        f"{layers} layers do not divide among {stages * chunks} stages",
        where=FieldName("pipeline_parallel"),
        mend=f"Use one of {_divisors(layers)}",
    )


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
