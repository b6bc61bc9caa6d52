"""What diffusers' scripts and kohya's have in common."""

from __future__ import annotations

from typing import Any

from planner.question.importers.keys import Keys, listed, whole
from planner.question.optimizers import asked_of_class

HALVES = ("fp16", "bf16")


def put_size(keys: Keys, key: str) -> bool:
    """A square's side, ``512``, ``"512,512"`` or ``[512, 512]``; any other shape is left out.
    Returns whether the key is set."""
    value = keys.take(key)
    if value is None:
        return False
    parts = str(value).split(",") if isinstance(value, str | int) else listed(value)
    sides = {int(str(part)) for part in parts if str(part).strip().isdecimal()}
    if len(sides) == 1:
        keys.put("image_size", sides.pop(), key)
    else:
        keys.leave_out(key)
    return True


def put_mixed_precision(keys: Keys, *, adapted: bool) -> None:
    """Under adapters the frozen weights are cast to the half format, else autocast is over float32
    weights."""
    kind = keys.take("mixed_precision")
    if kind in HALVES:
        keys.put("precision", kind if adapted else f"amp_{kind}", "mixed_precision")
    elif kind in ("no", "fp32"):
        keys.put("precision", "fp32", "mixed_precision")
    elif kind is not None:
        keys.leave_out("mixed_precision")


def put_optimizer(keys: Keys, key: str, eight_bit: str) -> None:
    """By its class, in eight bits where a switch says so."""
    name, small = keys.take(key), keys.take(eight_bit)
    if small and str(name or "adamw").lower() == "adamw":
        keys.put("optimizer", "adamw_8bit", eight_bit)
    elif name is not None:
        kind = _kind(name)
        if kind is None:
            keys.leave_out(key)
        else:
            keys.put("optimizer", kind, key)


def _kind(name: Any) -> str | None:
    return asked_of_class(str(name))


def put_accumulated(keys: Keys, key: str, micro: Any, gpus: int) -> None:
    """The whole batch, of a micro-batch that is known."""
    steps = keys.take(key)
    if whole(steps) and whole(micro) and steps > 0 and micro > 0:
        keys.put("global_batch", steps * micro * gpus, key)
    elif steps is not None:
        keys.leave_out(key)
