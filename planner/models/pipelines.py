"""Pipelines of diffusers without diffusers: a folder laid out as on the hub, or a shipped config,
becomes one config of all parts; rows of ``profiles/models/diffusion_pipelines.csv`` say how each
class of pipeline is trained."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from planner import tables
from planner.errors import FieldName, ModelError
from planner.files import loads, read_text
from planner.first_lines import FirstLine
from planner.models.checkpoint import read_header
from planner.models.configs import MAX_CONFIG_BYTES
from planner.models.facts import ModelFacts, text_fingerprint

#: What a folder of a pipeline has at its top.
INDEX = "model_index.json"
TASK = "text_to_image"
SCHEDULER = ("scheduler", "scheduler_config.json")
#: Keys of a part's config that say nothing about its architecture.
IRRELEVANT = ("_diffusers_version", "_name_or_path", "transformers_version", "torch_dtype")
#: Weights of a part in one type: variants in another type lie beside them.
WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(fp16|bf16))?(?:-\d+-of-\d+)?\.safetensors"
)


@dataclass(frozen=True)
class Pipeline:
    """A row. ``denoiser``: the part that trains; ``told``: what it is told beside the noisy latents
    (a key of ``planner.models.building.diffusion.conditions``); ``caption_tokens``: of a padded
    caption, None without one; ``float32_vae``: whether mixed precision leaves the autoencoder in
    float32; ``parts``: the folders that a training loads; ``size``: pixels, where no config has
    them."""

    name: str
    denoiser: str
    told: str
    is_flow: bool
    caption_tokens: int | None
    float32_vae: bool
    lora_targets: tuple[str, ...]
    parts: tuple[str, ...]
    size: int | None
    script: str


@cache
def pipelines() -> dict[str, Pipeline]:
    """Class of a pipeline → its row."""
    return {
        row["pipeline"]: Pipeline(
            name=row["pipeline"],
            denoiser=row["denoiser"],
            told=row["told"],
            is_flow=row["schedule"] == "flow",
            caption_tokens=int(row["caption_tokens"]) if row["caption_tokens"] else None,
            float32_vae=row["vae"] == "float32",
            lora_targets=tuple(row["lora_targets"].split()),
            parts=tuple(row["parts"].split()),
            size=int(row["size"]) if row["size"] else None,
            script=row["script"],
        )
        for row in tables.rows("models", "diffusion_pipelines.csv")
    }


def pipeline_of(config: Mapping[str, Any], where: str) -> Pipeline:
    """The row of a pipeline's config. Raises ModelError for a class that none covers."""
    name = config.get("_class_name")
    found = pipelines().get(str(name))
    if found is None:
        raise ModelError(
            f"training a {name} is not covered",
            where=where,
            mend=f"Covered: {', '.join(pipelines())}; or give a factory package.module:function",
        )
    return found


def is_pipeline(folder: Path) -> bool:
    return (folder / INDEX).is_file()


def read_folder(folder: Path) -> dict[str, Any]:
    """The configs of a pipeline's parts as one. Raises ModelError where one is missing or none."""
    index = read_config(folder / INDEX)
    row = pipeline_of(index, str(folder / INDEX))
    config: dict[str, Any] = {"_class_name": row.name}
    for part in row.parts:
        config[part] = read_config(folder / part / "config.json")
    scheduler = folder.joinpath(*SCHEDULER)
    config["scheduler"] = read_config(scheduler) if scheduler.is_file() else {}
    return config


def read_config(file: Path) -> dict[str, Any]:
    """A part's config, or a shipped one of all parts. Raises ModelError."""
    try:
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise ModelError("larger than any model config is", where=str(file))
        found = loads(read_text(file))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"a part of the pipeline cannot be read: {type(error).__name__}",
            where=str(file),
            mend=f"A pipeline's folder has {INDEX} and a folder with a config.json for each part",
        ) from error
    if not isinstance(found, dict):
        raise ModelError("holds no JSON object", where=str(file))
    return found


def facts_of(
    config: Mapping[str, Any], name: str, origin: str, task: str | None, **known: Any
) -> ModelFacts:
    """The facts of a pipeline's config. Raises ModelError for another task, or for what the config
    lacks."""
    row = pipeline_of(config, name)
    if task not in (None, TASK):
        raise ModelError(
            f"a {row.name} trains on {TASK}, not on {task}",
            where=name,
            mend=f"Leave {FieldName('task')} out",
        )
    for part in row.parts:
        if not isinstance(config.get(part), Mapping):
            raise ModelError(f"its config has no part {part!r}", where=name)
    return ModelFacts(
        name=name,
        origin=origin,
        library="diffusers",
        architecture=row.name,
        task=TASK,
        modality="image",
        config=config,
        fingerprint=fingerprint(config),
        image_size=image_size(config, row),
        first_lines=(_task_line(row),),
        **known,
    )


def from_folder(folder: Path, name: str, origin: str, task: str | None) -> ModelFacts:
    """The facts of a folder laid out as on the hub; weights beside the configs give the exact
    parameters."""
    config = read_folder(folder)
    parameters = _parameters(folder, pipeline_of(config, name))
    return facts_of(config, name, origin, task, parameters=parameters)


def _parameters(folder: Path, row: Pipeline) -> int | None:
    """Of all parts that are loaded; None where the weights of one are not there."""
    counts = [_elements(folder / part) for part in row.parts]
    return None if None in counts else sum(count for count in counts if count is not None)


def _elements(folder: Path) -> int | None:
    by_type: dict[str | None, int] = {}
    for file in sorted(folder.glob("*.safetensors")):
        match = WEIGHTS.fullmatch(file.name)
        if match is not None:
            floats = [n for dtype, n in read_header(file).values() if "float" in dtype]
            by_type[match[1]] = by_type.get(match[1], 0) + sum(floats)
    return by_type.get(None) or next(iter(by_type.values()), None)


def image_size(config: Mapping[str, Any], row: Pipeline) -> int | None:
    """Pixels a side that the denoiser is made for: its latents times the autoencoder's
    reduction."""
    side = config[row.denoiser].get("sample_size")
    if isinstance(side, int) and side > 0:
        return side * reduction(config)
    return row.size


def reduction(config: Mapping[str, Any]) -> int:
    """Pixels of a latent's side. Raises ModelError where the autoencoder does not say."""
    widths = config["vae"].get("block_out_channels")
    if not isinstance(widths, list) or not widths:
        raise ModelError("its autoencoder states no block_out_channels", where="vae/config.json")
    return 2 ** (len(widths) - 1)


def fingerprint(config: Mapping[str, Any]) -> str:
    """Of all parts; of the scheduler what the step reads."""
    kept = {
        part: {key: item for key, item in value.items() if key not in IRRELEVANT}
        if isinstance(value, Mapping)
        else value
        for part, value in config.items()
        if part != "scheduler"
    }
    kept["prediction"] = config.get("scheduler", {}).get("prediction_type", "epsilon")
    return text_fingerprint("diffusers:" + json.dumps(kept, sort_keys=True))


def _task_line(row: Pipeline) -> FirstLine:
    told = "a class, no text" if row.told == "class" else "a caption"
    return FirstLine("task", f"trained as {TASK} ({row.name}: its {row.denoiser}, told {told})")
