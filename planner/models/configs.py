"""A config.json of unknown origin becomes a checked dictionary, or one line that names the file and
the key.

No torch and no transformers: which model types exist is a shipped table
(``profiles/models/model_types.csv``), widened by the model folders of an installed, newer
transformers.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from planner import tables
from planner.errors import ModelError, UnknownNameError
from planner.files import read_text
from planner.models.class_names import class_of, model_type_of

MAX_CONFIG_BYTES = 4 * 2**20
MAX_NESTING = 12
#: Key under which the class stands that a missing model_type was read from.
SUPPLIED = "_model_type_from"
FLOAT_TAG = "__float__"

#: Keys that count or measure parts of a model under any name: each becomes tensors or modules.
SIZES = re.compile(
    r"(num|n)_\w+|widths?"
    r"|\w+_(dims?|sizes?|layers|channels|heads|blocks|buckets|labels|experts|groups|widths?)"
)
MOST_OF_A_SIZE = 10**7
#: Keys that become modules one by one, or a name each.
DEPTHS = re.compile(
    r"(num|n)_(\w+_)?(layers?|blocks|stages|resolutions)|\w+_(layers|blocks)|depths?"
)
#: Those of them that hold a number a stage where they hold a list, and no list of places.
COUNTED = re.compile(r"(num|n)_\w+|depths?")
MOST_OF_DEPTH = 1000
MOST_LABELS = 10**6

#: Upper bounds that no sane architecture passes; a config beyond them would hang the machine or
#: overflow the arithmetic.
LIMITS = {
    "vocab_size": 10**7,
    "num_hidden_layers": MOST_OF_DEPTH,
    "hidden_size": 10**6,
    "intermediate_size": 10**7,
    "num_attention_heads": 10**5,
    "num_key_value_heads": 10**5,
    "head_dim": 10**5,
    "max_position_embeddings": 10**9,
    "image_size": 16384,
    "patch_size": 16384,
    "num_channels": 10**4,
    "num_mel_bins": 10**4,
    "num_experts": 10**4,
    "num_local_experts": 10**4,
    "type_vocab_size": 10**7,
    "num_labels": MOST_LABELS,
}

#: The families' own names for the same fields.
SYNONYMS = {
    "n_embd": "hidden_size",
    "d_model": "hidden_size",
    "dim": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_layers": "num_hidden_layers",
    "num_layers": "num_hidden_layers",
    "num_decoder_layers": "num_hidden_layers",
    "encoder_layers": "num_hidden_layers",
    "decoder_layers": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_heads": "num_attention_heads",
    "num_heads": "num_attention_heads",
    "encoder_attention_heads": "num_attention_heads",
    "decoder_attention_heads": "num_attention_heads",
    "d_ff": "intermediate_size",
    "ffn_dim": "intermediate_size",
    "hidden_dim": "intermediate_size",
    "n_inner": "intermediate_size",
    "encoder_ffn_dim": "intermediate_size",
    "decoder_ffn_dim": "intermediate_size",
    "n_positions": "max_position_embeddings",
    "n_ctx": "max_position_embeddings",
    "max_target_positions": "max_position_embeddings",
    "max_source_positions": "max_position_embeddings",
    "embedding_size": "hidden_size",
    "d_kv": "head_dim",
    "word_embed_proj_dim": "hidden_size",
    "projection_dim": "hidden_size",
}

MAY_BE_NULL = frozenset(
    {
        "n_inner",
        "head_dim",
        "num_key_value_heads",
        "num_decoder_layers",
        "n_ctx",
        "sliding_window",
        "num_experts",
        "num_local_experts",
    }
)
MAY_BE_ZERO = frozenset({"type_vocab_size"})
ONE_NUMBER_OR_MORE = frozenset({"image_size", "patch_size", "hidden_size", "intermediate_size"})


def read_config(file: Path) -> dict[str, Any]:
    """The checked contents of a config.json. Raises ModelError (one line: file, key, what) for
    anything unfit to build."""
    try:
        if not file.is_file():
            raise ModelError(
                "no such file", where=str(file), mend="Name a folder with a config.json"
            )
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise ModelError(
                f"larger than {MAX_CONFIG_BYTES // 2**20} MiB, which no model config is",
                where=str(file),
            )
        text = read_text(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"cannot be read: {error}", where=str(file), mend="Name a folder with a config.json"
        ) from error
    return parse_config(text, str(file))


def parse_config(text: str, where: str) -> dict[str, Any]:
    """JSON text → checked config. Raises ModelError."""
    try:
        config = json.loads(text, parse_constant=_open_end, object_hook=_encoded)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"not a JSON config: {error}", where=where) from error
    _supply_model_type(config)
    check_config(config, where)
    return config


def _supply_model_type(config: Any) -> None:
    """A config without a family gets that of its class, which is kept beside it."""
    if isinstance(config, dict) and "model_type" not in config:
        name = class_of(config)
        family = model_type_of(name, model_types())
        if family is not None:
            config |= {"model_type": family, SUPPLIED: name}


def check_config(config: Any, where: str) -> None:
    """Raises ModelError for a config that is not one, and UnknownNameError for a model type that
    the library does not know."""
    if not isinstance(config, dict):
        raise ModelError(
            f"holds a {type(config).__name__}, not a JSON object of architecture fields",
            where=where,
        )
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise ModelError(
            "key 'model_type' is missing or not a text",
            where=where,
            mend='A transformers config.json names its family there, e.g. "llama"',
        )
    if "auto_map" not in config:
        check_model_type(model_type, where)
    _check_fields(config, where)


def check_model_type(model_type: str, where: str) -> None:
    if model_type not in model_types() and not _installed_knows(model_type):
        error = UnknownNameError(
            "model type", model_type, model_types(), mend="A newer transformers may know it"
        )
        raise ModelError(error.what, where=f"{where}, key 'model_type'", mend=error.mend)


def library_knows(model_type: str) -> bool:
    return model_type in model_types() or _installed_knows(model_type)


@cache
def model_types() -> dict[str, frozenset[str]]:
    """model_type → the tasks that transformers has a class for."""
    return {
        row["model_type"]: frozenset(row["tasks"].split())
        for row in tables.rows("models", "model_types.csv")
    }


@cache
def unusual_fields() -> dict[str, frozenset[str]]:
    """model_type → the fields that are no single positive number there (``num_heads`` a stage),
    ``heads`` where they need not divide."""
    return {
        row["model_type"]: frozenset(row["unusual"].split())
        for row in tables.rows("models", "model_types.csv")
    }


def _installed_knows(model_type: str) -> bool:
    spec = importlib.util.find_spec("transformers")  # finds the folder, imports nothing
    folders = spec.submodule_search_locations if spec else None
    name = model_type.replace("-", "_")
    return bool(
        name.isidentifier()
        and folders
        and (Path(list(folders)[0]) / "models" / name / f"configuration_{name}.py").is_file()
    )


def _open_end(name: str) -> float:
    """``Infinity`` as the open end of a range (``time_step_limit`` of Mamba-2 and Granite 4);
    where it stands for a single number, it is refused with the other fields."""
    if name == "NaN":
        raise ValueError("NaN is not a number that a config may hold")
    return float(name)


def _encoded(found: dict[str, Any]) -> Any:
    """transformers 5 writes ``Infinity`` as ``{"__float__": "Infinity"}``."""
    tag = found.get(FLOAT_TAG)
    if len(found) == 1 and tag in ("Infinity", "-Infinity", "NaN"):
        return _open_end(tag)
    return found


def _is_unfit(value: Any) -> bool:
    """A number that no arithmetic stands. A range of two ends may be open."""
    if isinstance(value, list):
        open_ends = len(value) == 2
        return any(
            _is_unfit(item) and not (open_ends and isinstance(item, float)) for item in value
        )
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and abs(value) > 2**63


def _check_fields(
    config: Mapping[str, Any], where: str, prefix: str = "", unusual: frozenset[str] = frozenset()
) -> None:
    if prefix.count(".") > MAX_NESTING:
        raise ModelError(f"nested deeper than {MAX_NESTING} levels", where=where)
    if isinstance(config.get("model_type"), str):
        unusual = unusual | unusual_fields().get(config["model_type"], frozenset())
    for key, value in config.items():
        name = prefix + key
        if SYNONYMS.get(key, key) in LIMITS and key not in unusual:
            _check_size(key, name, value, where)
        elif isinstance(value, dict):
            _check_fields(
                value,
                where,
                name + ".",
                frozenset(item.partition(".")[2] for item in unusual if item.startswith(key + ".")),
            )
        elif _is_unfit(value):
            raise ModelError(f"key {name!r} is not a finite number of sane size", where=where)
        else:
            _check_parts(key, name, value, where)
    if "heads" not in unusual:
        _check_heads(config, where, prefix)


def _check_size(key: str, name: str, value: Any, where: str) -> None:
    if value is None and key in MAY_BE_NULL:
        return
    if isinstance(value, list) and key in ONE_NUMBER_OR_MORE and value:
        for item in value:
            _check_size(key, name, item, where)
        return
    low, high = (0 if key in MAY_BE_ZERO else 1), LIMITS[SYNONYMS.get(key, key)]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ModelError(f"key {name!r} must be a whole number, not {_short(value)}", where=where)
    if not low <= value <= high:
        raise ModelError(
            f"key {name!r} is {_short(value)}; it must lie between {low} and {high}", where=where
        )


def _check_parts(key: str, name: str, value: Any, where: str) -> None:
    """Bounds for what has no field of its own in LIMITS: modules in all, and the size of each."""
    numbers = [n for n in _flat(value) if isinstance(n, int) and not isinstance(n, bool)]
    listed = isinstance(value, list) and not COUNTED.fullmatch(key)  # which of the layers
    if DEPTHS.fullmatch(key) and not listed and sum(n for n in numbers if n > 0) > MOST_OF_DEPTH:
        raise ModelError(
            f"key {name!r} is {_short(value)}; at most {MOST_OF_DEPTH} in all are built",
            where=where,
        )
    if SIZES.fullmatch(key) and (
        max(numbers, default=0) > MOST_OF_A_SIZE or len(numbers) > MOST_OF_DEPTH
    ):
        raise ModelError(
            f"key {name!r} is {_short(value)}; it must be at most {MOST_OF_A_SIZE:,}, and "
            f"{MOST_OF_DEPTH} of them",
            where=where,
        )


def _flat(value: Any) -> list[Any]:
    """The numbers of a value, or of the lists within it."""
    if not isinstance(value, list):
        return [value]
    return [number for item in value for number in _flat(item)]


def _check_heads(config: Mapping[str, Any], where: str, prefix: str) -> None:
    """Heads must divide the width wherever the head's size follows from the two, and key-value
    heads must divide the heads."""
    key, heads = _first(
        config, "num_attention_heads", "n_head", "n_heads", "encoder_attention_heads"
    )
    width_key, width = _first(config, "hidden_size", "n_embd", "d_model", "dim")
    if not isinstance(heads, int) or not isinstance(width, int):
        return
    own_size = config.get("head_dim") is not None or config.get("d_kv") is not None
    if not own_size and width % heads:
        raise ModelError(
            f"key {prefix + key!r} ({heads}) does not divide {prefix + width_key!r} ({width})",
            where=where,
        )
    kv = config.get("num_key_value_heads")
    if isinstance(kv, int) and heads % kv:
        raise ModelError(
            f"key {prefix + 'num_key_value_heads'!r} ({kv}) does not divide {prefix + key!r} "
            f"({heads})",
            where=where,
        )


def _first(config: Mapping[str, Any], *keys: str) -> tuple[str, Any]:
    return next(
        ((key, config[key]) for key in keys if config.get(key) is not None), (keys[0], None)
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
