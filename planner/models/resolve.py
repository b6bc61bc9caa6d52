"""A model's name becomes facts, without torch: local path, timm:, torchvision:, factory, size, hub
cache, network, catalogue."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from planner.errors import FieldName, ModelError, nearest
from planner.first_lines import FirstLine
from planner.models import catalogue, folders, hub, pipelines, sizes
from planner.models.checkpoint import read_checkpoint
from planner.models.configs import SUPPLIED, library_knows, read_config
from planner.models.facts import ModelFacts, config_fingerprint, text_fingerprint
from planner.models.names import own, renames, spelling
from planner.models.names.of_libraries import factory, own_model, vision, yolo_detector
from planner.models.quantization.read import quantised_by
from planner.models.quantization.read import read as read_quantization
from planner.models.quantization.words import first_lines as quantised_lines
from planner.models.quantization.words import unsaid
from planner.models.tasks import (
    Choice,
    choose_task,
    describe,
    modality_in,
    unstated_dtype,
    unstated_sizes,
    weights_dtype,
)

#: The class that transformers has for the part of an omni model that writes text.
THINKER = "ThinkerForConditionalGeneration"
FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def resolve(
    name: str, *, task: str | None = None, trust_remote_code: bool = False, offline: bool = False
) -> ModelFacts:
    """What a model name stands for.

    The order: a local folder or config.json; ``timm:NAME``; ``torchvision:NAME``;
    ``diffusers:NAME``; ``package.module:function``; a size such as ``7B``; a hub id (local hub
    cache, then the shipped catalogue for the models it holds, then the network). Imports neither
    torch nor transformers. Raises ModelError (or UnknownNameError) that says what was tried and
    offers near names.
    """
    name = name.strip()
    if not name or "\0" in name or len(name) > 4096:
        raise ModelError(
            "no model is named",
            mend="Name a folder, a hub id, a catalogue name, or a size such as 7B",
        )
    path = Path(name).expanduser()
    if _exists(path) and not (
        path.is_dir()
        and catalogue.find(name)
        and not (path / "config.json").is_file()
        and not pipelines.is_pipeline(path)
    ):
        return _from_path(path, name, task, trust_remote_code, offline)
    prefix, _, rest = name.partition(":")
    if prefix == "diffusers":
        return _pipeline(rest, task, trust_remote_code, offline)
    if prefix == own.PREFIX and (own.means(rest) or not FACTORY.fullmatch(name)):
        return own_model(rest, task)
    if prefix in ("timm", "torchvision"):
        return vision(prefix, rest, task)
    if prefix == "yolo":
        return yolo_detector(rest, task)
    if FACTORY.fullmatch(name) and not spelling.match(name, catalogue.index()):
        return factory(name, task)
    if sizes.is_size(name):
        return sizes.facts(name, task)
    if name.startswith((".", "/", "~")) or path.suffix == ".json":
        raise ModelError("no such file or folder", where=name)
    return _from_hub(name, task, trust_remote_code, offline)


def from_folder(
    folder: Path,
    name: str,
    origin: str,
    task: str | None,
    trust_remote_code: bool,
    usual: str | None = None,
) -> ModelFacts:
    """The facts of a folder with a config.json; a safetensors file beside it gives the exact
    parameters and dtype."""
    usual = usual or folders.usual_task(folder)
    facts = _from_config(folder / "config.json", name, origin, task, trust_remote_code, usual)
    checkpoint = read_checkpoint(folder)
    tokenizer = folder / "tokenizer.json"
    if checkpoint is not None:
        facts = replace(
            facts,
            parameters=checkpoint.parameters,
            weights_dtype=checkpoint.dtype or facts.weights_dtype,
            first_lines=(*facts.first_lines, *unsaid(facts.quantization, checkpoint.quantised)),
        )
    if facts.weights_dtype is None and facts.quantization and facts.quantization.known:
        facts = replace(facts, weights_dtype=facts.quantization.rest_dtype)
    if facts.config and facts.weights_dtype is None:
        facts = replace(facts, first_lines=(*facts.first_lines, *unstated_dtype(facts.task)))
    return replace(facts, tokenizer=tokenizer if tokenizer.is_file() else None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _from_path(path: Path, name: str, task: str | None, trust: bool, offline: bool) -> ModelFacts:
    if path.is_dir():
        return _from_any_folder(path, name, task, trust, offline)
    if path.name == "config.json":
        return from_folder(path.parent, name, "folder", task, trust)
    if path.suffix == ".json":
        return _from_config(path, name, "folder", task, trust)
    raise ModelError(
        "not a model: a folder with a config.json, or that file, is wanted", where=name
    )


def _from_any_folder(
    path: Path, name: str, task: str | None, trust: bool, offline: bool
) -> ModelFacts:
    if pipelines.is_pipeline(path) and not (path / "config.json").is_file():
        return pipelines.from_folder(path, name, "folder", task)
    adapter = folders.read_adapter(path)
    if adapter is not None:
        base = folders.base_of(adapter, path)
        if (path / "config.json").is_file():
            facts = from_folder(path, name, "folder", task, trust)
        else:
            facts = _base(base, path, task, trust, offline)
        lines = (adapter.line(name), *facts.first_lines)
        return replace(facts, name=name, adapter=adapter, first_lines=lines)
    if (path / "config.json").is_file():
        facts = from_folder(path, name, "folder", task, trust)
    else:
        encoder = folders.encoder_folder(path)
        if encoder is None:
            raise folders.refuse(path, name)
        facts = from_folder(encoder, name, "folder", task, trust, folders.usual_task(path))
    return facts


def _base(base: str, adapter: Path, task: str | None, trust: bool, offline: bool) -> ModelFacts:
    """The model under an adapter. A refusal says whose base it is."""
    try:
        return resolve(base, task=task, trust_remote_code=trust, offline=offline)
    except ModelError as error:
        where = f"{adapter / folders.ADAPTER}, key 'base_model_name_or_path'"
        raise ModelError(f"its base: {error}", where=where) from error


def _from_config(
    file: Path,
    name: str,
    origin: str,
    task: str | None,
    trust: bool,
    usual: str | None = None,
) -> ModelFacts:
    config, lines = _understood(read_config(file), name)
    own_code = _check_remote_code(config, file, trust)
    if own_code:
        task = task or "causal_lm"
        chosen = Choice(task, FirstLine("task", f"trained as {task} (its own code's class)"))
        assumed = (f"the model's own code is run, as {FieldName('trust_remote_code')} allows",)
    else:
        chosen = choose_task(config, task, str(file), usual)
        assumed = unstated_sizes(config, str(file))
    code = (
        [
            item.read_text(encoding="utf-8", errors="replace")
            for item in sorted(file.parent.glob("*.py"))
        ]
        if own_code
        else []
    )
    fingerprint = (
        text_fingerprint("\0".join([config_fingerprint(config), *code]))
        if code
        else config_fingerprint(config)
    )
    quantization = read_quantization(config, file.parent)
    if quantization is not None and not quantised_by(config):
        fingerprint = text_fingerprint(f"{fingerprint} {quantization}")
    if quantization is not None and quantization.targets:  # traces of before read one group only
        fingerprint = text_fingerprint(f"{fingerprint} {quantization.layers}")
    return ModelFacts(
        name=name,
        origin=origin,
        library="transformers",
        task=chosen.task,
        task_is_open=chosen.open,
        modality=modality_in(config, chosen.task),
        config=config,
        folder=file.parent,
        fingerprint=fingerprint,
        assumptions=assumed,
        first_lines=(*quantised_lines(quantization), *lines, chosen.line),
        trust_remote_code=own_code,
        quantization=quantization,
        **describe(config, chosen.task),
    )


def _understood(config: dict[str, Any], name: str) -> tuple[dict[str, Any], tuple[FirstLine, ...]]:
    """The config of the part that is trained, and what is said of it."""
    lines = []
    supplied = config.pop(SUPPLIED, None)
    if supplied:
        text = f"its config names no model_type: taken as {config['model_type']}, after {supplied}"
        lines.append(FirstLine("model", text))
    thinker = config.get("thinker_config")
    if isinstance(thinker, dict) and isinstance(thinker.get("model_type"), str):
        dtype = weights_dtype(config)
        config = {**thinker, "architectures": [THINKER], **({"dtype": dtype} if dtype else {})}
        lines.append(FirstLine("model", f"the thinker of {name} is planned, the part that writes"))
    return config, tuple(lines)


def _check_remote_code(config: dict[str, Any], file: Path, trust: bool) -> bool:
    """True when the model's own code is needed and allowed. Raises ModelError when it asks for code
    that was not allowed."""
    if "auto_map" not in config:
        return False
    known = library_knows(config["model_type"])
    if not trust:
        raise ModelError(
            "asks to run code that comes with the model (key 'auto_map')",
            where=str(file),
            mend=f"Pass {FieldName('trust_remote_code')} if you trust it"
            + ("; transformers' own class is then used" if known else ""),
        )
    return not known


def _pipeline(name: str, task: str | None, trust: bool, offline: bool) -> ModelFacts:
    """``diffusers:NAME``: the same name, which must be a pipeline."""
    facts = resolve(name, task=task, trust_remote_code=trust, offline=offline)
    if facts.library != "diffusers":
        raise ModelError(
            f"is no pipeline of diffusers, but a model of {facts.library}",
            where=name,
            mend="Leave the prefix diffusers: out",
        )
    return facts


def _from_hub(name: str, task: str | None, trust: bool, offline: bool) -> ModelFacts:
    """Cache, then the catalogue for what it holds (no network wait), then the network; else one
    line of what was tried."""
    row = catalogue.find(name)
    hub_id = row["hub_id"] if row is not None and row["hub_id"] and "/" not in name else name
    tried = []
    if hub.is_hub_id(hub_id):
        folder = hub.cached_snapshot(hub_id)
        if folder is not None and (row is None or row["library"] == "transformers"):
            try:
                usual = row["task"] if row is not None else None
                cached = from_folder(folder, name, "hub cache", task, trust, usual)
                return replace(cached, **catalogue.published(row)) if row is not None else cached
            except ModelError:
                if row is None:
                    raise
        pipeline = hub.cached_snapshot(hub_id, pipelines.INDEX)
        if pipeline is not None and (row is None or row["library"] == "diffusers"):
            facts = pipelines.from_folder(pipeline, name, "hub cache", task)
            return replace(facts, **catalogue.published(row)) if row is not None else facts
        tried.append(f"not in the local hub cache ({hub.cache_root()})")
    if row is not None:
        return _shipped(row, name, task)
    if renames.is_old_name(name.removeprefix("timm/")):
        return vision("timm", name.removeprefix("timm/"), task)
    if "/" in name and hub.is_hub_id(name):
        refusal = hub.network_refusal(offline)
        folder, why = (None, refusal) if refusal else hub.download_config(name)
        if folder is not None:
            return from_folder(folder, name, "hub", task, trust)
        pipeline = None if refusal else hub.download_pipeline(name)
        if pipeline is not None:
            return pipelines.from_folder(pipeline, name, "hub", task)
        tried.append(why or "")
    near = spelling.match(name, catalogue.index())
    if near is not None:
        found = catalogue.index()[near]
        known = found["hub_id"] or found["name"]
        line = FirstLine("model", f"{name} is planned as {known}, the nearest name", warning=True)
        facts = _shipped(found, name, task)
        return replace(facts, first_lines=(line, *facts.first_lines))
    if spelling.for_running(name):
        raise ModelError(
            f"{name!r} is a name of weights for running (GGUF, MLX), not for training",
            mend=_suggestions(spelling.plain(name)),
        )
    raise ModelError(
        f"unknown model {name!r}: {'; '.join([*tried, 'not in the shipped catalogue'])}",
        mend=_suggestions(spelling.plain(name)),
    )


def _shipped(row: catalogue.Row, name: str, task: str | None) -> ModelFacts:
    facts = catalogue.facts(row, task)
    stated = f"{name}: the shipped config of {row['hub_id'] or row['name']} was used"
    return replace(facts, name=name, assumptions=(*facts.assumptions, stated))


def _suggestions(name: str) -> str:
    wanted = name.rpartition("/")[2]
    spelled = spelling.match(wanted, catalogue.index())
    near = [catalogue.index()[spelled]["name"]] if spelled else nearest(wanted, catalogue.names())
    near = near or nearest(name, catalogue.index())
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{hint}Or name a folder with its config.json, or a size such as 7B"
