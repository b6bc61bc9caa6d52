"""What a model under training says of its run: strategy, adapters, number format, checkpointing. By
the names of a record's ``setup``; whatever cannot be told is left out.

Works on any ``torch.nn.Module``; torch is imported by whoever made it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from planner.question import adapters
from planner.question.optimizers import asked_as, asked_names, asked_of_class
from planner.question.settings import called_by
from planner.question.training_setting import NUMBERS

#: Heads of transformers' classes to tasks of a question.
TASKS = {
    "CausalLM": "causal_lm",
    "LMHeadModel": "causal_lm",
    "MaskedLM": "masked_lm",
    "Seq2SeqLM": "seq2seq_lm",
    "SequenceClassification": "text_classification",
    "TokenClassification": "token_classification",
    "ImageClassification": "image_classification",
    "AudioClassification": "audio_classification",
    "SpeechSeq2Seq": "speech_recognition",
    "CTC": "speech_recognition",
}
#: Classes that end in ForConditionalGeneration do different things.
GENERATORS = {
    "whisper": "speech_recognition",
    "speech_to_text": "speech_recognition",
    "t5": "seq2seq_lm",
    "mt5": "seq2seq_lm",
    "bart": "seq2seq_lm",
    "mbart": "seq2seq_lm",
    "pegasus": "seq2seq_lm",
}
ATTENTION = {
    "eager": "eager",
    "sdpa": "sdpa",
    "flash_attention_2": "flash",
    "flash_attention_3": "flash",
    "flex_attention": "flex",
}
SGD_MOMENTUM = 0.9  # of a question's name ``sgd``: profiles/optimizers.csv
NEARLY_ALL = 0.95  # of the parameters: fixed position tables never train


def setup_of_model(model: Any) -> tuple[dict[str, Any], list[str]]:
    """(setup, notes) of a module as it is about to train."""
    notes: list[str] = []
    config = getattr(model, "config", None)
    found = {
        **_identity(model, config),
        **_strategy(model, notes),
        "precision_of_weights": weights_dtype(model),
        "gradient_checkpointing": _checkpointing(model),
        "attention": ATTENTION.get(str(getattr(config, "_attn_implementation", None))),
    }
    counts = {
        "total_params": sum(count(p) for p in model.parameters()),
        "trainable_params": sum(count(p) for p in model.parameters() if p.requires_grad),
    }
    return {name: value for name, value in (found | counts).items() if value is not None}, notes


def in_words_of(question: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """``found`` without what the question names better: its model's name, by which it can be asked
    again, and ``scratch``, which looks like fine-tuning."""
    asked_value = (
        question.get
        if isinstance(question, Mapping)
        else lambda name: getattr(question, name, None)
    )
    left = {name for name in ("model",) if asked_value(name)}
    if found.get("strategy") == "fine_tune" and asked_value("strategy") in ("scratch", ["scratch"]):
        left.add("strategy")
    return {name: value for name, value in found.items() if name not in left}


def _identity(model: Any, config: Any) -> dict[str, Any]:
    """Name, task, classes and what rebuilds the architecture. Of a local path only the folder's
    name: paths name people."""
    if config is None:
        return {"model": type(model).__name__}
    name = str(getattr(config, "_name_or_path", "") or "")
    task = task_of(type(base_of(model)).__name__, getattr(config, "model_type", None))
    classes = (
        getattr(config, "num_labels", None) if task and task.endswith("classification") else None
    )
    return {
        "model": in_folder(name) or type(base_of(model)).__name__,
        "task": task,
        "classes": classes,
        "architecture": architecture_of(config),
    }


def in_folder(name: str) -> str:
    """A hub's name as it is; of a local path the folder's own name."""
    local = (
        name.startswith((".", "~"))
        or Path(name).is_absolute()
        or name.count("/") > 1
        or "\\" in name
        or (name and Path(name).exists())
    )
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] if local else name


def architecture_of(config: Any) -> dict[str, Any] | None:
    """``{"kind": model type, …}`` with the configuration's own values where they are not the
    class's defaults."""
    kind = getattr(config, "model_type", None)
    if not kind or not hasattr(config, "to_diff_dict"):
        return None
    dropped = {
        "model_type",
        "_name_or_path",
        "transformers_version",
        "architectures",
        "id2label",
        "label2id",
        "torch_dtype",
        "dtype",
        "quantization_config",
    }
    return {"kind": kind} | {
        name: value
        for name, value in config.to_diff_dict().items()
        if name not in dropped and _plain(value)
    }


