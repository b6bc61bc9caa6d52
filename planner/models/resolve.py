"""A model's name becomes facts, without torch: local path, timm:, torchvision:, factory, size, hub
cache, network, catalogue."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from planner import tables
from planner.errors import FieldName, ModelError, UnknownNameError, nearest
from planner.models import catalogue, hub, sizes
from planner.models.checkpoint import read_checkpoint
from planner.models.configs import library_knows, read_config
from planner.models.facts import ModelFacts, config_fingerprint, text_fingerprint
from planner.models.quantization.read import quantised_by
from planner.models.quantization.read import read as read_quantization
from planner.models.quantization.words import first_lines as quantised_lines
from planner.models.quantization.words import unsaid
from planner.models.tasks import check_task, choose_task, describe, modality_of, unstated_sizes

FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def resolve(
    name: str, *, task: str | None = None, trust_remote_code: bool = False, offline: bool = False
) -> ModelFacts:
    """What a model name stands for.

    The order: a local folder or config.json; ``timm:NAME``; ``torchvision:NAME``;
    ``package.module:function``; a size such as ``7B``; a hub id (local hub cache, then the shipped
    catalogue for the models it holds, then the network). Imports neither torch nor transformers.
    Raises ModelError (or UnknownNameError) that says what was tried and offers near names.
    """
    name = name.strip()
    if not name or "\0" in name or len(name) > 4096:
        raise ModelError(
            "no model is named",
            mend="Name a folder, a hub id, a catalogue name, or a size such as 7B",
        )
    path = Path(name).expanduser()
    if _exists(path) and not (
        path.is_dir() and catalogue.find(name) and not (path / "config.json").is_file()
    ):
        return _from_path(path, name, task, trust_remote_code)
    prefix, _, rest = name.partition(":")
    if prefix in ("timm", "torchvision"):
        return _vision(prefix, rest, task)
    if FACTORY.fullmatch(name):
        return _factory(name, task)
    if sizes.is_size(name):
        return sizes.facts(name, task)
    if name.startswith((".", "/", "~")) or path.suffix == ".json":
        raise ModelError("no such file or folder", where=name)
    return _from_hub(name, task, trust_remote_code, offline)


def from_folder(
    folder: Path, name: str, origin: str, task: str | None, trust_remote_code: bool
) -> ModelFacts:
    """The facts of a folder with a config.json; a safetensors file beside it gives the exact
    parameters and dtype."""
    facts = _from_config(folder / "config.json", name, origin, task, trust_remote_code)
    checkpoint = read_checkpoint(folder)
    tokenizer = folder / "tokenizer.json"
    if checkpoint is not None:
        facts = replace(
            facts,
            parameters=checkpoint.parameters,
            weights_dtype=checkpoint.dtype or facts.weights_dtype,
            first_lines=(*facts.first_lines, *unsaid(facts.quantization, checkpoint.quantised)),
        )
    return replace(facts, tokenizer=tokenizer if tokenizer.is_file() else None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _from_path(path: Path, name: str, task: str | None, trust: bool) -> ModelFacts:
    if path.is_dir():
        if not (path / "config.json").is_file():
            pickles = sorted(item.name for item in path.glob("*.bin"))[:1]
            more = f" ({pickles[0]} is a pickle, which is never opened)" if pickles else ""
            raise ModelError(
                f"the folder has no config.json{more}",
                where=name,
                mend="Name a folder that save_pretrained wrote, or a hub id",
            )
        return from_folder(path, name, "folder", task, trust)
    if path.suffix == ".json" or path.name == "config.json":
        if path.name == "config.json":
            return from_folder(path.parent, name, "folder", task, trust)
        return _from_config(path, name, "folder", task, trust)
    raise ModelError(
        "not a model: a folder with a config.json, or that file, is wanted", where=name
    )


def _from_config(file: Path, name: str, origin: str, task: str | None, trust: bool) -> ModelFacts:
    config = read_config(file)
    own_code = _check_remote_code(config, file, trust)
    if own_code:
        task, assumed = (
            task or "causal_lm",
            (f"the model's own code is run, as {FieldName('trust_remote_code')} allows",),
        )
    else:
        task, assumed = choose_task(config, task, str(file))
        assumed = (*assumed, *unstated_sizes(config, str(file)))
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
    return ModelFacts(
        name=name,
        origin=origin,
        library="transformers",
        task=task,
        modality=modality_of(task),
        config=config,
        folder=file.parent,
        fingerprint=fingerprint,
        assumptions=assumed,
        first_lines=quantised_lines(quantization),
        trust_remote_code=own_code,
        quantization=quantization,
        **describe(config, task),
    )


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


def _vision(library: str, name: str, task: str | None) -> ModelFacts:
    """A timm or torchvision model. What the shipped table of names does not know is left to the
    installed library to refuse."""
    row = catalogue.find(name) if library == "timm" else None
    task = check_task(task, "image_classification", f"{library}:{name}")
    if row is not None and row["library"] == library and row["architecture"] == name:
        return replace(catalogue.facts(row, task), name=f"{library}:{name}", origin=library)
    table = {row["name"]: row for row in tables.rows("models", f"{library}_models.csv")}
    base = name.partition(".")[0]  # timm's NAME.TAG: the tag names weights
    known = table.get(base) or table.get(base.lower())
    if known is None and not _newer(library, name):
        raise UnknownNameError(
            f"{library} model", name, table, mend=f"{library} lists its names with list_models()"
        )
    architecture = known["name"] if known else name
    size = tables.number(known["image_size"]) if known else None
    count = tables.number(known["parameters"]) if known else None
    return ModelFacts(
        name=f"{library}:{name}",
        origin=library,
        library=library,
        architecture=architecture,
        task=task,
        modality="image",
        fingerprint=text_fingerprint(f"{library}:{architecture}"),
        image_size=int(size) if size else None,
        parameters=int(count) if count else None,
    )


def _newer(library: str, name: str) -> bool:
    """Does an installed release know a name that the shipped table does not? Asked only when the
    table fails: imports torch."""
    if importlib.util.find_spec(library) is None:
        return False
    from planner.libraries import known_vision_model

    return known_vision_model(library, name)


def _factory(name: str, task: str | None) -> ModelFacts:
    from planner.models.factory_source import source_fingerprint

    return ModelFacts(
        name=name,
        origin="factory",
        library="factory",
        architecture=name,
        task=task or "custom",
        modality=modality_of(task or ""),
        fingerprint=source_fingerprint(name),
    )


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
                cached = from_folder(folder, name, "hub cache", task, trust)
                return replace(cached, **catalogue.published(row)) if row is not None else cached
            except ModelError:
                if row is None:
                    raise
        tried.append(f"not in the local hub cache ({hub.cache_root()})")
    if row is not None:
        facts = catalogue.facts(row, task)
        return replace(
            facts,
            name=name,
            assumptions=(
                *facts.assumptions,
                f"{name}: the shipped config of {row['hub_id'] or row['name']} was used",
            ),
        )
    if "/" in name and hub.is_hub_id(name):
        refusal = hub.network_refusal(offline)
        folder, why = (None, refusal) if refusal else hub.download_config(name)
        if folder is not None:
            return from_folder(folder, name, "hub", task, trust)
        tried.append(why or "")
    raise ModelError(
        f"unknown model {name!r}: {'; '.join([*tried, 'not in the shipped catalogue'])}",
        mend=_suggestions(name),
    )


def _suggestions(name: str) -> str:
    wanted = name.rpartition("/")[2]
    near = nearest(wanted, catalogue.names()) or nearest(name, catalogue.index())
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{hint}Or name a folder with its config.json, or a size such as 7B"
