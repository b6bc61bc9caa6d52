"""``quantization_config`` of a config.json becomes a ``Quantization``. No torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from planner.errors import ModelError
from planner.files import loads, read_text
from planner.models.quantization.stored import NF4_BLOCK, Quantization

#: Files beside a config.json where libraries of before ``quantization_config`` wrote theirs.
OLD_FILES = (("quantize_config.json", "gptq"), ("quant_config.json", "awq"))
#: A weight of more bits is not quantised; a group is no longer than a row of inputs.
MOST_BITS, LARGEST_GROUP = 16, 10**6


def read(config: Mapping[str, Any], folder: Path | None = None) -> Quantization | None:
    """How the weights of a config are stored; None for plain ones. Looks into ``text_config`` too,
    and into the files that older libraries wrote beside a config."""
    found = quantised_by(config)
    if found is None and folder is not None:
        found = _old(folder)
    if found is None or found.get("dequantize") is True:  # loaded in 16 bits
        return None
    method = _method(found)
    reader = _READERS.get(method)
    if reader is None:
        return Quantization(method, 16, method, known=False)
    try:
        return reader(found)
    except _Unfit as error:
        where = "a config" if folder is None else str(folder)
        raise ModelError(str(error), where=f"{where}, {method}'s config") from None


class _Unfit(ValueError):
    """A value that its library would not take: it is refused, since another one taken in its place
    would be a guess."""


def quantised_by(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a config itself says of its quantisation, None where it says nothing."""
    parts = [config, *(config.get(name) for name in ("text_config", "llm_config"))]
    for part in parts:
        for key in ("quantization_config", "compression_config"):
            found = part.get(key) if isinstance(part, Mapping) else None
            if found:  # what is no mapping is a method that is not known
                return found if isinstance(found, Mapping) else {"quant_method": str(found)[:40]}
    return None


def _old(folder: Path) -> Mapping[str, Any] | None:
    for name, method in OLD_FILES:
        try:
            found = loads(read_text(folder / name))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return {"quant_method": method, **found}
    return None


def _method(found: Mapping[str, Any]) -> str:
    """The method's name; bitsandbytes' configs of before ``quant_method`` are told by their
    switches."""
    name = str(found.get("quant_method") or "").lower().replace("_", "-")
    if found.get("load_in_8bit"):
        return "bitsandbytes_8bit"
    if found.get("load_in_4bit") or name == "bitsandbytes":
        return "bitsandbytes_4bit"
    if not name and "config_groups" in found:
        return "compressed-tensors"
    return name or "unnamed"


def _number(
    found: Mapping[str, Any], *names: str, least: int = 1, most: int = MOST_BITS
) -> float | None:
    """The first of the keys that is there; a number written as a text is one. None where there is
    none. Raises _Unfit."""
    for name in names:
        value = found.get(name)
        if value is None:
            continue
        text = "" if isinstance(value, bool) else str(value)
        number = int(float(text)) if re.fullmatch(r"-?\d{1,9}(\.0)?", text) else None
        if number is None or not least <= number <= most:
            raise _Unfit(
                f"key {name!r} must be a whole number from {least} to {most}, not {value!r:.40}"
            )
        return float(number)
    return None


def _whole(found: Mapping[str, Any], default: int, *names: str) -> int:
    """A group's size: a group of -1 is a whole row of inputs, written 0 here."""
    value = _number(found, *names, least=-1, most=LARGEST_GROUP)
    return default if value is None else max(0, int(value))


def _names(found: Mapping[str, Any], *keys: str) -> tuple[str, ...] | None:
    for key in keys:
        value = found.get(key)
        if isinstance(value, list):
            return tuple(str(item) for item in value)
    return None


# ---- what configs say


def _bnb_4bit(found: Mapping[str, Any]) -> Quantization:
    kind = str(found.get("bnb_4bit_quant_type") or "fp4").upper()
    return Quantization(
        "bitsandbytes_4bit",
        4,
        f"bitsandbytes {kind}",
        group=NF4_BLOCK,
        double=bool(found.get("bnb_4bit_use_double_quant")),
        spared=_names(found, "llm_int8_skip_modules"),
        experts=False,
    )


