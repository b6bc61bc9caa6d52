"""The parts of a pipeline as modules, from their configs: diffusers' denoisers and autoencoders,
transformers' text encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.errors import ModelError
from planner.libraries import import_library

#: Keys of a config that say where it is from.
FOREIGN = ("_class_name", "_diffusers_version", "_name_or_path", "quantization_config")


def make_part(name: str, config: Mapping[str, Any], where: str) -> Any:
    """The module of a part, as its constructor makes it. Raises ModelError for a class that the
    installed libraries do not have."""
    if "model_type" in config:
        return _text_encoder(config, where)
    library = import_library("diffusers", f"the model {where}")
    wanted = str(config.get("_class_name"))
    made = getattr(library, wanted, None)
    if made is None:
        raise ModelError(
            f"the installed diffusers {library.__version__} has no {wanted}",
            where=f"{where}, {name}/config.json",
            mend="Install a newer one: pip install -U diffusers",
        )
    return made.from_config({key: value for key, value in config.items() if key not in FOREIGN})


def _text_encoder(config: Mapping[str, Any], where: str) -> Any:
    library = import_library("transformers", f"the text encoder of {where}")
    wanted = str((config.get("architectures") or ["?"])[0])
    made = getattr(library, wanted, None)
    if made is None:
        raise ModelError(f"the installed transformers has no {wanted}", where=where)
    plain = {
        key: value
        for key, value in config.items()
        if key not in ("torch_dtype", "dtype", "quantization_config")
    }
    return made._from_config(
        library.CONFIG_MAPPING[plain["model_type"]].from_dict(plain), attn_implementation="sdpa"
    )


def make_scheduler(config: Mapping[str, Any], is_flow: bool) -> Any:
    """What adds the noise in training: the scripts load DDPM's scheduler whatever the pipeline
    samples with; rectified flow has its own."""
    library = import_library("diffusers", "the noise of a training step")
    kind = library.FlowMatchEulerDiscreteScheduler if is_flow else library.DDPMScheduler
    plain = {key: value for key, value in config.items() if key not in FOREIGN}
    return kind.from_config(plain)
