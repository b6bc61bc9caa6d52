"""What the files of several tools say in the same words: which weights train, in which number
format, how often gradients accumulate, how often it evaluates and saves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.question.importers.keys import Keys, whole
from planner.question.importers.table import model_called

#: How LoRA's weights may begin: a method of its own, and words that change no cost.
PISSA, PLAIN_BEGINNINGS = "pissa", ("", "true", "false", "gaussian")
#: What number formats are called.
BF16, FP16, FP32 = ("bfloat16", "bf16"), ("float16", "fp16", "half"), ("float32", "fp32")


def put_model(keys: Keys, key: str) -> None:
    """A model by the name that it is found by here."""
    value = keys.take(key)
    if isinstance(value, str):
        keys.put("model", model_called(value), key)


def put_adapters(keys: Keys, key: str, *, four_bit: str, eight_bit: str) -> str:
    """LoRA, which ``key`` asks for, over weights in as many bits as the file says. Returns the
    strategy."""
    in_four, in_eight = keys.take(four_bit), keys.take(eight_bit)
    strategy = "qlora" if in_four else "lora"
    keys.put("strategy", [strategy], four_bit if in_four else key)
    if in_eight and not in_four:
        keys.put("load_in", "8bit", eight_bit)
    return strategy


def put_method(keys: Keys, switches: Mapping[str, str], begins: str = "") -> None:
    """The method of PEFT's that a file makes of LoRA. ``switches``: method → the key that turns it
    on; ``begins``: the key whose word says how its weights begin. Of several the first is meant: a
    step of DoRA's is its own, those of the others are LoRA's with other numbers."""
    word = str(keys.take(begins) or "").lower() if begins else ""
    found = [(method, key) for method, key in switches.items() if keys.take(key) is True]
    if word.startswith(PISSA):
        found.append((PISSA, begins))
    elif word not in PLAIN_BEGINNINGS:
        keys.leave_out(begins)
    else:
        keys.harmless(begins)
    for key in switches.values():
        keys.harmless(key)
    for method, key in found[:1]:
        keys.put("adapter", method, key)


def put_targets(keys: Keys, key: str) -> None:
    """Every linear layer is what a question means when it names none."""
    modules = keys.take(key)
    if modules in (None, "", [], "all", "all-linear", ["all-linear"], ["all"]):
        return
    if isinstance(modules, list | str):
        keys.put("lora_targets", modules, key)
    else:
        keys.leave_out(key)


#: What a launcher's file leaves to the tool that runs.
BY_ITSELF = ("auto",)


def put_batch(keys: Keys, key: str, micro_batch: str, gpus: int) -> None:
    """A file says how often a device accumulates, a question how large the whole batch is."""
    steps, micro = (_as_number(keys.take(one)) for one in (key, micro_batch))
    if micro is not None:
        keys.put("micro_batch", micro, micro_batch)
    if steps is None:
        return
    if whole(steps) and whole(micro) and steps > 0 and micro > 0:
        keys.put("global_batch", steps * micro * gpus, key)
    elif not whole(steps) and steps not in BY_ITSELF:
        keys.no_number(key)
    else:
        keys.leave_out(key)


def _as_number(value: Any) -> Any:
    """A number that is written as a text, as a number."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def put_trainer_precision(keys: Keys, *, adapted: bool, loaded: tuple[str, ...]) -> None:
    """transformers' ``bf16`` and ``fp16`` are autocast over the weights as they were loaded: in
    half precision where ``loaded`` (a key that names the type) says so, where adapters train over
    frozen weights, else in float32."""
    bf16, fp16, tf32 = keys.take("bf16"), keys.take("fp16"), keys.take("tf32")
    named = {key: str(keys.take(key) or "").removeprefix("torch.") for key in loaded}
    key, kind = next(((k, v) for k, v in named.items() if v), ("", ""))
    half = kind in BF16 or (adapted and kind not in FP32)
    if fp16 is True:
        keys.put("precision", "fp16" if adapted and kind not in FP32 else "amp_fp16", "fp16")
    elif bf16 is True:
        keys.put("precision", "bf16" if half else "amp_bf16", "bf16")
    elif kind in (*BF16, *FP16):
        keys.put("precision", "bf16" if kind in BF16 else "fp16", key)
    elif tf32 is True:
        keys.put("precision", "tf32", "tf32")
    elif bf16 is False or fp16 is False or kind in FP32:
        source = "bf16" if bf16 is False else "fp16" if fp16 is False else key
        keys.put("precision", "fp32", source)
    for name, value in (("bf16", bf16), ("fp16", fp16)):
        if value not in (None, True, False):
            keys.leave_out(name)


#: What tools call torchao as the library of products in 8-bit floats; "auto" takes it.
TORCHAO = ("ao", "torchao", "auto")


def put_float8(
    keys: Keys, switch: str, *, adapted: bool, backend: str = "", recipe: str = ""
) -> None:
    """Products in 8-bit floats by torchao, whose recipe is tensorwise where none is named; those
    of another library, and those beside adapters, cannot be asked."""
    asked = keys.take(switch)
    library = keys.take(backend) if backend else None
    name = keys.take(recipe) if recipe else None
    if not asked:
        return
    if adapted or str(library or TORCHAO[0]).lower() not in TORCHAO:
        for key in filter(None, (switch, backend, recipe)):
            keys.leave_out(key)
        return
    keys.put("float8", name or "tensorwise", switch)


def put_stack(keys: Keys, trainer: str, liger: str) -> None:
    """The software of the run; with Liger's kernels where ``liger`` asks for them."""
    if keys.take(liger) is True:
        keys.put("stack", "liger", liger)
    else:
        keys.runs_as(trainer)


def put_rhythm(keys: Keys, *, strategy: tuple[str, ...], steps: str, field: str) -> None:
    """How often an epoch something is done. A number of steps is no number an epoch, which a
    question asks for; unless it is the tool's usual one it is left out."""
    how = {key: keys.take(key) for key in strategy}
    key, word = next(((k, v) for k, v in how.items() if v is not None), (strategy[0], None))
    every = keys.take(steps)
    if word in ("no", False):
        keys.put(field, 0, key)
        keys.harmless(steps)
    elif word == "epoch":
        keys.put(field, 1, key)
        keys.harmless(steps)
    elif word in ("best",):
        keys.leave_out(key)
    elif every is not None and not keys.is_usual(steps):
        keys.leave_out(steps)