def _bnb_8bit(found: Mapping[str, Any]) -> Quantization:
    return Quantization(
        "bitsandbytes_8bit",
        8,
        "bitsandbytes LLM.int8()",
        spared=_names(found, "llm_int8_skip_modules"),
        experts=False,
    )


def _gptq(found: Mapping[str, Any]) -> Quantization:
    listed = found.get("modules_in_block_to_quantize") or []
    only = tuple(
        str(name)
        for item in (listed if isinstance(listed, list) else [])
        for name in (item if isinstance(item, list) else [item])
    )
    name, bits = _method(found), _number(found, "bits")
    if bits is None:
        raise _Unfit("key 'bits' is missing")
    return Quantization(
        "gptq",
        bits,
        "AutoRound" if name.startswith("auto") else "GPTQ",
        group=_whole(found, 128, "group_size"),
        only=only,
        upcast=name.startswith("auto"),
    )


def _awq(found: Mapping[str, Any]) -> Quantization:
    return Quantization(
        "awq",
        _number(found, "bits", "w_bit") or 4,
        "AWQ",
        group=_whole(found, 128, "group_size", "q_group_size"),
        spared=_names(found, "modules_to_not_convert"),
    )


def _fp8(found: Mapping[str, Any]) -> Quantization:
    size = found.get("weight_block_size", (128, 128))
    block = (
        (int(size[0]), int(size[1]))
        if isinstance(size, list | tuple) and len(size) == 2 and all(type(n) is int for n in size)
        else None
    )
    return Quantization(
        "fp8",
        8,
        "fp8",
        block=block,
        spared=_names(found, "modules_to_not_convert", "ignored_layers"),
    )


def _fbgemm(found: Mapping[str, Any]) -> Quantization:
    spared = _names(found, "modules_to_not_convert")
    return Quantization("fp8", 8, "fp8 (FBGEMM)", spared=spared, dequantise_first=True)


def _microscaled(
    bits: float, group: int, words: str, *, linears: bool
) -> Callable[[Mapping[str, Any]], Quantization]:
    def read_one(found: Mapping[str, Any]) -> Quantization:
        # MXFP4 is gpt-oss's: transformers converts its experts alone
        return Quantization(
            "microscaled",
            bits,
            words,
            group=group,
            spared=_names(found, "modules_to_not_convert", "ignore"),
            linears=linears,
            dequantise_first=True,
        )

    return read_one


#: The class that stands for every linear layer.
LINEAR = ("Linear",)


def _compressed(found: Mapping[str, Any]) -> Quantization:
    """One group of layers that are stored alike, or several; those without ``weights`` quantise
    what passes through a layer only."""
    groups = found.get("config_groups")
    listed = groups.values() if isinstance(groups, Mapping) else groups or ()
    ignored = tuple(name.removeprefix("re:") for name in _names(found, "ignore") or ())
    parts = [
        part
        for one in listed
        if isinstance(one, Mapping) and (part := _group(one, ignored)) is not None
    ]
    if not parts:
        return Quantization("compressed-tensors", 16, "compressed-tensors", known=False)
    first, *others = parts
    if not others and first.targets in ((), LINEAR):
        return replace(first, targets=())
    kinds = dict.fromkeys(part.words.removeprefix("compressed-tensors, ") for part in parts)
    words = f"compressed-tensors, {' and '.join(kinds)}"
    return replace(first, words=words, groups=tuple(others))


def _group(one: Mapping[str, Any], ignored: tuple[str, ...]) -> Quantization | None:
    weights = one.get("weights")
    weights = weights if isinstance(weights, Mapping) else {}
    bits = _number(weights, "num_bits")
    if bits is None:
        return None
    structure = weights.get("block_structure")
    block = (
        (int(structure[0]), int(structure[1]))
        if isinstance(structure, list) and len(structure) == 2
        else None
    )
    return Quantization(
        "compressed",
        bits,
        f"compressed-tensors, {weights.get('type', 'int')}{bits:g}",
        group=_whole(weights, 0, "group_size"),
        block=block,
        spared=ignored,
        targets=_names(one, "targets") or LINEAR,
    )


