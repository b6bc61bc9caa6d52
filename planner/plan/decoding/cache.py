"""Keys and values that a decoder keeps of what it has read and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KeysAndValues:
    """``layers`` of a decoder, each of which keeps ``numbers`` a token: its keys and values.
    ``encoder_positions``: what each row reads of an encoder, where the config fixes it."""

    layers: int
    numbers: float
    encoder_positions: int | None = None

    def bytes_per_token(self, bytes_per_number: float) -> float:
        return self.layers * self.numbers * bytes_per_number


def keys_and_values(config: Mapping[str, Any]) -> KeysAndValues | None:
    """2 × key-value heads × head size in each decoder layer. None where the config does not say."""

    def first(*keys: str) -> float | None:
        return next((float(config[key]) for key in keys if isinstance(config.get(key), int)), None)

    layers = first(
        "num_decoder_layers", "decoder_layers", "num_hidden_layers", "n_layer", "num_layers"
    )
    heads = first("decoder_attention_heads", "num_attention_heads", "n_head", "num_heads")
    width = first("hidden_size", "n_embd", "d_model")
    if layers is None or heads is None or width is None:
        return None
    head = first("head_dim", "d_kv") or width / heads
    read = first("max_source_positions")
    return KeysAndValues(
        layers=int(layers),
        numbers=2 * (first("num_key_value_heads") or heads) * head,
        encoder_positions=None if read is None else int(read),
    )


def kv_bytes_per_token(config: Mapping[str, Any], bytes_per_number: float) -> float | None:
    """Bytes of keys and values that one token leaves. None where the config does not say."""
    found = keys_and_values(config)
    return None if found is None else found.bytes_per_token(bytes_per_number)
