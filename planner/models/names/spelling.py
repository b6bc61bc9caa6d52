"""Other spellings of a published model's name: organisations that mirror it, dots for dashes, tags,
endings of its variants."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

#: What tells variants of one architecture apart.
VARIANT = re.compile(r"-(instruct|chat|it|hf|base|latest|text|sft|dpo|unsloth)$")
#: Files and folders of weights that run and do not train.
FOR_RUNNING = re.compile(
    r"(\.gguf|[-.](gguf|ggml|mlx|onnx|q[2-8]([-_][a-z0-9]+)*))$", re.IGNORECASE
)
#: Weights that were made smaller.
QUANTISED = re.compile(
    r"-(gptq|awq|exl2|eetq|hqq|fp8|int[48]|w[48]a(8|16)|nf4|[48][-_]?bit|bnb)\b.*$", re.IGNORECASE
)


def key(name: str) -> str:
    """Equal for spellings of one name: no organisation, small letters, one sign between its
    parts."""
    bare = name.rpartition("/")[2].lower().replace(":", "-")
    return re.sub(r"[-_.\s]+", "-", bare).removeprefix("meta-").strip("-")


def spellings(name: str) -> Iterator[str]:
    """Keys under which a name may be known, the likeliest first."""
    found = key(name)
    yield found
    while VARIANT.search(found):
        found = VARIANT.sub("", found)
        yield found


def for_running(name: str) -> bool:
    """Is it a name of weights that run and do not train (GGUF, MLX, …)?"""
    return FOR_RUNNING.search(name.replace(":", "-")) is not None


def plain(name: str) -> str:
    """The name of the model that smaller weights were made from, by what is left of the name."""
    bare = name.rpartition("/")[2]
    while FOR_RUNNING.search(bare):
        bare = FOR_RUNNING.sub("", bare)
    return QUANTISED.sub("", bare)


def match(name: str, known: Iterable[str]) -> str | None:
    """The known name that this is another spelling of; None where none or several are."""
    table: dict[str, set[str]] = {}
    for one in known:
        table.setdefault(key(one), set()).add(one)
    for spelled in spellings(name):
        hits = table.get(spelled, set())
        if hits:
            return min(hits)
    return None
