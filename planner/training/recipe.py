"""Recipe: every choice that changes a step trace, and nothing else. The key of the trace cache with
the model's fingerprint and the library versions, but for the number of classes, which is a symbol
of the trace. No torch here: the fast path builds recipes too.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from planner.errors import UnknownNameError
from planner.models.constants import constant
from planner.question import TRAINING_STRATEGIES
from planner.question.adapters import LORA, OPTIONS, SIZES, method_of
from planner.question.settings import SETTINGS
from planner.question.setup import TracedSettings, traced_values
from planner.question.training_setting import LORA as ADAPTERS
from planner.training.host_memory import FLOAT32, GRADIENTS, NARROW, OPTIMIZER, WEIGHTS, together

#: How images lie where nothing is said of it.
CHANNELS_LAST = "channels_last"
#: Training from nothing is a full fine-tune's step.
TRACED_AS = {"scratch": "fine_tune"}
#: Under ``kbit_preparation`` peft all that is not quantised is float32 and the step runs under
#: autocast: PEFT's ``prepare_model_for_kbit_training``, then a trainer's ``bf16`` or ``fp16``. none
#: leaves it in 16 bits.
PREPARED_PRECISION = {
    "peft": {"bf16": "amp_bf16", "fp16": "amp_fp16"},
    "none": {"amp_bf16": "bf16", "amp_fp16": "fp16"},
}


@dataclass(frozen=True)
class Recipe(TracedSettings):
    """How one micro-batch is trained. What its strategy or task does not use is None, so that equal
    work has an equal key; ``scratch`` is traced as ``fine_tune``. ``largest``: (width, height) in
    pixels of a detector's images in the largest batch of its run, whose objects are a symbol of the
    trace; None for its usual images."""

    largest: tuple[int, int] | None = None

    def as_dict(self) -> dict[str, Any]:
        found = {**traced_values(self), "largest": self.largest}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def has_adapters(self) -> bool:
        """Whether adapters train over frozen weights."""
        return self.strategy in ADAPTERS

    @property
    def updates_on_host(self) -> bool:
        """Whether the optimizer's states lie in the host's memory, and it runs there."""
        return OPTIMIZER in (self.offload or ())

    @property
    def updates_once(self) -> bool:
        """Whether every micro-batch is a step: torchao's optimizer of the host takes a gradient
        that leaves for that of the whole step, while DeepSpeed's and FSDP's add them up there."""
        words = self.offload or ()
        leaves = GRADIENTS in words and WEIGHTS not in words and self.precision not in NARROW
        return bool(self.optimizer_in_backward) or leaves

    @property
    def recorded(self) -> Recipe:
        """As the device runs it: where the host has the float32 weights of mixed precision, those
        of the device are of 16 bits."""
        if not self.updates_on_host or self.precision not in NARROW:
            return self
        words = (*(self.offload or ()), FLOAT32)
        return replace(self, precision=NARROW[self.precision], offload=words)

    @property
    def savings(self) -> dict[str, Any]:
        """What a run does to hold less at once, where it does."""
        asked = {
            "float8": self.float8,
            "float8_layers": self.float8_layers,
            "loss": self.loss,
            "kernels": self.kernels,
            "adapter_precision": self.adapter_precision,
            "optimizer_in_backward": self.optimizer_in_backward,
            "offload": list(self.offload or ()),
        }
        return {name: value for name, value in asked.items() if value}

    def key(self) -> str:
        """A short hash of the choices without the classes, the same on every machine. A method of
        adapters with another's step has its key."""
        choices = {name: value for name, value in self.as_dict().items() if name != "classes"}
        if self.adapter is not None:
            traced = method_of(self.adapter).traced_as
            choices |= {"adapter": traced}
            if traced == LORA:
                del choices["adapter"]
        return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:16]


def recipe_of(settled: TracedSettings, own_image_size: int | None = None) -> Recipe:
    """The one way to a recipe: from a setup, or from its traced part alone, for questions and for
    measured runs alike. What the strategy or the task does not use is left out, and so are the
    image size that the model has by itself (pixels) and the channels-last order, in which images
    lie where nothing is said. Raises UnknownNameError for a strategy that trains nothing."""
    strategy = settled.strategy
    if strategy not in TRAINING_STRATEGIES:
        raise UnknownNameError("strategy", strategy, TRAINING_STRATEGIES)
    values: dict[str, Any] = {
        name: _hashable(value)
        for name, value in traced_values(settled).items()
        if SETTINGS[name].used_by(strategy, settled.task)
    }
    if values.get("image_size") == own_image_size:
        values.pop("image_size", None)
    if values.get("memory_format") == CHANNELS_LAST:
        values.pop("memory_format")
    if values.get("objects_per_image") == constant("objects_per_image"):
        values.pop("objects_per_image", None)
    values["strategy"] = TRACED_AS.get(strategy, strategy)
    return Recipe(**_adapted(_loaded(values)))


def _adapted(values: dict[str, Any]) -> dict[str, Any]:
    """The choices of adapters that their method has, with its own size where none is said."""
    if values["strategy"] not in ADAPTERS:
        return values
    method = method_of(values.get("adapter"))
    kept = {
        name: value
        for name, value in values.items()
        if name not in (*SIZES, *OPTIONS) or method.takes(name)
    }
    if method.size is not None and kept.get(method.size) is None:
        kept[method.size] = method.default
    return kept


def _loaded(values: dict[str, Any]) -> dict[str, Any]:
    """The choices of loading in few bits as they change a step: LoRA over NF4 is ``qlora``, one
    over int8 ``lora`` with ``load_in``; how the rest is prepared is the precision."""
    preparation = values.pop("kbit_preparation", None)
    if preparation is not None:
        by_name = PREPARED_PRECISION[preparation]
        values["precision"] = by_name.get(values["precision"], values["precision"])
    if values.get("quantised_layers") == "installed":
        values.pop("quantised_layers")
    if not values.get("optimizer_in_backward"):
        values.pop("optimizer_in_backward", None)
    if not values.get("float8"):
        values.pop("float8_layers", None)
    if values.get("offload"):
        values["offload"] = together(values["offload"])
    if values.get("vision_tower") == "frozen":
        values.pop("vision_tower")
    loaded = values.pop("load_in", None)
    if loaded == "4bit":
        values["strategy"] = "qlora"
    elif loaded is not None:
        values |= {"strategy": "lora", "load_in": loaded}
    return values


def _hashable(value: Any) -> Any:
    """A list as a tuple; an empty one is none."""
    return tuple(value) or None if isinstance(value, list | tuple) else value