def _hqq(found: Mapping[str, Any]) -> Quantization:
    options = found.get("quant_config")
    inner = options.get("weight_quant_params") if isinstance(options, Mapping) else None
    options = inner if isinstance(inner, Mapping) else options
    options = options if isinstance(options, Mapping) else found
    return Quantization(
        "grouped",
        _number(options, "nbits", "bits") or 4,
        "HQQ",
        group=_whole(options, 64, "group_size"),
        spared=_names(found, "skip_modules"),
        upcast=False,
        experts=False,
    )


def _eetq(found: Mapping[str, Any]) -> Quantization:
    return Quantization(
        "rows", 8, "EETQ int8", spared=_names(found, "modules_to_not_convert"), upcast=False
    )


def _quanto(found: Mapping[str, Any]) -> Quantization:
    weights = str(found.get("weights") or "int8")
    bits = float((re.findall(r"\d+", weights) or ["8"])[0])
    spared = _names(found, "modules_to_not_convert")
    if bits >= 8:
        return Quantization("rows", bits, f"quanto {weights}", spared=spared)
    return Quantization("grouped", bits, f"quanto {weights}", group=128, spared=spared)


def _torchao(found: Mapping[str, Any]) -> Quantization:
    """``quant_type`` is a name (``int4_weight_only``) or a dictionary of a class and its data."""
    kind: Any = found.get("quant_type")
    options: Any = found.get("quant_type_kwargs")
    if isinstance(kind, Mapping):
        kind = kind.get("default", kind)
        options = kind.get("_data") if isinstance(kind, Mapping) else None
        kind = kind.get("_type") if isinstance(kind, Mapping) else kind
    options = options if isinstance(options, Mapping) else {}
    name = str(kind or "int8").lower()
    bits = float((re.findall(r"(?:int|float|fp)(\d)", name) or ["8"])[0])
    spared = _names(found, "modules_to_not_convert")
    words = f"torchao {kind}"
    if bits >= 8:
        return Quantization("rows", bits, words, spared=spared, upcast=False)
    group = _whole(options, 128, "group_size")
    return Quantization("grouped", bits, words, group=group, spared=spared, upcast=False)


def _aqlm(found: Mapping[str, Any]) -> Quantization:
    group = _whole(found, 8, "in_group_size") or 8
    books = int(_number(found, "num_codebooks") or 1)
    code_bits = int(_number(found, "nbits_per_codebook") or 16)
    return Quantization(
        "aqlm",
        books * code_bits / group,
        "AQLM",
        group=group,
        codebooks=books,
        codebook_bits=code_bits,
        spared=_names(found, "linear_weights_not_to_quantize"),
        upcast=False,
    )


def _bitnet(found: Mapping[str, Any]) -> Quantization:
    return Quantization("rows", 2, "BitNet", spared=_names(found, "modules_to_not_convert"))


_READERS: dict[str, Callable[[Mapping[str, Any]], Quantization]] = {
    "bitsandbytes_4bit": _bnb_4bit,
    "bitsandbytes_8bit": _bnb_8bit,
    "gptq": _gptq,
    "auto-round": _gptq,
    "intel/auto-round": _gptq,
    "awq": _awq,
    "fp8": _fp8,
    "fbgemm-fp8": _fbgemm,
    "mxfp4": _microscaled(4, 32, "MXFP4", linears=False),
    "mxfp8": _microscaled(8, 32, "MXFP8", linears=True),
    "nvfp4": _microscaled(4, 16, "NVFP4", linears=True),
    "compressed-tensors": _compressed,
    "hqq": _hqq,
    "eetq": _eetq,
    "quanto": _quanto,
    "torchao": _torchao,
    "aqlm": _aqlm,
    "bitnet": _bitnet,
}
