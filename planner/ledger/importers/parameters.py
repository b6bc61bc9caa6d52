"""Names under which trainers log how they were set, and the record's names for the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from planner.ledger.importers.text import lenient
from planner.ledger.model_setup import ATTENTION, in_folder, optimizer_named, without_unknown
from planner.question.settings import SETTINGS, TrainingSetting

HALVES = {"bfloat16": "bf16", "float16": "fp16"}
LIGHTNING_PRECISIONS = {
    "bf16-mixed": "amp_bf16",
    "16-mixed": "amp_fp16",
    "bf16-true": "bf16",
    "16-true": "fp16",
    "32-true": "fp32",
    "32": "fp32",
}
#: A length that is a limit, not what was run: only packed or padded batches have it.
LIMITS = ("max_seq_length", "max_seq_len", "max_length", "model_max_length")


def setup_of(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(setup, notes) out of logged parameters, by the names that settings have in logs; what is not
    understood is passed over."""
    found = {
        setting.name: _reader(setting)(values, setting.logged_names)
        for setting in SETTINGS.values()
        if setting.logged_names
    }
    notes: list[str] = []
    lengths = SETTINGS["sequence_length"].logged_names
    if found["sequence_length"] and _first(values, lengths) == _first(values, LIMITS):
        notes.append(
            f"the sequences' length is the limit {found['sequence_length']}; what was run may "
            "have been shorter"
        )
    return without_unknown(found), notes


def _reader(setting: TrainingSetting) -> Reader:
    return READERS.get(setting.name) or BY_TYPE[setting.value_type]


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next(
        (values[name] for name in names if values.get(name) not in (None, "", "None")), None
    )


def _text(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    value = _first(values, names)
    return value if isinstance(value, str) and len(value) < 300 else None


def _whole(values: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    value = lenient(_first(values, names))
    return int(value) if value is not None and value == int(value) and value < 2**53 else None


def _flag(values: Mapping[str, Any], names: tuple[str, ...]) -> bool | None:
    value = _first(values, names)
    known = {"true": True, "false": False, "1": True, "0": False}
    return None if value is None else known.get(str(value).lower())


def _number(values: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    return lenient(_first(values, names))


def _names(values: Mapping[str, Any], names: tuple[str, ...]) -> list[str] | None:
    found = _first(values, names)
    if isinstance(found, str):
        found = found.replace(",", " ").split()
    return [str(name) for name in found] if isinstance(found, list | tuple) else None


def _object(values: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any] | None:
    found = _first(values, names)
    return found if isinstance(found, Mapping) else None


def _model(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    name = _text(values, names)
    return in_folder(name) if name else None


def _epochs(values: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    """None where a number of steps decided."""
    return None if lenient(values.get("max_steps")) else _number(values, names)


def _precision(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """Mixed precision as trainers switch it on, where nothing says that the weights are half too;
    ``None`` when it is off, as the weights' type is not logged then."""
    weights = str(_first(values, ("torch_dtype", "dtype")) or "").removeprefix("torch.")
    if weights in HALVES:
        return HALVES[weights]
    precision = LIGHTNING_PRECISIONS.get(str(_first(values, names)))
    if precision or weights != "float32":
        return precision
    for half in ("bf16", "fp16"):
        if _flag(values, (half,)):
            return f"amp_{half}"
    if _flag(values, ("tf32",)):
        return "tf32"
    return None if values.get("bf16") is None else "fp32"


def _optimizer(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    name = _text(values, names)
    return optimizer_named(name.rpartition(".")[2].lower()) if name else None


def _checkpointing(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    flag = _flag(values, names)
    return None if flag is None else "full" if flag else "none"


def _attention(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return ATTENTION.get(str(_first(values, names)))


Reader = Callable[[Mapping[str, Any], tuple[str, ...]], Any]
#: How a value of a type is read, unless READERS has a way for the setting's own words.
BY_TYPE: dict[str, Reader] = {
    "count": _whole,
    "whole": _whole,
    "positive": _number,
    "amount": _number,
    "flag": _flag,
    "text": _text,
    "strategy": _text,
    "names": _names,
    "object": _object,
}
READERS: dict[str, Reader] = {
    "model": _model,
    "epochs": _epochs,
    "precision": _precision,
    "optimizer": _optimizer,
    "gradient_checkpointing": _checkpointing,
    "attention": _attention,
}
