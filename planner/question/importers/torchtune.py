"""torchtune's YAML. Models are named by their builders, and everything else by ``_component_``.

Training in ``dtype: bf16`` holds weights, adapters, gradients and moments in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from planner.question.importers import Imported, Importer, Keys
from planner.question.importers.keys import listed, whole
from planner.question.importers.shared import put_batch, put_float8
from planner.question.importers.table import model_called, table
from planner.question.optimizers import asked_of_class

REFERENCE = re.compile(r"\$\{([\w.]+)\}")
LORA = re.compile(r"(.*\.)(q?lora_)(\w+)")
#: What torchtune calls the layers of an MLP and the others, and what a hub's checkpoint does.
ATTENTION = {"output_proj": "o_proj"}
MLP = ("gate_proj", "up_proj", "down_proj")
HEAD = "lm_head"
#: Losses of texts: whole, and in chunks.
PLAIN = "torch.nn.CrossEntropyLoss"
CHUNKED = (
    "torchtune.modules.loss.CEWithChunkedOutputLoss",
    "torchtune.modules.loss.LinearCrossEntropyLoss",
)
#: Losses of an objective, which is planned as TRL computes it.
OBJECTIVES = {"torchtune.rlhf.loss.DPOLoss": "dpo"}
#: The divergence from a teacher that is planned.
FORWARD = "torchtune.modules.loss.ForwardKLWithChunkedOutputLoss"
#: Its data sets, and the hub's that they load.
HUB = re.compile(r"torchtune\.datasets\.(\w+)_dataset")


def read(document: Mapping[str, Any], gpus: int) -> Imported:
    """The question of torchtune's file."""
    document = cast("Mapping[str, Any]", _filled(document, document, 0))
    keys = Keys(document, table("torchtune"))
    adapted = _model(keys)
    put_float8(keys, "enable_fp8_training", adapted=adapted, recipe="fp8_recipe_name")
    _objective(keys)
    put_batch(keys, "gradient_accumulation_steps", "batch_size", gpus)
    _optimizer(keys)
    _steps(keys)
    _data(keys, document)
    return keys.imported()


def _filled(value: Any, document: Mapping[str, Any], depth: int) -> Any:
    """With what other keys hold in the place of ``${…}``; one that leads nowhere stays as it is."""
    if isinstance(value, Mapping):
        inner = cast("Mapping[str, Any]", value)
        return {name: _filled(one, document, depth) for name, one in inner.items()}
    if isinstance(value, list):
        return [_filled(one, document, depth) for one in listed(value)]
    if not isinstance(value, str) or depth > 8:
        return value
    whole_value = REFERENCE.fullmatch(value)
    if whole_value and (found := _named(document, whole_value[1])) is not None:
        return _filled(found, document, depth + 1)
    return value


def _named(document: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(document, Mapping):
            return None
        document = cast("Mapping[str, Any]", document).get(part)
    return document if isinstance(document, str | int | float | bool) else None


def _model(keys: Keys) -> bool:
    """``torchtune.models.llama3_2.qlora_llama3_2_3b`` names the model and the strategy. Whether
    adapters train."""
    builder = keys.take("model._component_")
    if not isinstance(builder, str):
        return False
    adapted = LORA.fullmatch(builder)
    plain = f"{adapted[1]}{adapted[3]}" if adapted else builder
    if (model := model_called(plain)) != plain:
        keys.put("model", model, "model._component_")
    else:
        keys.leave_out("model._component_")
    strategy = {"lora_": "lora", "qlora_": "qlora"}[adapted[2]] if adapted else "fine_tune"
    keys.put("strategy", [strategy], "model._component_")
    if adapted:
        _targets(keys)
        keys.put("adapter_precision", "weights", "model._component_")
        if strategy == "qlora":
            keys.put("kbit_preparation", "none", "model._component_")
    return adapted is not None


def _objective(keys: Keys) -> None:
    """The loss tells what is learnt: of pairs, of a teacher, else of the texts themselves, whole or
    in chunks."""
    loss, distilled = keys.take("loss._component_"), keys.take("kd_loss._component_")
    builder = keys.take("teacher_model._component_")
    if distilled is not None:
        keys.put("objective", "kd", "kd_loss._component_")
        if str(distilled) != FORWARD:
            keys.leave_out("kd_loss._component_")
    if isinstance(builder, str):
        if (teacher := model_called(builder)) != builder:
            keys.put("teacher", teacher, "teacher_model._component_")
        else:
            keys.leave_out("teacher_model._component_")
    if loss is None or distilled is not None:
        return
    if str(loss) in OBJECTIVES:
        keys.put("objective", OBJECTIVES[str(loss)], "loss._component_")
    elif str(loss) in CHUNKED:
        keys.put("loss", "chunked", "loss._component_")
    elif str(loss) != PLAIN:
        keys.leave_out("loss._component_")


def _targets(keys: Keys) -> None:
    modules = [str(name) for name in listed(keys.take("model.lora_attn_modules"))]
    names = [ATTENTION.get(name, name) for name in modules]
    for key, more in (("model.apply_lora_to_mlp", MLP), ("model.apply_lora_to_output", (HEAD,))):
        if keys.take(key):
            names += more
    if names:
        keys.put("lora_targets", names, "model.lora_attn_modules")


def _optimizer(keys: Keys) -> None:
    name, fused = keys.take("optimizer._component_"), keys.take("optimizer.fused")
    momentum = keys.take("optimizer.momentum")
    if name is None:
        return
    if str(name).endswith("CPUOffloadOptimizer"):
        leaves = keys.take("optimizer.offload_gradients")
        keys.put("offload", ["optimizer", *(["gradients"] if leaves else [])], COMPONENT)
        name = keys.take("optimizer.optimizer_class") or "torch.optim.AdamW"
    kind = asked_of_class(str(name))
    if str(name).endswith(".SGD"):
        kind = "sgd" if momentum else "sgd_plain"
    if kind is None:
        keys.leave_out("optimizer._component_")
    else:
        keys.put("optimizer", f"{kind}_fused" if fused and kind == "adamw" else kind, COMPONENT)


COMPONENT = "optimizer._component_"


def _steps(keys: Keys) -> None:
    """Steps of an epoch are steps of the run where the epochs are named."""
    steps, epochs = keys.take("max_steps_per_epoch"), keys.take("epochs")
    if epochs is not None:
        keys.put("epochs", epochs, "epochs")
    if steps is None:
        return
    if whole(steps) and whole(epochs) and steps > 0:
        keys.put("max_steps", steps * epochs, "max_steps_per_epoch")
    else:
        keys.leave_out("max_steps_per_epoch")


def _data(keys: Keys, document: Mapping[str, Any]) -> None:
    """A builder of a data set is its name: nobody but torchtune knows what it loads."""
    builder, source = keys.take("dataset._component_"), keys.take("dataset.source")
    files = keys.take("dataset.data_files")
    if isinstance(files, str):
        keys.put("data", files, "dataset.data_files")
    elif isinstance(source, str):
        keys.put("data", source, "dataset.source")
    elif isinstance(builder, str):
        keys.put("data", builder, "dataset._component_")
    for key in ("datasets", "dataset"):
        if isinstance(document.get(key), list):
            keys.leave_out(key)


IMPORTER = Importer(
    "torchtune",
    lambda keys: {"checkpointer", "tokenizer"} <= keys or {"model", "tokenizer", "loss"} <= keys,
    read,
    stack="loop",
)
