"""Folders that are no plain model: an adapter, a sentence-transformers model, another program's
weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.errors import ModelError
from planner.files import loads, read_text
from planner.first_lines import FirstLine
from planner.question.adapters import LORA_TYPE, method_of, settings_of

ADAPTER = "adapter_config.json"
MODULES = "modules.json"
MAX_BYTES = 2**20
#: What says how large an adapter is, in a sentence.
SIZE_WORDS = {
    "lora_rank": "rank",
    "adapter_block_size": "block size",
    "virtual_tokens": "virtual tokens",
}


@dataclass(frozen=True)
class Adapter:
    """What an adapter_config.json says: the base it stands on, and a question's settings of its
    ``method`` (PEFT's name of it); None for a method that is not planned."""

    base: str
    method: str
    settings: Mapping[str, Any] | None = None

    def line(self, name: str) -> FirstLine:
        """What is said of it first."""
        if self.settings is None:
            text = (
                f"{name} is a {self.method} adapter, which is not covered: its base {self.base} "
                "is planned"
            )
            return FirstLine("model", text, warning=True)
        own = method_of(self.settings.get("adapter"))
        number = self.settings.get(own.size or "")
        size = f" of {SIZE_WORDS[own.size]} {number}" if own.size and number else ""
        targets = self.settings.get("lora_targets")
        on = f" on {', '.join(targets)}" if targets else ""
        text = f"{name} is a {own.words} adapter{size}{on}: its base {self.base} is planned"
        return FirstLine("model", text)


def read_adapter(folder: Path) -> Adapter | None:
    """The adapter of a folder, None where it holds none. Raises ModelError for one that names no
    base."""
    file = folder / ADAPTER
    if not file.is_file():
        return None
    config = _read(file)
    base = config.get("base_model_name_or_path") if isinstance(config, Mapping) else None
    if not isinstance(base, str) or not base.strip():
        raise ModelError(
            "the adapter names no base model (key 'base_model_name_or_path')",
            where=str(file),
            mend="Name the base model itself",
        )
    kind = str(config.get("peft_type") or LORA_TYPE).upper()
    made = settings_of({**config, "peft_type": kind}.get)
    if made is None:
        return Adapter(base.strip(), kind)
    method = method_of(made.get("adapter"))
    found = {
        "lora_targets": _targets(config.get("target_modules")),
        "lora_dropout": _number(config.get(method.dropout or ""), float),
    }
    own = {name: value for name, value in found.items() if method.takes(name)}
    return Adapter(base.strip(), kind, {n: v for n, v in {**made, **own}.items() if v is not None})


def _number(value: Any, kind: type) -> Any:
    sane = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 65536
    return kind(value) if sane else None


def _targets(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, str) and value:
        return (value,)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return tuple(sorted(value))
    return None


def base_of(adapter: Adapter, folder: Path) -> str:
    """The base's name, or its path where a folder of that name lies beside the adapter or here.
    Raises ModelError for a folder that holds no model."""
    for place in (folder / adapter.base, Path(adapter.base).expanduser()):
        if (place / "config.json").is_file() and place.resolve() != folder.resolve():
            return str(place)
        if place.is_dir() and (place / ADAPTER).is_file():
            raise ModelError(
                f"its base {adapter.base} is an adapter too", where=str(folder / ADAPTER)
            )
    return adapter.base


def encoder_folder(folder: Path) -> Path | None:
    """Where a sentence-transformers folder keeps its encoder, None for other folders."""
    if not (folder / MODULES).is_file():
        return None
    modules = _read(folder / MODULES)
    for module in modules if isinstance(modules, list) else []:
        kind = str(module.get("type", "")) if isinstance(module, Mapping) else ""
        inside = str(module.get("path") or "") if isinstance(module, Mapping) else ""
        place = folder / inside
        safe = ".." not in Path(inside).parts and not Path(inside).is_absolute()
        if kind.endswith("Transformer") and safe and (place / "config.json").is_file():
            return place
    return None


def usual_task(folder: Path) -> str | None:
    """What a sentence-transformers folder is tuned for, None for other folders."""
    if not (folder / MODULES).is_file():
        return None
    modules = _read(folder / MODULES)
    kinds = [str(m.get("type", "")) for m in modules or () if isinstance(m, Mapping)]
    return "text_embedding" if any(kind.endswith("Pooling") for kind in kinds) else None


def refuse(folder: Path, name: str) -> ModelError:
    """Why a folder without a config.json is no model that can be planned."""
    if (folder / "params.json").is_file():
        return ModelError(
            "holds weights in their authors' own format (params.json), which says too little of "
            "the architecture",
            where=name,
            mend="Name the version for transformers, such as meta-llama/Llama-2-7b-hf, or convert "
            "it with transformers",
        )
    weights = sorted(item.name for item in folder.glob("*.gguf"))[:1]
    if weights:
        return ModelError(
            f"holds a GGUF file ({weights[0]}), which is for running, not for training",
            where=name,
            mend="Name the model that it was made from",
        )
    pickles = sorted(item.name for item in folder.glob("*.bin"))[:1]
    more = f" ({pickles[0]} is a pickle, which is never opened)" if pickles else ""
    return ModelError(
        f"the folder has no config.json{more}",
        where=name,
        mend="Name a folder that save_pretrained wrote, or a hub id",
    )


def _read(file: Path) -> Any:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ModelError("larger than 1 MiB, which no such file is", where=str(file))
        return loads(read_text(file))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot be read: {error}", where=str(file)) from error