def _plain(value: Any) -> bool:
    return (
        isinstance(value, str | int | float | bool)
        or (isinstance(value, list | tuple) and all(map(_plain, value)))
        or (isinstance(value, dict) and all(map(_plain, value.values())))
    )


def base_of(model: Any) -> Any:
    """The user's own model inside PEFT's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def task_of(class_name: str, model_type: str | None) -> str | None:
    head = class_name.rpartition("For")[2]
    if head == "ConditionalGeneration":
        return GENERATORS.get(str(model_type))
    return TASKS.get(head) or next(
        (task for ending, task in TASKS.items() if class_name.endswith(ending)), None
    )


# ---------------------------------------------------------------- strategy


def _strategy(model: Any, notes: list[str]) -> dict[str, Any]:
    adapters = getattr(model, "peft_config", None)
    if adapters:
        return _adapted(model, next(iter(adapters.values())), notes)
    return trained_part(
        [(name, count(p), p.requires_grad) for name, p in model.named_parameters()], notes
    )


def _adapted(model: Any, config: Any, notes: list[str]) -> dict[str, Any]:
    found = of_peft(lambda name: getattr(config, name, None))
    if found is None:
        kind = str(getattr(config, "peft_type", "")).rpartition(".")[2].upper()
        notes.append(f"trained with PEFT's {kind}, which is no strategy of the planner")
        return {}
    return {
        "strategy": "qlora" if in_four_bits(model) else "lora",
        **({"load_in": "8bit"} if getattr(base_of(model), "is_loaded_in_8bit", False) else {}),
        **found,
    }


def of_peft(get: Callable[[str], Any]) -> dict[str, Any] | None:
    """The settings of adapters in a configuration of PEFT's, by a record's names; None for a method
    that is not planned. ``get``: the value of one of its arguments."""
    made = adapters.settings_of(get)
    if made is None:
        return None
    method = adapters.method_of(made.get("adapter"))
    own = (*adapters.SIZES, *adapters.OPTIONS)
    held = held_by("peft", get)
    return {n: v for n, v in held.items() if n not in own or method.takes(n)} | made


def held_by(tool: str, get: Callable[[str], Any]) -> dict[str, Any]:
    """What an object of the tool holds, by the names of a record's ``setup``: ``get`` gives its
    value of a name. Numbers and flags as they stand, lists in order; words differ from ours and are
    worked out where they are met."""
    found: dict[str, Any] = {}
    for setting, name in called_by(tool):
        value = get(name)
        if setting.value_type == "names":
            found[setting.name] = in_order(value)
        elif setting.value_type in (*NUMBERS, "flag"):
            found[setting.name] = value
    return without_unknown(found)


def in_order(names: Any) -> list[str] | None:
    """One name or several, as a sorted list; None where it is neither."""
    if isinstance(names, str):
        return [names]
    return sorted(map(str, names)) if isinstance(names, list | tuple | set | frozenset) else None


def in_four_bits(model: Any) -> bool:
    base = base_of(model)
    return bool(getattr(base, "is_loaded_in_4bit", False)) or any(
        type(p).__name__ == "Params4bit" for p in model.parameters()
    )


def trained_part(parameters: list[tuple[str, int, bool]], notes: list[str]) -> dict[str, Any]:
    """The strategy that trains these (name, size, trains): all, the last blocks, or nothing but
    what follows the blocks. Training from nothing looks like fine-tuning, which costs the same a
    step."""
    total = sum(size for _, size, _ in parameters)
    trained = sum(size for _, size, trains in parameters if trains)
    if not total or not trained:
        return {}
    if trained >= NEARLY_ALL * total:
        return {"strategy": "fine_tune"}
    prefix = blocks_of([name for name, _, _ in parameters])
    if prefix is None:
        return _without_blocks(parameters)
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    block = {name: int(match[1]) for name, _, _ in parameters if (match := pattern.match(name))}
    whole = Counter(block[name] for name, _, _ in parameters if name in block)
    open_ = Counter(block[name] for name, _, trains in parameters if name in block and trains)
    if not open_:
        return _without_blocks(parameters)
    last = 0
    while last < len(whole) and open_[max(whole) - last] == whole[max(whole) - last]:
        last += 1
    if last != len(open_):
        notes.append("the parameters that train are not the last blocks")
        return {"strategy": "partial_fine_tune"}
    return {"strategy": "partial_fine_tune", "unfrozen_blocks": last}


def _without_blocks(parameters: list[tuple[str, int, bool]]) -> dict[str, Any]:
    """Only what stands at the end trains: a head on features; otherwise some part or other."""
    trains = [flag for _, _, flag in parameters]
    at_end = all(trains[trains.index(True) :])
    return {"strategy": "feature_extraction" if at_end else "partial_fine_tune"}


def blocks_of(names: list[str]) -> str | None:
    """The prefix under which the most numbered modules stand (``model.layers``); None where fewer
    than two do."""
    numbered: dict[str, set[int]] = {}
    for name in names:
        for match in re.finditer(r"\.(\d+)\.", name):
            numbered.setdefault(name[: match.start()], set()).add(int(match[1]))
    outer = {
        prefix: found for prefix, found in numbered.items() if not re.search(r"\.\d+(\.|$)", prefix)
    }
    prefix = max(outer, key=lambda p: len(outer[p]), default=None)
    return prefix if prefix is not None and len(outer[prefix]) > 1 else None


# ---------------------------------------------------------------- numbers


def count(parameter: Any) -> int:
    """Elements; a 4-bit parameter holds two in a byte, and its shape before."""
    state = getattr(parameter, "quant_state", None)
    shape = getattr(state, "shape", None)
    if shape is None:
        return parameter.numel()
    size = 1
    for length in shape:
        size *= int(length)
    return size


def weights_dtype(model: Any) -> str | None:
    """``float32``, ``bfloat16`` …: of most floating-point weights, adapters apart."""
    sizes: Counter = Counter()
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and "lora_" not in name:
            sizes[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    return sizes.most_common(1)[0][0] if sizes else None


def precision_of(weights: str | None, autocast: str | None, tf32: bool) -> str | None:
    """A question's name. ``autocast``: ``bf16``, ``fp16`` or None; half weights under autocast of
    the same type stay half."""
    short = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}.get(weights or "")
    if short is None:
        return None
    if short != "fp32":
        return short
    if autocast:
        return f"amp_{autocast}"
    return "tf32" if tf32 else "fp32"


def tf32_allowed() -> bool:
    """Whether float32 products run as TF32 on this process's device."""
    import torch

    if not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return False
    return torch.get_float32_matmul_precision() != "highest" or bool(
        torch.backends.cuda.matmul.allow_tf32
    )


def optimizer_of(optimizer: Any) -> str | None:
    """A question's name of a real optimizer (also inside accelerate's wrapper); None for one that
    has none."""
    inner = getattr(optimizer, "optimizer", optimizer)
    kind, defaults = type(inner), getattr(inner, "defaults", {})
    if kind.__name__ == "SGD":
        momentum = defaults.get("momentum", 0)
        return "sgd_plain" if not momentum else "sgd" if momentum == SGD_MOMENTUM else None
    found = asked_of_class(f"{kind.__module__}.{kind.__name__}")
    if found == "adamw":
        return (
            "adamw_fused"
            if defaults.get("fused")
            else "adamw_for_loop"
            if defaults.get("foreach") is False
            else "adamw"
        )
    return found


def optimizer_named(name: str | None) -> str | None:
    """A question's name of transformers' ``optim``, where the optimizer itself is not at hand."""
    if name is None or name == "sgd":  # transformers' SGD has no momentum
        return None if name is None else "sgd_plain"
    known = asked_as(name)
    return known if known in asked_names() else None


def _checkpointing(model: Any) -> str | None:
    base = base_of(model)
    flag = getattr(base, "is_activation_checkpointing", None)  # the name since transformers 5
    flag = getattr(base, "is_gradient_checkpointing", None) if flag is None else flag
    return None if flag is None else "full" if flag else "none"


def without_unknown(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
